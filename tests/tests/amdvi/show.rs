//! Pictures of AMD's tables: every field decoded, in AMD's words.

use pviommu_hypervisor::{addr::Mfn, format::FormatKind};
use pviommu_testbed::{
    iommu::{
        Origin as Made, Rights, Soft,
        handmade::{HandMade, PRESENT},
    },
    machine::{amd_facts, memory::Memory},
    replay::{Options, Units},
    show::{Access, Format, Origin, Page, PageSize, Range, Target, Text, What, show, survey, svg},
};
use serde_json::Value;

use crate::{
    kit::memory,
    replay::{program, trace},
};

const FORCE_COHERENT: u64 = 1 << 60;
const READS: Rights = Rights { read: true, write: false };

fn new(memory: &Memory) -> HandMade<'_> {
    HandMade::of(FormatKind::AmdV1, memory, 4)
}

fn page(size: PageSize, access: Access, origin: Origin, snoop: bool) -> Page {
    let referenced = origin == Origin::Guest;
    Page { size, access, origin, target: Target::Memory, referenced, snoop }
}

#[test]
fn leaves_of_all_sizes_are_found_and_decoded() {
    let memory = memory();
    let table = new(&memory);
    let guest = Soft { origin: Made::Guest, referenced: true }.bits(FormatKind::AmdV1);
    let maintained = Soft { origin: Made::Maintained, referenced: false }.bits(FormatKind::AmdV1);
    table.set(5, 1, table.leaf(1, Mfn(0x55), Rights::ALL) | guest | FORCE_COHERENT);
    table.set(6, 1, table.leaf(1, Mfn(0x56), READS) | guest);
    // Bits 4 and 7: of another domain's page, and registers.
    table.set(7, 1, table.leaf(1, Mfn(0x57), READS) | guest | 1 << 4);
    table.set(8, 1, table.leaf(1, Mfn(0x58), READS) | guest | 1 << 7);
    table.set(0x400, 2, table.leaf(2, Mfn(0x4_0000), Rights::ALL) | maintained);
    let none = Rights { read: false, write: false };
    table.set(3 << 18, 3, table.leaf(3, Mfn(0x8_0000), none));
    let survey = survey(&memory, &amd_facts(), table.root());
    assert_eq!(survey.format, Format::Amd);
    let range = |first, last, page| Range { first, last, what: What::Page(page), runs: 1 };
    let small = |access, snoop| page(PageSize::Small, access, Origin::Guest, snoop);
    let targets = [Target::Foreign, Target::Registers];
    let [foreign, registers] = targets.map(|target| Page { target, ..small(Access::Read, false) });
    let expected = [
        range(5, 5, small(Access::Both, true)),
        range(6, 6, small(Access::Read, false)),
        range(7, 7, foreign),
        range(8, 8, registers),
        range(0x400, 0x5ff, page(PageSize::Large, Access::Both, Origin::Maintained, false)),
        // Present, and yet of no use.
        range(3 << 18, (4 << 18) - 1, page(PageSize::Huge, Access::None, Origin::Initial, false)),
    ];
    assert_eq!(survey.ranges, expected);
}

#[test]
fn what_no_unit_accepts_or_must_not_be_left_is_broken() {
    let memory = memory();
    let table = new(&memory);
    table.set(5, 1, table.leaf(1, Mfn(0x55), Rights::ALL) | 1 << 55);
    table.set(6, 1, table.leaf(1, Mfn(0x56), Rights::ALL) & !PRESENT);
    table.set(0x200, 2, table.link(3, Mfn(0x77), Rights::ALL));
    let survey = survey(&memory, &amd_facts(), table.root());
    let broken: Vec<(u64, u64)> =
        survey.ranges.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(broken, [(5, 6), (0x200, 0x3ff)]);
    assert!(survey.ranges.iter().all(|range| range.what == What::Broken));
}

#[test]
fn the_text_and_the_drawing_speak_of_amd() {
    let trace = trace("1 0 M 1 fff00000 5000 8192 rw\n2 0 M 1 fff02000 20000 4096 r\n");
    let options = Options { units: Units::AmdVi, ..Options::default() };
    let (picture, summary) = show(&trace, &options, None, &mut |_| ()).unwrap();
    assert!(summary.is_clean(), "{summary}");
    let expected = "\
synthetic: written for a test
synthetic: 1 address space after 2 of 2 operations

domain 1 (context 1)
  devices     0000:00:01.0 nvme
  entries     AMD v1: mode 4, next level 3, 2, 1, and 0 in leaves; FC in every leaf
  mapped      3 pages, 12 KiB, in 2 ranges: 3 of 4K; 2 rw, 1 r-; by guest
  unmapped    255.9 TiB fault
  tables      4 frames in 4 levels: 1 + 1 + 1 + 1 from the root down
  reserved    0xfee00..0xfeeff msi: the machine, 0000:00:01.0
  reserved    0xfd00000..0xfffffff reserved: the machine
  where       ██
              0xfff00  a column is 4 KiB  0xfff01
  where       █
              0xfff02, a column is 4 KiB
  bus frames          pages  size IR/IW  origin     frame runs
  0xfff00..0xfff01        2  4K   rw     guest               2
  0xfff02                 1  4K   r-     guest               1
";
    let text = Text { picture: &picture, all: false, colour: false }.to_string();
    assert_eq!(text, expected, "{text}");
    let drawing = svg(&picture);
    for words in ["root, mode 4", "next level 3", "next level 1", "FC in every leaf"] {
        assert!(drawing.contains(words), "{words}");
    }
}

#[test]
fn the_program_shows_the_tables_of_every_unit() {
    for units in Units::ALL {
        let output = program(&["show", "--json", "--unit", units.name(), "--at", "2000"]);
        assert_eq!(output.status.code(), Some(0), "{units:?}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let amd = matches!(units, Units::AmdVi | Units::AmdViNpCache);
        let spaces = value.get("spaces").and_then(Value::as_array).unwrap();
        for space in spaces {
            let format = space.get("format").and_then(Value::as_str);
            assert_eq!(format, Some(if amd { "amd-v1" } else { "vtd-second-stage" }));
            let totals = space.get("totals").unwrap();
            assert_eq!(totals.get("broken").and_then(Value::as_u64), Some(0), "{space}");
        }
        let levels = spaces[0].get("tables").and_then(Value::as_array).unwrap().len();
        let expected = match units {
            Units::ThreeLevels => 3,
            Units::FiveLevels => 5,
            _ => 4,
        };
        assert_eq!(levels, expected, "{units:?}");
    }
}
