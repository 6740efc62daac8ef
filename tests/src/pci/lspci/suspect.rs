//! Devices that may send with ids of others, by the names of their makers: what is left to go by where
//! ids are not shown.

use crate::pci::capture::Captured;

/// Makers of devices that use other function numbers of their own slot.
const OF_SLOT: [&str; 7] =
    ["Marvell", "Ricoh", "JMicron", "HighPoint", "Lite-On", "Plextor", "Glenfly"];

/// Words that name devices which use any number of their bus: non-transparent bridges of switches,
/// cards with several processors, RAID controllers behind a bridge.
const OF_BUS: [&str; 9] = [
    "PLX Technology",
    "Switchtec",
    "PMC-Sierra",
    "Microsemi",
    "Microchip",
    "Xeon Phi",
    "VCA",
    "Adaptec",
    "Visual Compute",
];

/// Assumes of `function`, of which `text` is all that is known, the worst of what its maker makes.
pub(super) fn assume(function: &mut Captured, text: &str) {
    let names = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let any = names(&OF_BUS) && function.buses.is_none();
    if any || names(&OF_SLOT) {
        function.phantom = 3;
    }
    // All of its bus is one device, then.
    function.ari |= any;
}
