//! A function of which nothing special is known.

use crate::pci::{Captured, Kind, Name};

/// A function of `kind` without ACS, with an identity that no quirk knows. It is no bridge, whatever
/// its kind, until it gets buses.
#[must_use]
pub fn plain(name: Name, kind: Kind) -> Captured {
    Captured {
        vendor: 0x1234,
        device: 0x1111,
        class: 0x02_0000,
        multifunction: Some(false),
        kind: Some(kind),
        acs_is_known: true,
        ..Captured::new(name)
    }
}
