//! All that a unit could have cached, as commands that make it forget it.

use pviommu_abi::PciDevice;

use crate::{
    platform::{Invalidation, Tag},
    unit::{Command, amdvi::command},
};

/// One command if the unit knows one that does it `at_once`, else some for each id below `devices` and
/// for each tag.
pub(super) fn commands(at_once: bool, devices: u32) -> impl Iterator<Item = Command> {
    let whole = at_once.then(command::forget_everything);
    let devices = if at_once { 0 } else { devices };
    let tags = if at_once { 0 } else { 1 << u16::BITS };
    whole.into_iter().chain((0..devices).flat_map(of_device)).chain((0..tags).filter_map(of_tag))
}

fn of_device(id: u32) -> [Command; 2] {
    let [_, _, bus, devfn] = id.to_be_bytes();
    let device = PciDevice { seg: 0, bus, devfn };
    [command::forget_device(device), command::forget_interrupts(device)]
}

fn of_tag(tag: u32) -> Option<Command> {
    let tag = u16::try_from(tag).ok()?;
    Some(command::invalidate(Tag(tag), Invalidation::Everything))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_command_for_all_each_device_and_each_tag_is_named() {
        let all: Vec<Command> = commands(false, 0x180).collect();
        let of = |opcode: u64| all.iter().filter(move |it| it[0] >> 60 == opcode);
        assert_eq!(all.len(), 2 * 0x180 + 0x1_0000);
        let ids = |opcode| of(opcode).map(|it| it[0] & 0xffff).collect::<Vec<_>>();
        assert_eq!(ids(2), (0..0x180).collect::<Vec<_>>());
        assert_eq!(ids(5), ids(2));
        let tags: Vec<u64> = of(3).map(|it| it[0] >> 32 & 0xffff).collect();
        assert_eq!(tags, (0..0x1_0000).collect::<Vec<_>>());
        assert_eq!(commands(true, 0x180).collect::<Vec<_>>(), [[8 << 60, 0]]);
    }
}
