//! What vendors state about isolation beyond configuration space, by identity.
//!
//! The facts are those of `tests/pci/quirks.json`. AMD's south bridges are missing: their statement
//! depends on a firmware table that captures do not have, and without it there is none.

use super::config;
use crate::pci::{Capture, Captured, Kind, Name};

/// A vendor's statement on a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Statement {
    /// No request leaves it but by the root.
    Isolated,
    /// It is not among those of which that is stated.
    Denied,
}

/// Network functions that do not talk to each other inside of their device.
const INTEL_NETWORK: &[u16] = &[
    0x105e, 0x105f, 0x1060, 0x10a7, 0x10a9, 0x10c6, 0x10c9, 0x10d6, 0x10d9, 0x10db, 0x10dd, 0x10e1,
    0x10e6, 0x10e7, 0x10e8, 0x10f1, 0x10f7, 0x10f8, 0x10f9, 0x10fa, 0x10fb, 0x10fc, 0x1507, 0x1509,
    0x150a, 0x150d, 0x150e, 0x150f, 0x1510, 0x1511, 0x1514, 0x1516, 0x1518, 0x151c, 0x1521, 0x1522,
    0x1523, 0x1524, 0x1526, 0x1527, 0x1529, 0x152a, 0x154d, 0x154f, 0x1551, 0x1558, 0x15b7, 0x15b8,
];

/// What is stated about `function`; `None` if nothing is, and its capability decides.
pub(super) fn statement(function: &Captured, capture: &Capture) -> Option<Statement> {
    let root_port = function.kind == Some(Kind::RootPort);
    let id = function.device;
    let isolated = match function.vendor {
        0x8086 => {
            if root_port && is_intel_chipset_port(id) {
                let worked = intel_chipset_enables(function, capture);
                return Some(if worked { Statement::Isolated } else { Statement::Denied });
            }
            INTEL_NETWORK.contains(&id) || function.kind == Some(Kind::RootComplexEndpoint)
        }
        0x1924 => matches!(id, 0x0903 | 0x0923 | 0x0a03),
        0x19a2 => id == 0x0710,
        0x10df => id == 0x0720,
        0x177d => {
            let port = matches!(id, 0xa000..=0xa7ff | 0xaf84 | 0xb884);
            matches!(id, 0xa026 | 0xa059 | 0xa060) || root_port && port
        }
        0x14e4 => matches!(id, 0x16d7 | 0x1750..=0x1752 | 0x1760..=0x1763 | 0xd714),
        0x17cb => matches!(id, 0x0111 | 0x0115 | 0x0120 | 0x0400 | 0x0401),
        0x1dbf => id == 0x0401,
        0x10e8 => id == 0xe004,
        0x1def => matches!(id, 0xe005..=0xe00c),
        0x0014 => matches!(id & 0xff0f, 0x3c09 | 0x7a09) && is_loongson_port(id),
        0x1c36 => root_port && id == 0x0031,
        0x1957 => is_nxp_port(id),
        0x1d17 => return zhaoxin(function),
        0x8088 => return Some(wangxun(id)),
        _ => false,
    };
    isolated.then_some(Statement::Isolated)
}

/// Sunrise Point and its kin: the registers of ACS are double words.
pub(super) fn has_acs_in_dwords(function: &Captured) -> bool {
    let id = function.device;
    function.vendor == 0x8086
        && function.kind == Some(Kind::RootPort)
        && matches!(id, 0xa110..=0xa11f | 0xa167..=0xa16a | 0xa290..=0xa29f | 0xa2e7..=0xa2ee
            | 0x9d10..=0x9d1b)
}

/// A bridge at which requests are translated, with a root bus below it.
pub(super) fn is_translation_root(function: &Captured) -> bool {
    function.vendor == 0x14e4 && matches!(function.device, 0x9000 | 0x9084)
}

/// Root ports of Intel chipsets without the capability.
fn is_intel_chipset_port(id: u16) -> bool {
    let any = matches!(id, 0x3b42..=0x3b51 | 0x1c10..=0x1c1f | 0x1e10..=0x1e1f | 0x8c10..=0x8c1f
        | 0x9c10..=0x9c1b | 0x9c90..=0x9c9b | 0x8d10..=0x8d1e);
    let even = matches!(id, 0x1d10..=0x1d1e | 0x8c90..=0x8c9e);
    any || even && id.is_multiple_of(2)
}

/// The registers that isolate them are in the root complex block of 1f.0 on their bus, if that is enabled.
/// Where that function is not seen, nothing says so.
fn intel_chipset_enables(port: &Captured, capture: &Capture) -> bool {
    const ENABLE: u16 = 0xf0;
    let bridge = Name { bus: port.name.bus, devfn: 0x1f << 3 };
    let found = capture.functions.iter().find(|f| f.name == bridge);
    found.is_some_and(|f| config::byte(f, ENABLE).is_some_and(|byte| byte & 1 != 0))
}

fn is_loongson_port(id: u16) -> bool {
    let number = id >> 4 & 0xf;
    if id >> 8 == 0x3c { number <= 2 } else { number <= 6 }
}

fn is_nxp_port(id: u16) -> bool {
    let (block, low) = (id >> 4, id & 0xf);
    match block {
        0x8d8 | 0x8d9 => matches!(low & 7, 0..=3),
        0x8da | 0x8db => matches!(low & 7, 0 | 1),
        _ => false,
    }
}

fn zhaoxin(function: &Captured) -> Option<Statement> {
    let id = function.device;
    if matches!(id, 0x3038 | 0x3104 | 0x9083) {
        return Some(Statement::Isolated);
    }
    let port = matches!(function.kind, Some(Kind::RootPort | Kind::Downstream));
    let listed = matches!(id, 0x0710..=0x071e | 0x0721 | 0x0723..=0x0752);
    port.then_some(if listed { Statement::Isolated } else { Statement::Denied })
}

const fn wangxun(id: u16) -> Statement {
    match id {
        0x0100..=0x010f | 0x1001 | 0x2001 | 0x5010 | 0x5025 | 0x5040 | 0x5110 | 0x5125 | 0x5140 => {
            Statement::Isolated
        }
        _ => Statement::Denied,
    }
}
