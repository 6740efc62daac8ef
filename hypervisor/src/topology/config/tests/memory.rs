//! Memory regions and windows.

use super::Image;
use crate::topology::{Traits, Window};

#[test]
fn memory_regions_are_found_between_those_of_io() {
    let mut image = Image::new(0);
    image.dword(0x10, 0xfebc_0008).dword(0x14, 0xc001).dword(0x18, 0x4000_000c);
    image.dword(0x1c, 0x38).dword(0x20, 0xfebd_0000).dword(0x24, 0xfebe_0004);
    let low = 0xfebc_0000;
    assert_eq!(image.read().regions, [low, 0, 0x38_4000_0000, 0, 0xfebd_0000, 0xfebe_0000]);
    for bridge in [2, 1] {
        image.bytes(0x0e, &[bridge]);
        assert_eq!(image.read().regions, [low, 0, 0, 0, 0, 0]);
    }
    // Half of a region behind the last register is not the bus numbers.
    image.dword(0x14, 0xfebd_0004);
    assert_eq!(image.read().regions, [low, 0xfebd_0000, 0, 0, 0, 0]);
    // Some may be somewhere else.
    assert!(image.read().traits.contains(Traits::REGIONS_KNOWN));
    image.list(0x40).bytes(0x40, &[0x14, 0]);
    assert!(!image.read().traits.contains(Traits::REGIONS_KNOWN));
}

#[test]
fn windows_of_a_bridge_are_what_it_forwards() {
    let mut image = Image::new(1);
    image.dword(0x20, 0xfd20_fd00).dword(0x24, 0xfdf1_fdc1);
    let [low, high] = [(0xfd00_0000, 0xfd2f_ffff), (0xfdc0_0000, 0xfdff_ffff)];
    let windows = |image: &Image| {
        image.read().windows.map(|window| window.map(|Window { first, last }| (first, last)))
    };
    assert_eq!(windows(&image), [Some(low), Some(high)]);
    image.dword(0x28, 0x38).dword(0x2c, 0x39);
    assert_eq!(windows(&image), [Some(low), Some((0x38_fdc0_0000, 0x39_fdff_ffff))]);
    // Of 32 bits, what is above does not count.
    image.dword(0x24, 0xfdf0_fdc0);
    assert_eq!(windows(&image), [Some(low), Some(high)]);
    // Closed, and never opened.
    image.dword(0x20, 0xfd00_fd20).dword(0x24, 0);
    assert_eq!(windows(&image), [None, None]);
    let mut card = Image::new(2);
    card.dword(0x1c, 0xf000_0000).dword(0x20, 0xf000_1000).dword(0x24, 0x2000).dword(0x28, 0x1000);
    assert_eq!(windows(&card), [Some((0xf000_0000, 0xf000_1fff)), None]);
    card.bytes(0x0e, &[0]);
    assert_eq!(windows(&card), [None, None]);
}
