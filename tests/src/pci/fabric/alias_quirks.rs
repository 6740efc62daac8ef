//! Devices that use other requester ids than their own, by identity, as in `tests/pci/quirks.json`.
//! Switchtec's non-transparent bridges are missing: theirs stand in a table inside of the device.

use crate::pci::{Captured, Name};

/// The ids that `function` uses besides its own, on its own bus.
pub(super) fn of(function: &Captured) -> Vec<Name> {
    let Name { bus, devfn } = function.name;
    let slot = devfn & !7;
    let numbers: Vec<u8> = match (function.vendor, function.device) {
        (0x1180, 0xe832 | 0xe476) | (0x6766, 0x3d40 | 0x3d41) => vec![slot],
        (
            0x1b4b,
            0x9120 | 0x9123 | 0x9125 | 0x9128 | 0x9130 | 0x9170 | 0x9172 | 0x917a | 0x9182 | 0x9183
            | 0x91a0 | 0x9215 | 0x9220 | 0x9230 | 0x9235,
        )
        | (0x1103, 0x0642 | 0x0645)
        | (0x197b, 0x2392)
        | (0x1c28, 0x0122) => vec![slot | 1],
        (0x9005, 0x0285) if matches!(function.subsystem, Some((0x9005, 0x02bb | 0x02bc))) => {
            vec![0x08]
        }
        (0x8086, 0x2260 | 0x2264) => vec![0x80, 0x88, 0x93],
        (0x8086, 0x2954..=0x2956 | 0x2958..=0x295a) => {
            (0..=u8::MAX).filter(|number| number & 7 <= 4).collect()
        }
        (0x10b5, 0x87b0 | 0x87b1) => (0..=u8::MAX).collect(),
        _ => Vec::new(),
    };
    let others = numbers.into_iter().filter(|number| *number != devfn);
    others.map(|devfn| Name { bus, devfn }).collect()
}

/// A PCIe-to-PCI bridge that hides its PCI Express capability, if it is where such a bridge can be.
pub(super) fn hides_that_it_is_express(function: &Captured) -> bool {
    matches!(
        (function.vendor, function.device),
        (0x1b21, 0x1080) | (0x10e3, 0x8113) | (0x1283, 0x8892 | 0x8893) | (0x8086, 0x244e)
    )
}
