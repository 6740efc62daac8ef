//! Pictures of traces written for the purpose: what is in them, and when they are taken.

use pviommu_hypervisor::Background;
use pviommu_testbed::replay::Options;
use pviommu_testbed::show::{Picture, ShowError, Space, Text, What, show};
use pviommu_testbed::trace::Trace;

use crate::text::{HEADER, parse};

/// A long range, a hole, a large page, registers above the memory, and a device that left.
const EVENTS: &str = "\
0 0 D 1 DMA 00:01.0
1 0 M 1 fff00000 5000 16384 rw
2 0 M 1 fff04000 20000 4096 r
3 0 U 1 fff01000 4096 4096
4 0 M 1 200000 400000 2097152 rw
5 0 D 2 DMA 00:02.0
6 0 M 2 1000 180000000 4096 w
7 0 R 2 00:02.0
";

fn trace(events: &str) -> Trace {
    parse(&format!("{HEADER}{events}")).unwrap()
}

fn take(trace: &Trace, at: Option<u64>) -> Picture {
    let (picture, summary) = show(trace, &Options::default(), at, &mut |_| ()).unwrap();
    assert!(summary.is_clean(), "{summary}");
    picture
}

fn text(picture: &Picture, all: bool) -> String {
    Text { picture, all, colour: false }.to_string()
}

fn mapped(space: &Space) -> Vec<(u64, u64)> {
    let pages = space.notable().filter(|range| matches!(range.what, What::Page(_)));
    pages.map(|range| (range.first, range.last)).collect()
}

#[test]
fn the_text_is_this() {
    let picture = take(&trace(EVENTS), None);
    let expected = "\
synthetic: written for a test
synthetic: 2 address spaces after 5 of 5 operations

domain 1 (context 1)
  devices     0000:00:01.0 nvme
  entries     VT-d second stage: level 4 down to 1; SNP in every leaf
  mapped      5 pages, 2 MiB, in 4 ranges: 4 of 4K, 1 of 2M; 4 rw, 1 r-; by guest
  unmapped    255.9 TiB fault
  tables      5 frames in 4 levels: 1 + 1 + 2 + 1 from the root down
  reserved    0xfee00..0xfeeff msi: the machine, 0000:00:01.0
  where       ████████████████████████████████████████████████████████████████
              0x200                  a column is 32 KiB                  0x3ff
  where       █ ███
              0xfff00  a column is 4 KiB  0xfff04
  bus frames          pages  size R/W    origin     frame runs
  0x200..0x3ff            1  2M   rw     guest               1
  0xfff00                 1  4K   rw     guest               1
  0xfff02..0xfff03        2  4K   rw     guest               2
  0xfff04                 1  4K   r-     guest               1

domain 2 (context 2)
  devices     none attached
  entries     VT-d second stage: level 4 down to 1; SNP in every leaf
  mapped      1 page, 4 KiB, in 1 range: 1 of 4K; 1 -w; by guest
  unmapped    255.9 TiB fault
  tables      4 frames in 4 levels: 1 + 1 + 1 + 1 from the root down
  reserved    0xfee00..0xfeeff msi: the machine
  where       █
              0x1, a column is 4 KiB
  bus frames    pages  size R/W    origin     frame runs
  0x1               1  4K   -w     guest               1  registers
";
    let text = text(&picture, false);
    assert_eq!(text, expected, "{text}");
}

#[test]
fn a_picture_is_taken_right_after_the_operation() {
    let trace = trace(EVENTS);
    let spaces = |at| take(&trace, Some(at)).spaces;
    assert_eq!(spaces(0), [], "before all, the devices included");
    assert_eq!(mapped(&spaces(1)[0]), [(0xfff00, 0xfff03)]);
    assert_eq!(mapped(&spaces(2)[0]), [(0xfff00, 0xfff03), (0xfff04, 0xfff04)]);
    assert_eq!(mapped(&spaces(3)[0]), [(0xfff00, 0xfff00), (0xfff02, 0xfff03), (0xfff04, 0xfff04)]);
    assert_eq!(spaces(4).len(), 1, "the next line attaches a device");
    let last = spaces(5);
    assert_eq!((last.len(), last[1].devices.len()), (2, 1), "the device has not left yet");
    assert_eq!(take(&trace, Some(5)).operations, 5);
    assert_eq!(take(&trace, None).spaces[1].devices.len(), 0);
}

#[test]
fn an_operation_beyond_the_end_is_an_error() {
    let trace = trace(EVENTS);
    let error = show(&trace, &Options::default(), Some(6), &mut |_| ()).unwrap_err();
    assert!(matches!(error, ShowError::PastTheEnd { at: 6, of: 5, .. }), "{error:?}");
    assert_eq!(error.to_string(), "test: found 5 operations (M and U lines), expected at least 6");
}

#[test]
fn an_address_space_that_is_freed_is_not_in_the_picture() {
    let freed = trace(&format!("{EVENTS}8 0 X 1\n"));
    let domains: Vec<u64> = take(&freed, None).spaces.iter().map(|space| space.domain).collect();
    assert_eq!(domains, [2]);
    assert_eq!(take(&freed, Some(5)).spaces.len(), 2);
}

#[test]
fn without_any_device_nothing_says_where_the_table_is() {
    let first = crate::text::FIRST;
    let alone = parse(&format!("{first}0 0 M 1 fff00000 5000 4096 rw\n")).unwrap();
    let picture = take(&alone, None);
    assert_eq!((picture.spaces.len(), picture.spaces[0].tables.len()), (1, 0));
    assert!(text(&picture, false).contains("no device entry leads to them"));
}

#[test]
fn a_long_list_is_cut_unless_all_of_it_is_asked_for() {
    let mut events = String::from("0 0 D 1 DMA 00:01.0\n");
    for page in 0..1000 {
        events.push_str(&format!("1 0 M 1 {:x} 5000 4096 rw\n", 0xf000_0000_u64 + page * 0x3000));
    }
    let picture = take(&trace(&events), None);
    let short = text(&picture, false);
    assert!(short.contains("... and 976 more ranges with 976 pages (--all lists them)"), "{short}");
    assert!(short.lines().count() < 50);
    let long = text(&picture, true);
    assert!(!long.contains("more range"));
    assert!(long.lines().count() > 1000);
    for line in long.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn unmapped_frames_of_a_scratch_background_hit_the_scratch_page() {
    let trace = trace(EVENTS);
    let options = Options { background: Background::Scratch, ..Options::default() };
    let (picture, _) = show(&trace, &options, None, &mut |_| ()).unwrap();
    let faulting = take(&trace, None);
    for (space, bare) in picture.spaces.iter().zip(&faulting.spaces) {
        assert_eq!(mapped(space), mapped(bare), "the mappings are the same");
        assert_eq!(space.totals.fault, 0x100, "the interrupt window and nothing else");
        let all = space.totals.mapped + space.totals.scratch + space.totals.fault;
        assert_eq!(all, 1 << space.frame_bits);
        let shared: Vec<u64> = space.tables.iter().map(|level| level.shared).collect();
        assert_eq!(shared, [0, 1, 1, 1], "one table for each level below the root");
        let own = |space: &Space| space.tables.iter().map(|level| level.own).sum::<u64>();
        assert!(own(space) > own(bare), "the way to the interrupt window is its own");
    }
    let text = text(&picture, false);
    assert!(text.contains("255.9 TiB hit the scratch page, 1 MiB fault"), "{text}");
    assert!(text.contains("3 shared by the background"), "{text}");
}
