//! The bundled traces are what they are said to be.

use pviommu_testbed::trace::DmaOp;

use crate::text::{BUNDLED, bundled};

/// `M`, `U`, `P`, `S`, `A`, `D`, `X`, `G`, `R` and all lines of each.
const COUNTS: [(&str, [u64; 10]); 7] = [
    ("d0-small-strict", [4553, 3698, 3709, 3698, 8, 8, 1, 8, 1, 23103]),
    ("d1-nvme-strict", [31186, 11918, 11928, 11918, 6, 6, 0, 6, 0, 90822]),
    ("d2-nvme-lazy", [16632, 8064, 8074, 0, 54, 6, 0, 6, 0, 48979]),
    ("d3-ext4-virtioblk-strict", [13658, 13653, 13656, 13653, 6, 6, 0, 6, 0, 81953]),
    ("d4-net-strict", [36217, 34931, 36215, 34931, 7, 7, 0, 7, 0, 213468]),
    ("d5-usb-ahci-hotplug", [30741, 8734, 8741, 8734, 9, 9, 2, 9, 2, 74481]),
    ("d6-mixed-lazy-4cpu", [45259, 43426, 43702, 0, 341, 7, 0, 7, 0, 219873]),
];

#[test]
fn every_line_of_every_bundled_trace_is_understood() {
    for (start, (name, expected)) in BUNDLED.into_iter().zip(COUNTS) {
        let trace = bundled(start);
        let c = trace.counts;
        let counts = [
            c.maps,
            c.unmaps,
            c.map_batches,
            c.syncs,
            c.flushes,
            c.attaches,
            c.frees,
            c.arrivals,
            c.departures,
            c.lines,
        ];
        assert_eq!((trace.header.name.as_str(), counts), (name, expected));
        assert_eq!(trace.header.ram.len(), 2, "{name}: two ranges of memory");
        assert!(trace.header.functions.len() >= 6, "{name}: functions");
        assert!(trace.header.groups.len() >= 4, "{name}: groups");
        let kept = c.lines - c.marks - c.dma_api;
        assert_eq!(trace.events.len() as u64, kept, "{name}: what a replay needs");
        assert_eq!(trace.calls.len() as u64, c.dma_api, "{name}: every call of the DMA API");
    }
}

/// `m` and `u`, `g` and `h`, `a` and `f`.
const CALLS: [[usize; 6]; 7] = [
    [3610, 3610, 72, 72, 26, 18],
    [9497, 9497, 2421, 2421, 9, 0],
    [7292, 7292, 772, 772, 9, 0],
    [13653, 13653, 0, 0, 2, 0],
    [36207, 34929, 0, 0, 7, 2],
    [2705, 2705, 5117, 5117, 918, 912],
    [41578, 41325, 2101, 2101, 22, 0],
];

#[test]
fn every_call_of_the_dma_api_is_understood() {
    for (start, expected) in BUNDLED.into_iter().zip(CALLS) {
        let mut counts = [0; 6];
        for event in bundled(start).calls {
            let kind = match event.call.what {
                DmaOp::Map(_) => 0,
                DmaOp::Unmap(_) => 1,
                DmaOp::MapList(list) => {
                    assert_eq!(list.bus.len() as u64, list.entries, "{start}:{}", event.line);
                    assert_eq!(list.memory.len() as u64, list.pieces, "{start}:{}", event.line);
                    2
                }
                DmaOp::UnmapList(_) => 3,
                DmaOp::Allocate(_) => 4,
                DmaOp::Free(_) => 5,
            };
            *counts.get_mut(kind).unwrap() += 1;
        }
        assert_eq!(counts, expected, "{start}");
    }
}
