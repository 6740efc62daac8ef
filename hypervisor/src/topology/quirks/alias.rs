//! Whose name the requests of a function may carry, besides its own.

use Ids::{Range, These};

use super::DevfnSet;
use super::ids::{Ids, contain};
use super::intel::INTEL;
use crate::topology::{Function, Identity};

/// Other numbers of its bus that requests of `function` are known to carry though nothing in its
/// configuration space says so: not its own, and not those of its phantom functions.
///
/// What the table inside a switch with non-transparent bridges says is not here: [`may_use_any_id`].
pub(in crate::topology) fn aliases(function: &Function) -> DevfnSet {
    let mut set = DevfnSet::default();
    let identity = function.identity;
    let rows = ALIASES.iter().filter(|(vendor, devices, _)| {
        *vendor == identity.vendor && contain(devices, identity.device)
    });
    for (_, _, alias) in rows {
        add(&mut set, function, *alias);
    }
    set.remove(function.address.devfn);
    set
}

fn add(set: &mut DevfnSet, function: &Function, alias: Alias) {
    let slot = function.address.devfn & !7;
    let subsystem = (function.identity.subsystem_vendor, function.identity.subsystem_device);
    match alias {
        Alias::OfSlot(number) => set.insert(slot | number),
        Alias::OfSubsystems(subsystems, devfn) if subsystems.contains(&subsystem) => {
            set.insert(devfn);
        }
        Alias::OfSubsystems(..) => {}
        Alias::Fixed(devfns) => devfns.iter().for_each(|devfn| set.insert(*devfn)),
        Alias::Functions(functions) => {
            (0..=u8::MAX).filter(|devfn| devfn & 7 < functions).for_each(|devfn| set.insert(devfn));
        }
        Alias::All => *set = DevfnSet::ALL,
    }
}

/// Numbers of the same slot that requests of the phantom functions of `function` carry (PCIe 6.0,
/// section 7.5.3.3, Phantom Functions Supported): with 1, 2 or 3 bits of the function number taken
/// for them, real functions are below 4, 2 or 1, and their phantoms so many apart.
///
/// A function that claims more bits than leave room for itself counts with all that equal it in the
/// bits left.
pub(in crate::topology) fn phantoms(function: &Function) -> DevfnSet {
    let own = function.address.devfn;
    let left = 7 >> function.phantom_bits.min(3);
    (0..8)
        .map(|number| (own & !7) | number)
        .filter(|devfn| *devfn != own && (devfn ^ own) & left == 0)
        .collect()
}

/// True for a bridge from PCI Express to a conventional bus that has no PCI Express capability to say
/// so. It is one only where it is not on a root bus, and the bridge above it is PCI Express and not
/// from PCI Express to a conventional bus itself.
pub(in crate::topology) fn hides_pcie(identity: &Identity) -> bool {
    is_in(identity, HIDDEN_BRIDGES)
}

/// True for a bridge above which nobody takes over the name of a request: what the IOMMU is told is
/// what arrives here.
pub(in crate::topology) fn is_translation_root(identity: &Identity) -> bool {
    is_in(identity, TRANSLATION_ROOTS)
}

/// True for the management function of a Microchip Switchtec switch with non-transparent bridges.
/// Requests that come through it carry whatever its own table says, which is behind its memory and
/// changes at run time: any number of its bus.
pub(in crate::topology) fn may_use_any_id(identity: &Identity) -> bool {
    is_in(identity, SWITCHTEC)
}

type Devices = (u16, &'static [Ids]);

fn is_in(identity: &Identity, table: &[Devices]) -> bool {
    table
        .iter()
        .any(|(vendor, devices)| *vendor == identity.vendor && contain(devices, identity.device))
}

/// Whose name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alias {
    /// That of this function of its own slot, which need not be there.
    OfSlot(u8),
    /// This device and function number, on cards of these subsystems.
    OfSubsystems(&'static [(u16, u16)], u8),
    /// These device and function numbers.
    Fixed(&'static [u8]),
    /// The functions of all slots below this function number.
    Functions(u8),
    /// Everybody's.
    All,
}

/// Sorted by vendor.
pub(super) const ALIASES: &[(u16, &[Ids], Alias)] = &[
    // PLX: the non-transparent bridge of a switch.
    (0x10b5, &[Range(0x87b0, 0x87b1)], Alias::All),
    // HighPoint.
    (0x1103, &[These(&[0x0642, 0x0645])], Alias::OfSlot(1)),
    // Ricoh.
    (0x1180, &[These(&[0xe476, 0xe832])], Alias::OfSlot(0)),
    // JMicron.
    (0x197b, &[These(&[0x2392])], Alias::OfSlot(1)),
    // Marvell.
    (0x1b4b, MARVELL, Alias::OfSlot(1)),
    // Plextor (Lite-On).
    (0x1c28, &[These(&[0x0122])], Alias::OfSlot(1)),
    // Glenfly.
    (0x6766, &[Range(0x3d40, 0x3d41)], Alias::OfSlot(0)),
    // Intel: the DMA of the coprocessor x200, and the card VCA.
    (INTEL, &[These(&[0x2260, 0x2264])], Alias::Fixed(&[0x80, 0x88, 0x93])),
    (INTEL, &[Range(0x2954, 0x2956), Range(0x2958, 0x295a)], Alias::Functions(5)),
    // Adaptec 3405 and 3805.
    (0x9005, &[These(&[0x0285])], Alias::OfSubsystems(&[(0x9005, 0x02bb), (0x9005, 0x02bc)], 0x08)),
];

/// SATA controllers.
const MARVELL: &[Ids] = &[
    These(&[0x9120, 0x9123, 0x9125, 0x9128, 0x9130, 0x9170, 0x9172, 0x917a]),
    Range(0x9182, 0x9183),
    These(&[0x91a0, 0x9215, 0x9220, 0x9230, 0x9235]),
];

/// Sorted by vendor.
pub(super) const HIDDEN_BRIDGES: &[Devices] = &[
    // Tundra.
    (0x10e3, &[These(&[0x8113])]),
    // ITE.
    (0x1283, &[Range(0x8892, 0x8893)]),
    // ASMedia.
    (0x1b21, &[These(&[0x1080])]),
    // Intel 82801.
    (INTEL, &[These(&[0x244e])]),
];

/// Broadcom and Cavium ThunderX2.
pub(super) const TRANSLATION_ROOTS: &[Devices] = &[(0x14e4, &[These(&[0x9000, 0x9084])])];

const SWITCHTEC: &[Devices] = &[(
    0x11f8,
    &[
        Range(0x1001, 0x1006),
        Range(0x8531, 0x8536),
        Range(0x8541, 0x8546),
        Range(0x8551, 0x8556),
        Range(0x8561, 0x8566),
        Range(0x8571, 0x8576),
        These(&[
            0x1008, 0x4000, 0x4028, 0x4036, 0x4052, 0x4068, 0x4084, 0x4100, 0x4128, 0x4136, 0x4152,
            0x4168, 0x4184, 0x4200, 0x4228, 0x4236, 0x4252, 0x4268, 0x4284, 0x4328, 0x4336, 0x4352,
            0x4428, 0x4436, 0x4452, 0x4528, 0x4536, 0x4552, 0x5000, 0x5028, 0x5036, 0x5052, 0x5068,
            0x5084, 0x5100, 0x5128, 0x5136, 0x5152, 0x5168, 0x5184, 0x5200, 0x5228, 0x5236, 0x5252,
            0x5268, 0x5284, 0x5300, 0x5328, 0x5336, 0x5352, 0x5368, 0x5384, 0x5400, 0x5428, 0x5436,
            0x5452, 0x5468, 0x5484, 0x5500, 0x5528, 0x5536, 0x5552, 0x5568, 0x5584,
        ]),
    ],
)];
