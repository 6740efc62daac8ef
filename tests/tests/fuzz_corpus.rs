//! The seeds of the fuzz targets, and the inputs that once failed: each must pass.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use pviommu_testbed::fuzzing::{TARGETS, Target, hypercall, seeds};

fn directory(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target.name)
}

#[test]
fn every_seed_passes() {
    for target in TARGETS {
        let entries = fs::read_dir(directory(&target)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= (target.seeds)().len(), "seeds of {} are missing", target.name);
        for file in files {
            // Shown when a check fails.
            println!("{}", file.display());
            (target.run)(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn the_files_are_the_seeds_the_code_has() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            let file = directory(&target).join(&name);
            assert!(
                fs::read(&file).unwrap() == bytes,
                "{} differs; write the seeds again with `cargo run -p pviommu-testbed --example \
                 fuzz_seeds -- fuzz/seeds`",
                file.display()
            );
        }
    }
}

/// Every seed cut off at every few bytes: what is missing counts as zero.
#[test]
fn every_beginning_of_a_seed_passes() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            println!("{name}");
            // Of large ones, not as many.
            let step = (bytes.len() / target.cuts).max(7);
            for end in (0..bytes.len()).step_by(step) {
                (target.run)(&bytes[..end]);
            }
        }
    }
}

/// Every seed on machines whose domains start with other maps, and whose units are of another make.
#[test]
fn every_seed_passes_on_every_kind_of_machine() {
    for (name, mut input) in seeds() {
        for kind in 1..8 {
            println!("{name}, {kind}");
            input.machine = input.machine & 0x1f | kind << 5;
            hypercall(&input.to_bytes());
        }
    }
}

/// Tables of machines, whole, cut off at every byte, and with every byte changed.
#[cfg(all(feature = "vtd", feature = "amdvi"))]
#[test]
fn every_table_of_firmware_passes() {
    use pviommu_testbed::fuzzing::firmware_table;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tables = ["hypervisor/tests/acpi/tables", "fuzz/seeds/acpi"];
    let tables = tables.iter().flat_map(|it| fs::read_dir(root.join(it)).unwrap());
    let files = tables.map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "bin")).collect();
    assert!(files.len() >= 15, "tables are missing");
    for file in files {
        println!("{}", file.display());
        let table = fs::read(&file).unwrap();
        firmware_table(&table);
        for at in 0..table.len() {
            firmware_table(&table[..at]);
            for changed in [0, 1, 4, 0xf0, 0xff] {
                let mut table = table.clone();
                table[at] = changed;
                firmware_table(&table);
            }
        }
    }
}
