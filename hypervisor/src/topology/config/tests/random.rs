//! Whatever the bytes, they are read or refused.

use proptest::{collection::vec, prelude::*};

use crate::abi::PciDevice;
use crate::topology::{Acs, Function, Kind, virtual_functions};

/// Bytes of which pointers and ids have a chance to lead somewhere.
fn likely() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        proptest::sample::select(&[0, 1, 2, 4, 0x0d, 0x0e, 0x0f, 0x10, 0x14, 0x40, 0x80][..])
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in vec(likely(), 0..600),
        layout in 0..4_u8,
        is_list in any::<bool>(),
        devfn in any::<u8>(),
    ) {
        if let Some(header) = bytes.get_mut(0x0e) {
            *header = layout;
        }
        if let Some(status) = bytes.get_mut(0x06) {
            *status |= u8::from(is_list) << 4;
        }
        let read = Function::from_config(PciDevice { seg: 0, bus: 0, devfn }, &bytes);
        prop_assert_eq!(read.is_err(), bytes.len() < 64);
        let _ = virtual_functions(&bytes);
        let Ok(function) = read else { return Ok(()) };
        // What is known of less is not contradicted by more.
        let mut more = bytes;
        more.resize(4096, 0);
        let again = Function::from_config(function.address, &more).unwrap();
        prop_assert!(function.kind == again.kind || function.kind == Kind::Unknown);
        prop_assert!(function.acs == again.acs || function.acs == Acs::Unknown);
        prop_assert_eq!(function.buses, again.buses);
        prop_assert!(function.windows.iter().flatten().all(|it| it.first <= it.last));
    }
}
