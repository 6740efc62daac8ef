//! Vendors and devices: mostly none that matter, at times one with a quirk.

use super::Maker;
use crate::pci::{Captured, Kind};

/// Of which the vendor states something on isolation, or is silent where it speaks of others.
const STATED: &[(u16, u16)] = &[
    (0x8086, 0x1521),
    (0x8086, 0x10fb),
    (0x8086, 0x15b8),
    (0x1924, 0x0903),
    (0x19a2, 0x0710),
    (0x10df, 0x0720),
    (0x177d, 0xa026),
    (0x14e4, 0x16d7),
    (0x14e4, 0x1760),
    (0x1d17, 0x3038),
    (0x8088, 0x1001),
    (0x8088, 0x0500),
    (0x1077, 0x8030),
    (0x8086, 0x1234),
];
/// The same, of ports.
const STATED_PORTS: &[(u16, u16)] = &[
    (0x8086, 0x1e10),
    (0x8086, 0x8c94),
    (0x8086, 0x8c95),
    (0x8086, 0xa110),
    (0x177d, 0xa100),
    (0x10e8, 0xe004),
    (0x1def, 0xe005),
    (0x17cb, 0x0400),
    (0x1dbf, 0x0401),
    (0x1957, 0x8d81),
    (0x14e4, 0xd714),
    (0x0014, 0x7a09),
    (0x1c36, 0x0031),
    (0x1d17, 0x0710),
    (0x1d17, 0x0800),
];
/// That use other requester ids.
const ALIASED: &[(u16, u16)] = &[
    (0x1180, 0xe832),
    (0x6766, 0x3d40),
    (0x1b4b, 0x9230),
    (0x1b4b, 0x9120),
    (0x1103, 0x0642),
    (0x197b, 0x2392),
    (0x9005, 0x0285),
    (0x8086, 0x2260),
    (0x8086, 0x2954),
    (0x10b5, 0x87b0),
];
/// Bridges that take requests over in another way than they look, and translation roots.
const ODD_BRIDGES: &[(u16, u16)] = &[
    (0x1b21, 0x1080),
    (0x10e3, 0x8113),
    (0x1283, 0x8892),
    (0x8086, 0x244e),
    (0x14e4, 0x9000),
    (0x14e4, 0x9084),
];

impl Maker {
    /// Gives `function` a device's identity, at times.
    pub(super) fn identify(&mut self, function: &mut Captured) {
        if !self.one_of_100(self.quirks) {
            return;
        }
        let list = match function.kind {
            Some(Kind::RootPort | Kind::Downstream) if self.one_of_100(90) => STATED_PORTS,
            Some(Kind::Conventional | Kind::PciToPcie) if self.one_of_100(70) => ODD_BRIDGES,
            _ if self.one_of_100(30) => ALIASED,
            _ => STATED,
        };
        let at = self.chance.below(list.len() as u64) as usize;
        (function.vendor, function.device) = list[at];
        if function.vendor == 0x9005 {
            function.subsystem = Some((0x9005, 0x02bb));
        }
    }
}
