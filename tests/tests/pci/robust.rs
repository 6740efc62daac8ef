//! Damaged input: whatever it is, the answer is captures or a message.

use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::data::{load, path, rows};
use pviommu_hypervisor::topology::Mode;
use pviommu_testbed::groups::{Grouped, svg};
use pviommu_testbed::pci;

/// Good inputs of each form.
static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let json = std::fs::read(path("handmade.json")).unwrap();
    let mut few: serde_json::Value = serde_json::from_slice(&json).unwrap();
    few["topologies"].as_array_mut().unwrap().truncate(3);
    let qemu = load("qemu.json.gz");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, &json).unwrap();
    vec![
        few.to_string().into_bytes(),
        include_bytes!("samples/desktop.txt").to_vec(),
        rows(&qemu[5].functions[..4]).into_bytes(),
        gzip.finish().unwrap(),
    ]
});

#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Set(Index, u8),
    Remove(Index, u8),
    Repeat(Index, u8),
    Insert(Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let words = [
        "\u{fffd}",
        "é",
        "[",
        "]",
        "{",
        ": ",
        "\n",
        "\t",
        "0x",
        "ffff",
        "-",
        "00:1f.7 x: ",
        "10: ",
    ];
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Remove(at, count)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Repeat(at, count)),
        (any::<Index>(), prop::sample::select(words.to_vec()))
            .prop_map(|(at, word)| Damage::Insert(at, word)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let length = bytes.len() + 1;
    let span = |at: &Index, count: u8| {
        let first = at.index(length);
        first..(first + usize::from(count)).min(length - 1)
    };
    match damage {
        Damage::Cut(at) => bytes.truncate(at.index(length)),
        Damage::Set(at, byte) => {
            if let Some(there) = bytes.get_mut(at.index(length)) {
                *there = *byte;
            }
        }
        Damage::Remove(at, count) => drop(bytes.drain(span(at, *count))),
        Damage::Repeat(at, count) => {
            let span = span(at, *count);
            let piece = bytes[span.clone()].to_vec();
            bytes.splice(span.start..span.start, piece);
        }
        Damage::Insert(at, word) => {
            let at = at.index(length);
            bytes.splice(at..at, word.bytes());
        }
    }
}

proptest! {
    #[test]
    fn damaged_files_are_read_or_refused(which in 0..4_usize, damages in prop::collection::vec(damage(), 1..6)) {
        let mut bytes = GOOD[which].clone();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        match pci::read("file", &bytes[..]) {
            Ok(captures) => {
                for capture in captures {
                    prop_assert!(!capture.functions.is_empty());
                    let functions = capture.functions.len();
                    // What was read may still be no machine.
                    let Ok(machine) = Grouped::new(capture, Mode::Safe, true) else { continue };
                    let members = machine.groups.iter().map(|group| group.members.len());
                    prop_assert_eq!(members.sum::<usize>() + machine.without_unit.len(), functions);
                    let drawn = svg(std::slice::from_ref(&machine));
                    prop_assert!(drawn.matches("<rect").count() > functions);
                }
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.starts_with("file"), "{}", message);
                prop_assert_eq!(message.lines().count(), 1, "{}", message);
            }
        }
    }

    #[test]
    fn any_configuration_space_is_decoded(seed in prop::collection::vec(any::<u8>(), 64..600)) {
        let name = pci::Name { bus: 0, devfn: 0 };
        let (function, _) = pci::config::decode(name, seed.clone());
        prop_assert_eq!(function.config, seed);
    }
}

#[test]
fn each_good_input_cut_anywhere_is_read_or_refused() {
    let mut refused = 0;
    for good in GOOD.iter() {
        for end in (0..good.len()).step_by(good.len() / 100) {
            refused += usize::from(pci::read("file", &good[..end]).is_err());
        }
    }
    assert!(refused > 200, "{refused}");
}
