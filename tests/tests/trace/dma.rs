//! The lines of the DMA API as they are read.

use pviommu_abi::PciDevice;
use pviommu_testbed::trace::{
    DmaBuffer, DmaCall, DmaDirection, DmaList, DmaListEnd, DmaOp, DmaRange, Trace,
};

use crate::text::{FIRST, parse};

fn read(lines: &str) -> Trace {
    parse(&format!("{FIRST}{lines}\n")).unwrap()
}

/// The call of a line.
fn call(line: &str) -> DmaCall {
    let trace = read(&format!("5 1 {line}"));
    let [event] = trace.calls.as_slice() else { panic!("{line} is one call") };
    assert_eq!((event.line, event.ns, event.cpu), (2, 5, 1));
    assert_eq!((trace.counts.lines, trace.counts.dma_api, trace.events.len()), (1, 1, 0));
    event.call.clone()
}

fn range(bus: u64, size: u64) -> DmaRange {
    DmaRange { bus, size }
}

#[test]
fn one_buffer() {
    let buffer = DmaBuffer { bus: range(0xffff_7458, 8), memory: 0x3fde_e458 };
    let device = PciDevice::new(0, 0, 4, 0);
    for line in
        ["m 00:04.0 T ffff7458 3fdee458 8", "m 00:04.0 T ffff7458 3fdee458 8 SKIP_CPU_SYNC NO_WARN"]
    {
        let expected =
            DmaCall { device, direction: DmaDirection::ToDevice, what: DmaOp::Map(buffer) };
        assert_eq!(call(line), expected);
    }
    let unmap = call("u 00:04.0 F ffff7458 8");
    assert_eq!(unmap.direction, DmaDirection::FromDevice);
    assert_eq!(unmap.what, DmaOp::Unmap(range(0xffff_7458, 8)));
}

#[test]
fn a_scatter_list() {
    let list =
        call("g 0001:00:01.0 B 3 2 fff90000:10000,fffa0800:200 1c6b7000,1c6be000,5800 NO_WARN");
    assert_eq!((list.device, list.direction), (PciDevice::new(1, 0, 1, 0), DmaDirection::Both));
    let expected = DmaList {
        pieces: 3,
        entries: 2,
        bus: [range(0xfff9_0000, 0x1_0000), range(0xfffa_0800, 0x200)].into(),
        memory: [0x1c6b_7000, 0x1c6b_e000, 0x5800].into(),
    };
    assert_eq!(list.what, DmaOp::MapList(expected));
    let end = call("h 00:1f.2 F 3 1c6b7000");
    assert_eq!(end.what, DmaOp::UnmapList(DmaListEnd { pieces: 3, memory: 0x1c6b_7000 }));
}

#[test]
fn a_list_that_was_cut_short_knows_how_long_it_was() {
    let DmaOp::MapList(list) = call("g 00:01.0 T 200 150 1000:10,2000:10 5000").what else {
        panic!("not a list")
    };
    assert_eq!((list.pieces, list.bus.len(), list.entries, list.memory.len()), (200, 2, 150, 1));
}

#[test]
fn coherent_memory() {
    assert_eq!(call("a 00:01.0 B fffff000 512").what, DmaOp::Allocate(range(0xffff_f000, 512)));
    assert_eq!(call("f 00:01.0 B fffff000 512").what, DmaOp::Free(range(0xffff_f000, 512)));
    assert_eq!(call("f 00:01.0 B 0 0").what, DmaOp::Free(range(0, 0)), "nothing is freed");
}

#[test]
fn variants_are_read_as_what_they_are_variants_of() {
    for (variant, plain) in [
        ("ap 00:01.0 B fffff000 512", "a 00:01.0 B fffff000 512"),
        ("as 00:01.0 B fffff000 512 x", "a 00:01.0 B fffff000 512"),
        ("fp 00:01.0 F fffff000 512", "f 00:01.0 F fffff000 512"),
        ("fs 00:01.0 B fffff000 512", "f 00:01.0 B fffff000 512"),
        ("mr 00:01.0 B fffff000 fe000000 4096", "m 00:01.0 B fffff000 fe000000 4096"),
        ("ur 00:01.0 B fffff000 4096", "u 00:01.0 B fffff000 4096"),
    ] {
        assert_eq!(call(variant), call(plain));
    }
}

#[test]
fn what_did_not_succeed_or_is_not_understood_is_counted_only() {
    let lines = [
        "m 00:01.0 T ffffffffffffffff 3fdee458 8",
        "a 00:01.0 B ffffffffffffffff 4096",
        "ap 00:01.0 B whatever",
        "fp",
        "as x",
        "fs x",
        "mr x",
        "ur x",
        "e anything at all",
    ];
    let trace = read(&lines.map(|line| format!("1 0 {line}\n")).concat());
    assert_eq!((trace.counts.dma_api, trace.counts.lines), (9, 9));
    assert_eq!((trace.calls, trace.events), (Vec::new(), Vec::new()));
}

#[test]
fn marks_are_counted_only() {
    let trace = read("1 0 # MARK dd /dev/nvme0n1 4k\n1 0 #\n");
    assert_eq!((trace.counts.marks, trace.counts.lines), (2, 2));
    assert_eq!((trace.calls, trace.events), (Vec::new(), Vec::new()));
}
