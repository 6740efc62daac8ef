//! Comparing two ways in which devices are grouped: as sets, whatever the numbers are.

use super::Device;
use crate::sort::sort_by_key;

/// The group that a device is to be in, and what becomes of it. One for each device, in the order of
/// [`Machine::devices`](super::Machine::devices), in memory that the embedder lends: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewGroup {
    group: Option<u32>,
    fate: Fate,
    /// Functions join or leave its group, be they of a device that is listed or not.
    regrouped: bool,
    /// A function of it is behind no unit.
    untranslated: bool,
    /// Where its device is in the list.
    device: u32,
}

const _: () = assert!(size_of::<NewGroup>() == 16);

/// What becomes of a device when groups change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Fate {
    /// Its group has the members that it had.
    #[default]
    Unchanged,
    /// Its group has others now, and nobody has any of them.
    Changed,
    /// Somebody has devices of its group, before or after: nobody is given any of it until that is
    /// approved.
    Tainted,
    /// The same, and it does no DMA any more: it could reach what is not its owner's.
    Stopped,
}

/// Which way of grouping.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Old,
    New,
}

impl NewGroup {
    /// The device is to be of group `group`; `None`: alone.
    #[must_use]
    pub fn new(group: Option<u32>) -> Self {
        Self { group, fate: Fate::Unchanged, regrouped: false, untranslated: false, device: 0 }
    }

    /// The same, if a function of that group is behind no unit.
    #[must_use]
    pub fn beside_untranslated(self, untranslated: bool) -> Self {
        Self { untranslated, ..self }
    }

    pub(super) fn is_beside_untranslated(&self) -> bool {
        self.untranslated
    }

    /// The number of the group that it is to be in.
    #[must_use]
    pub fn group(&self) -> Option<u32> {
        self.group
    }

    /// What has become of it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Notes that its group changes, whatever else the list says.
    pub(super) fn set_regrouped(&mut self) {
        self.regrouped = true;
    }

    /// Notes that at least this becomes of it.
    pub(super) fn worsen(&mut self, fate: Fate) {
        let rank = |fate| match fate {
            Fate::Unchanged => 0,
            Fate::Changed => 1,
            Fate::Tainted => 2,
            Fate::Stopped => 3,
        };
        if rank(fate) > rank(self.fate) {
            self.fate = fate;
        }
    }

    pub(super) fn device<'d, 'a>(&self, devices: &'d [Device<'a>]) -> Option<&'d Device<'a>> {
        devices.get(usize::try_from(self.device).ok()?)
    }

    /// By what sets are told apart: what is alone has a number of its own.
    fn key(&self, side: Side, devices: &[Device<'_>]) -> (bool, u32) {
        let device = self.device(devices);
        let group = match side {
            Side::Old => device.and_then(Device::group),
            // What is not plugged in reaches nobody.
            Side::New => self.group.filter(|_| device.is_some_and(|device| !device.is_absent())),
        };
        group.map_or((true, self.device), |group| (false, group))
    }
}

/// Numbers `entries`, which are in the order of the devices, and marks those whose group gets or loses a
/// member. They are sorted by new group after that.
pub(super) fn mark_changed(entries: &mut [NewGroup], devices: &[Device<'_>]) {
    for (device, entry) in (0..=u32::MAX).zip(entries.iter_mut()) {
        let fate = if entry.regrouped { Fate::Changed } else { Fate::Unchanged };
        (entry.device, entry.fate) = (device, fate);
    }
    // A set that is one on either side is the same on both.
    for (side, other) in [(Side::Old, Side::New), (Side::New, Side::Old)] {
        each_group(entries, devices, side, |members| {
            let group = members.first().map(|first| first.key(other, devices));
            if members.iter().any(|member| Some(member.key(other, devices)) != group) {
                members.iter_mut().for_each(|member| member.worsen(Fate::Changed));
            }
        });
    }
}

/// Has `act` look at each group, as it is on that side.
pub(super) fn each_group(
    entries: &mut [NewGroup],
    devices: &[Device<'_>],
    side: Side,
    mut act: impl FnMut(&mut [NewGroup]),
) {
    sort_by_key(entries, |entry| (entry.key(side, devices), entry.device));
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let group = first.key(side, devices);
        let end = rest.iter().position(|entry| entry.key(side, devices) != group);
        let end = end.unwrap_or(rest.len());
        let Some((members, others)) = rest.split_at_mut_checked(end) else { return };
        act(members);
        rest = others;
    }
}

/// Puts them back into the order of the devices.
pub(super) fn restore_order(entries: &mut [NewGroup]) {
    sort_by_key(entries, |entry| entry.device);
}

#[cfg(all(test, not(loom)))]
mod tests;
