//! A function of which nothing special is known.

use std::collections::BTreeMap;

use crate::pci::{Captured, Kind, Name};

/// A function of `kind` without ACS, with an identity that no quirk knows. It is no bridge, whatever
/// its kind, until it gets buses.
#[must_use]
pub fn plain(name: Name, kind: Kind) -> Captured {
    Captured {
        name,
        vendor: 0x1234,
        device: 0x1111,
        class: 0x02_0000,
        subsystem: None,
        header: 0,
        multifunction: Some(false),
        kind: Some(kind),
        buses: None,
        acs: None,
        acs_is_known: true,
        phantom: 0,
        ari: false,
        ari_forwarding: false,
        virtual_function: false,
        physical: None,
        vouched_for: false,
        regions: Vec::new(),
        windows: Vec::new(),
        bytes: BTreeMap::new(),
        config: Vec::new(),
    }
}
