//! The units that have a device in a context, with the tag and the number of devices on each.

use crate::{
    platform::{Tag, UnitId},
    sync::{AtomicU64, Ordering},
};

/// Most units one context can be attached on.
pub(crate) const MAX_UNITS: usize = 8;

/// A short list, read without a lock: an entry is one word.
///
/// ```text
///  63       32 31  16 15   0
/// │ devices   │ tag  │ unit │     0 devices: not in use
/// ```
///
/// Changed under the domain's administration lock. A unit stands here from before its first
/// device entry names the tag until after the flush that follows the last: an edit that does not
/// see it need not flush it.
pub(crate) struct Users([AtomicU64; MAX_UNITS]);

/// One unit of a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub(crate) unit: UnitId,
    pub(crate) tag: Tag,
    pub(crate) devices: u32,
}

impl User {
    fn encode(self) -> u64 {
        u64::from(self.devices) << 32 | u64::from(self.tag.0) << 16 | u64::from(self.unit.0)
    }

    fn decode(word: u64) -> Option<Self> {
        let part = |shift: u32| u16::try_from((word >> shift) & 0xffff).unwrap_or(0);
        let devices = u32::try_from(word >> 32).unwrap_or(0);
        (devices > 0).then(|| Self { unit: UnitId(part(0)), tag: Tag(part(16)), devices })
    }
}

impl Users {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// The units in use now.
    pub(crate) fn iter(&self) -> impl Iterator<Item = User> {
        self.0.iter().filter_map(|word| User::decode(word.load(Ordering::Acquire)))
    }

    pub(crate) fn find(&self, unit: UnitId) -> Option<User> {
        self.iter().find(|user| user.unit == unit)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Sets the entry of `user.unit`; with no devices it is taken out. False if there is no room.
    pub(crate) fn set(&self, user: User) -> bool {
        let of_unit = |word: &&AtomicU64| {
            User::decode(word.load(Ordering::Relaxed)).is_some_and(|old| old.unit == user.unit)
        };
        let free = |word: &&AtomicU64| User::decode(word.load(Ordering::Relaxed)).is_none();
        let Some(word) = self.0.iter().find(of_unit).or_else(|| self.0.iter().find(free)) else {
            return false;
        };
        word.store(user.encode(), Ordering::Release);
        true
    }
}
