//! What a vendor says of the access control of its functions, against or without their capability.

use Claim::Isolates;
use Ids::{Range, These};
use Of::{All, Ports, RootComplexEndpoints, RootPorts, Southbridge};

use super::ids::{ANY, Ids, contain};
use super::intel::{INTEL, PCH};
use crate::topology::{Function, Kind};

/// What the vendor says of a function's access control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::topology) enum Claim {
    /// All that isolation asks for counts as on.
    Isolates,
    /// Nothing is on, whatever the capability says.
    Nothing,
    /// A root port that isolates if the registers of its chipset could be reached: bit 0 of the dword
    /// at f0h of device 1f.0 on the bus of the port is set. Nothing is on otherwise.
    ChipsetPort,
}

/// What a claim depends on and a function does not know of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::topology) struct Place {
    /// It is one of several functions of its device.
    pub(in crate::topology) multifunction: bool,
    /// It is on a root bus.
    pub(in crate::topology) on_root_bus: bool,
    /// Firmware describes AMD IOMMUs: there is an IVRS table.
    pub(in crate::topology) ivrs: bool,
}

/// What the vendor says of the access control of `function` at `place`; `None`: nothing, and the
/// capability decides.
pub(in crate::topology) fn claim(function: &Function, place: Place) -> Option<Claim> {
    let identity = function.identity;
    CLAIMS
        .iter()
        .filter(|row| row.vendor == identity.vendor && contain(row.devices, identity.device))
        .find(|row| row.of.covers(function, place))
        .map(|row| row.claim)
}

/// Which of the functions with such a device id a row speaks of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// All of them.
    All,
    /// Root ports.
    RootPorts,
    /// Root ports and downstream ports of switches.
    Ports,
    /// Endpoints of the root complex.
    RootComplexEndpoints,
    /// Functions of a chipset with several, beside an AMD IOMMU.
    Southbridge,
}

impl Of {
    fn covers(self, function: &Function, place: Place) -> bool {
        match self {
            Self::All => true,
            Self::RootPorts => function.kind == Kind::RootPort,
            Self::Ports => function.kind.is_egress_port(),
            Self::RootComplexEndpoints => function.kind == Kind::RootComplexEndpoint,
            Self::Southbridge => place.multifunction && place.on_root_bus && place.ivrs,
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) vendor: u16,
    pub(super) devices: &'static [Ids],
    pub(super) of: Of,
    pub(super) claim: Claim,
}

const fn row(vendor: u16, devices: &'static [Ids], of: Of, claim: Claim) -> Row {
    Row { vendor, devices, of, claim }
}

/// Sorted by vendor; of a vendor, the first row that covers the function decides.
pub(super) const CLAIMS: &[Row] = &[
    // Loongson.
    row(0x0014, LOONGSON, All, Isolates),
    // AMD's chipsets, by the name of ATI and by its own: redirection is hard-wired.
    row(
        0x1002,
        &[Range(0x4383, 0x4385), These(&[0x4399]), Range(0x439c, 0x439d)],
        Southbridge,
        Isolates,
    ),
    row(0x1022, &[These(&[0x7809, 0x780f])], Southbridge, Isolates),
    // Emulex.
    row(0x10df, &[These(&[0x0720])], All, Isolates),
    // AppliedMicro X-Gene.
    row(0x10e8, &[These(&[0xe004])], All, Isolates),
    // Broadcom: network cards, and a root port.
    row(0x14e4, &[These(&[0x16d7]), Range(0x1750, 0x1752), Range(0x1760, 0x1763)], All, Isolates),
    row(0x14e4, &[These(&[0xd714])], All, Isolates),
    // Cavium ThunderX: root ports, then network functions.
    row(0x177d, &[Range(0xa000, 0xa7ff), These(&[0xaf84, 0xb884])], RootPorts, Isolates),
    row(0x177d, &[These(&[0xa026, 0xa059, 0xa060])], All, Isolates),
    // Qualcomm.
    row(0x17cb, QUALCOMM, All, Isolates),
    // Solarflare.
    row(0x1924, &[These(&[0x0903, 0x0923, 0x0a03])], All, Isolates),
    // NXP Layerscape.
    row(0x1957, NXP, All, Isolates),
    // Emulex, as ServerEngines.
    row(0x19a2, &[These(&[0x0710])], All, Isolates),
    // Annapurna Labs (Amazon).
    row(0x1c36, &[These(&[0x0031])], RootPorts, Isolates),
    // Zhaoxin: a port that it does not name does not isolate.
    row(0x1d17, &[These(&[0x3038, 0x3104, 0x9083])], All, Isolates),
    row(0x1d17, &[Range(0x0710, 0x071e), These(&[0x0721]), Range(0x0723, 0x0752)], Ports, Isolates),
    row(0x1d17, ANY, Ports, Claim::Nothing),
    // HXT.
    row(0x1dbf, &[These(&[0x0401])], All, Isolates),
    // Ampere.
    row(0x1def, &[Range(0xe005, 0xe00c)], All, Isolates),
    // Intel: network cards; then VT-d (section 3.16 of its specification) keeps endpoints of the root
    // complex from each other; then root ports. Those with registers of 32 bits need no claim: their
    // capability is read as they lay it out.
    row(INTEL, INTEL_NETWORK, All, Isolates),
    row(INTEL, ANY, RootComplexEndpoints, Isolates),
    row(INTEL, PCH, RootPorts, Claim::ChipsetPort),
    // Wangxun: a card that it does not name does not isolate.
    row(0x8088, WANGXUN, All, Isolates),
    row(0x8088, ANY, All, Claim::Nothing),
];

/// Root ports.
const LOONGSON: &[Ids] =
    &[These(&[0x3c09, 0x3c19, 0x3c29, 0x7a09, 0x7a19, 0x7a29, 0x7a39, 0x7a49, 0x7a59, 0x7a69])];

/// Root ports.
const QUALCOMM: &[Ids] = &[These(&[0x0111, 0x0115, 0x0120]), Range(0x0400, 0x0401)];

/// Root ports of LX2160A and its kin.
const NXP: &[Ids] = &[
    Range(0x8d80, 0x8d83),
    Range(0x8d88, 0x8d8b),
    Range(0x8d90, 0x8d93),
    Range(0x8d98, 0x8d9b),
    Range(0x8da0, 0x8da1),
    Range(0x8da8, 0x8da9),
    Range(0x8db0, 0x8db1),
    Range(0x8db8, 0x8db9),
];

/// Network cards of 1, 10, 25 and 40 Gbit/s.
const WANGXUN: &[Ids] = &[
    Range(0x0100, 0x010f),
    These(&[0x1001, 0x2001, 0x5010, 0x5025, 0x5040, 0x5110, 0x5125, 0x5140]),
];

/// 82571, 82575, 82576, 82580, 82598, 82599, I219, I350, X520 and X540.
const INTEL_NETWORK: &[Ids] = &[
    Range(0x105e, 0x1060),
    These(&[0x10a7, 0x10a9, 0x10c6, 0x10c9, 0x10d6, 0x10d9, 0x10db, 0x10dd, 0x10e1]),
    Range(0x10e6, 0x10e8),
    These(&[0x10f1]),
    Range(0x10f7, 0x10fc),
    These(&[0x1507]),
    Range(0x1509, 0x150a),
    Range(0x150d, 0x1511),
    These(&[0x1514, 0x1516, 0x1518, 0x151c]),
    Range(0x1521, 0x1524),
    Range(0x1526, 0x1527),
    Range(0x1529, 0x152a),
    These(&[0x154d, 0x154f, 0x1551, 0x1558]),
    Range(0x15b7, 0x15b8),
];
