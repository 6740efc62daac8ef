//! What is read from configuration space, in order and not.

mod memory;
#[cfg(not(loom))]
mod random;

use std::vec::Vec;

use super::{ConfigError, VirtualFunctions, virtual_functions};
use crate::abi::PciDevice;
use crate::topology::{Acs, AcsBits, BusNumbers, Function, Kind, Traits};

const ADDRESS: PciDevice = PciDevice::new(1, 2, 3, 4);

/// Configuration space that is written as it is read.
struct Image(Vec<u8>);

impl Image {
    /// A function of layout `header` without capabilities.
    fn new(header: u8) -> Self {
        let mut image = Self(std::vec![0; 4096]);
        image.dword(0x00, 0x5678_1234).dword(0x08, 0x0604_00a5).bytes(0x0e, &[header]);
        image
    }

    fn bytes(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        self
    }

    fn word(&mut self, at: usize, value: u16) -> &mut Self {
        self.bytes(at, &value.to_le_bytes())
    }

    fn dword(&mut self, at: usize, value: u32) -> &mut Self {
        self.bytes(at, &value.to_le_bytes())
    }

    /// A capability list that begins at `at`.
    fn list(&mut self, at: u8) -> &mut Self {
        self.word(0x06, 0x10).bytes(0x34, &[at])
    }

    /// A PCI Express capability of this type, the only one.
    fn express(&mut self, kind: u16) -> &mut Self {
        self.list(0x80).bytes(0x80, &[0x10, 0]).word(0x82, kind << 4 | 2)
    }

    /// An extended capability.
    fn extended(&mut self, at: usize, id: u32, next: u32) -> &mut Self {
        self.dword(at, next << 20 | 1 << 16 | id)
    }

    fn read(&self) -> Function {
        self.read_first(4096)
    }

    fn read_first(&self, many: usize) -> Function {
        Function::from_config(ADDRESS, self.0.get(..many).unwrap()).unwrap()
    }
}

#[test]
fn a_header_tells_who_made_it_and_what_is_below() {
    let bridge = Image::new(0x81)
        .bytes(0x18, &[2, 5, 9])
        .list(0x50)
        .bytes(0x50, &[0x0d, 0])
        .dword(0x54, 0xbeef_cafe)
        .read();
    assert_eq!((bridge.identity.vendor, bridge.identity.device), (0x1234, 0x5678));
    assert_eq!(bridge.identity.class, 0x06_0400);
    assert_eq!(bridge.buses, Some(BusNumbers { secondary: 5, subordinate: 9 }));
    assert_eq!(bridge.kind, Kind::Conventional);
    assert_eq!(bridge.acs, Acs::Absent);
    assert_eq!(bridge.traits, Traits::MULTIFUNCTION | Traits::REGIONS_KNOWN);
    let subsystem = |function: Function| {
        (function.identity.subsystem_vendor, function.identity.subsystem_device)
    };
    assert_eq!(subsystem(bridge), (0xcafe, 0xbeef));
    assert_eq!(subsystem(Image::new(0).dword(0x2c, 0xbeef_cafe).read()), (0xcafe, 0xbeef));
    assert_eq!(subsystem(Image::new(2).dword(0x40, 0xbeef_cafe).read()), (0xcafe, 0xbeef));
    assert_eq!(Image::new(0).bytes(0x18, &[2, 5, 9]).read().buses, None);
}

#[test]
fn every_type_of_port_has_its_kind_and_reserved_ones_have_none() {
    let kinds = (0..16).map(|kind| Image::new(0).express(kind).read().kind);
    let unknown = Kind::Unknown;
    assert!(kinds.eq([
        Kind::Endpoint,
        Kind::Endpoint,
        unknown,
        unknown,
        Kind::RootPort,
        Kind::UpstreamPort,
        Kind::DownstreamPort,
        Kind::PcieToPciBridge,
        Kind::PciToPcieBridge,
        Kind::RootComplexEndpoint,
        Kind::EventCollector,
        unknown,
        unknown,
        unknown,
        unknown,
        unknown,
    ]));
}

#[test]
fn a_list_is_where_the_layout_has_it_if_the_status_says_that_there_is_one() {
    let mut image = Image::new(0);
    image.express(7);
    assert_eq!(image.read().kind, Kind::PcieToPciBridge);
    image.word(0x06, 0);
    assert_eq!(image.read().kind, Kind::Conventional);
    let mut cardbus = Image::new(2);
    cardbus.express(7).bytes(0x34, &[0]);
    assert_eq!(cardbus.read().kind, Kind::Conventional);
    assert_eq!(cardbus.bytes(0x14, &[0x80]).read().kind, Kind::PcieToPciBridge);
}

#[test]
fn extended_capabilities_tell_of_acs_ari_and_ats() {
    let mut image = Image::new(0);
    image.express(0).dword(0x84, 2 << 3);
    image.extended(0x100, 0x0d, 0x200).word(0x104, 0x5f).word(0x106, 0x1d);
    image.extended(0x200, 0x0e, 0xff8).extended(0xff8, 0x0f, 0).word(0xffe, 0x8000);
    let function = image.read();
    let [capability, control] = [0x5f, 0x1d].map(AcsBits::from_bits_retain);
    assert_eq!(function.acs, Acs::Present { capability, control, at: 0x100 });
    assert_eq!(function.phantom_bits, 2);
    assert_eq!(function.traits, Traits::ARI | Traits::ATS | Traits::REGIONS_KNOWN);
    image.word(0xffe, 0x7fff);
    assert!(!image.read().traits.contains(Traits::ATS));
}

#[test]
fn intel_ports_with_wide_registers_have_control_two_bytes_later() {
    let mut image = Image::new(1);
    image.express(4).dword(0x00, 0xa110_8086);
    image.extended(0x220, 0x0d, 0).dword(0x224, 0x0f).word(0x226, 0xffff).dword(0x228, 0x05);
    image.extended(0x100, 0, 0x220);
    let control = |image: &Image| match image.read().acs {
        Acs::Present { control, .. } => Some(control.bits()),
        Acs::Unknown | Acs::Absent => None,
    };
    assert_eq!(control(&image), Some(0x05));
    // The next device id has them where everybody has them.
    image.word(0x226, 0x0a).dword(0x00, 0xa120_8086);
    assert_eq!(control(&image), Some(0x0a));
}

#[test]
fn what_the_bytes_do_not_reach_is_unknown() {
    let mut image = Image::new(0);
    image.express(4).extended(0x100, 0x0d, 0);
    assert_eq!(image.read_first(64).kind, Kind::Unknown);
    assert_eq!(image.read_first(0x83).kind, Kind::Unknown);
    assert_eq!(image.read_first(256).kind, Kind::RootPort);
    assert_eq!(image.read_first(256).acs, Acs::Unknown);
    assert_eq!(image.read_first(0x107).acs, Acs::Unknown);
    assert!(matches!(image.read_first(0x108).acs, Acs::Present { .. }));
    // Regions may be described behind the header.
    assert!(!image.read_first(64).traits.contains(Traits::REGIONS_KNOWN));
    // Without a list 64 bytes are enough to know that there is nothing.
    assert_eq!(Image::new(0).read_first(64).kind, Kind::Conventional);
    assert_eq!(Image::new(0).read_first(64).acs, Acs::Absent);
}

#[test]
fn a_list_that_is_out_of_order_leaves_the_rest_of_it_unknown() {
    // Round and round; into the header; to where nobody answers; of an unknown layout.
    let mut image = Image::new(0);
    image.list(0x40).bytes(0x40, &[9, 0x44]).bytes(0x44, &[9, 0x40]);
    assert_eq!(image.read().kind, Kind::Unknown);
    assert_eq!(image.read().acs, Acs::Unknown, "nor is it known whether there are more");
    assert_eq!(image.bytes(0x45, &[0x3c]).read().kind, Kind::Unknown);
    assert_eq!(image.bytes(0x45, &[0x50]).bytes(0x50, &[0xff, 0]).read().kind, Kind::Unknown);
    assert_eq!(Image::new(3).list(0x40).read().kind, Kind::Unknown);
    // The lowest bits of a pointer do not count, and what was found before counts.
    image.bytes(0x45, &[0x83]).bytes(0x80, &[0x10, 0x40]);
    assert_eq!(image.read().kind, Kind::Endpoint);
}

#[test]
fn an_extended_list_that_is_out_of_order_leaves_the_rest_of_it_unknown() {
    let mut image = Image::new(0);
    image.express(0).extended(0x100, 1, 0x200);
    let acs = |image: &mut Image, next| image.extended(0x200, 1, next).read().acs;
    assert_eq!(acs(&mut image, 0x100), Acs::Unknown);
    assert_eq!(acs(&mut image, 0x0fc), Acs::Unknown);
    assert_eq!(acs(&mut image, 0xffc), Acs::Absent);
    assert_eq!(acs(&mut image, 0), Acs::Absent);
    image.dword(0xffc, u32::MAX);
    assert_eq!(acs(&mut image, 0xffc), Acs::Unknown);
    image.dword(0x100, u32::MAX).dword(0xffc, 0);
    assert_eq!(image.read().acs, Acs::Unknown);
}

#[test]
fn the_longest_lists_are_read_to_their_ends() {
    let mut image = Image::new(0);
    image.list(0x40);
    for at in (0x40..0xfc_u8).step_by(4) {
        image.bytes(usize::from(at), &[9, at + 4]);
    }
    image.bytes(0xfc, &[9, 0]);
    assert_eq!(image.read().kind, Kind::Conventional);
    image.bytes(0x80, &[0x10]);
    for at in (0x100..0xff8).step_by(8) {
        image.extended(at, 1, at as u32 + 8);
    }
    assert_eq!(image.extended(0xff8, 0x0d, 0).read().kind, Kind::Endpoint);
    assert!(matches!(image.read().acs, Acs::Present { at: 0xff8, .. }));
}

#[test]
fn only_the_lpc_bridge_of_intel_has_chipset_registers() {
    let mut image = Image::new(0);
    image.dword(0x00, 0x1c44_8086).dword(0xf0, 0xfed1_c001);
    let rcba = |image: &Image, device| {
        let address = PciDevice::new(0, 0, device, 0);
        Function::from_config(address, &image.0).unwrap().rcba
    };
    assert_eq!(rcba(&image, 0x1f), 0xfed1_c001);
    assert_eq!(rcba(&image, 0x1e), 0);
    assert_eq!(rcba(image.dword(0x00, 0x1c44_8087), 0x1f), 0);
}

#[test]
fn virtual_functions_are_numbered_from_their_physical_one() {
    let mut image = Image::new(0);
    image.express(0).extended(0x100, 0x10, 0).word(0x10c, 8).word(0x110, 3);
    image.word(0x114, 0x80).word(0x116, 2).word(0x11a, 0x10ca);
    let found = virtual_functions(&image.0).unwrap();
    let expected =
        VirtualFunctions { first: 0x80, stride: 2, count: 3, enabled: false, device: 0x10ca };
    assert_eq!(found, expected);
    assert_eq!(found.addresses(ADDRESS).count(), 0);
    let found = virtual_functions(&image.word(0x108, 1).0).unwrap();
    let numbers = |physical| found.addresses(physical).map(PciDevice::sbdf);
    assert!(numbers(ADDRESS).eq([0x1_029c, 0x1_029e, 0x1_02a0]));
    // On the next bus, and past the last.
    assert!(numbers(PciDevice { seg: 0, bus: 2, devfn: 0x7e }).eq([0x02fe, 0x0300, 0x0302]));
    assert!(numbers(PciDevice { seg: 0, bus: 255, devfn: 0x7e }).eq([0xfffe, 0, 2]));
    assert_eq!(virtual_functions(image.0.get(..0x11b).unwrap()), None);
    assert_eq!(virtual_functions(&[]), None);
}

#[test]
fn ids_of_ones_are_a_virtual_function_and_nothing_but_ones_is_none() {
    let virtual_one = Image::new(0).express(0).dword(0x00, u32::MAX).read();
    assert_eq!(virtual_one.traits, Traits::VIRTUAL);
    assert_eq!(virtual_one.kind, Kind::Endpoint);
    let read = |bytes: &[u8]| Function::from_config(ADDRESS, bytes);
    assert_eq!(read(&[0xff; 64]), Err(ConfigError::NoFunction));
    assert_eq!(read(&[0xff; 4096]), Err(ConfigError::NoFunction));
    assert_eq!(read(&[0xff; 63]), Err(ConfigError::TooShort));
    assert_eq!(read(&[]), Err(ConfigError::TooShort));
}
