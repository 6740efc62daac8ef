//! The units that have a device in a context, with the tag and the number of devices on each.

use crate::{
    platform::{Tag, UnitId},
    sync::{AtomicU32, AtomicU64, Ordering},
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
pub(crate) struct Users {
    words: [AtomicU64; MAX_UNITS],
    /// Words that were ever in use, and so at the front.
    used: AtomicU32,
}

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
        Self { words: core::array::from_fn(|_| AtomicU64::new(0)), used: AtomicU32::new(0) }
    }

    /// The units in use now.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = User> {
        let used = usize::try_from(self.used.load(Ordering::Acquire)).unwrap_or(MAX_UNITS);
        let words = self.words.get(..used).unwrap_or(&self.words);
        words.iter().filter_map(|word| User::decode(word.load(Ordering::Acquire)))
    }

    pub(crate) fn find(&self, unit: UnitId) -> Option<User> {
        self.iter().find(|user| user.unit == unit)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Sets the entry of `user.unit`; with no devices it is taken out. False if there is no room.
    pub(crate) fn set(&self, user: User) -> bool {
        let at = |word: &AtomicU64| User::decode(word.load(Ordering::Relaxed));
        let words = || self.words.iter().zip(1..=u32::MAX);
        let of_unit = words().find(|(word, _)| at(word).is_some_and(|old| old.unit == user.unit));
        let Some((word, number)) = of_unit.or_else(|| words().find(|(word, _)| at(word).is_none()))
        else {
            return false;
        };
        word.store(user.encode(), Ordering::Release);
        self.used.fetch_max(number, Ordering::Release);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn user(unit: u16, devices: u32) -> User {
        User { unit: UnitId(unit), tag: Tag(unit), devices }
    }

    /// INV-03: who looks for units to flush sees each, wherever it stands.
    #[test]
    fn every_unit_in_use_is_seen_also_after_others_have_left() {
        let users = Users::new();
        let units = || users.iter().map(|user| user.unit.0).collect::<Vec<_>>();
        let all = 1..=u16::try_from(MAX_UNITS).unwrap();
        for unit in all.clone() {
            assert!(users.set(user(unit, 1)));
            assert_eq!(units(), (1..=unit).collect::<Vec<_>>());
        }
        assert!(!users.set(user(99, 1)));
        for unit in [1, 2] {
            assert!(users.set(user(unit, 0)));
        }
        assert_eq!(units(), all.skip(2).collect::<Vec<_>>());
        assert!(users.set(user(99, 1)));
        assert_eq!(units().first(), Some(&99));
        assert_eq!(users.find(UnitId(8)), Some(user(8, 1)));
    }
}
