//! Where a domain's contexts are, and what the guest calls them.

use pviommu_abi::ContextId;

use super::DomainIommu;
use crate::{context::Context, platform::UnitId};

/// Which of a domain's contexts: a place in the memory lent, or the spare one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Slot(u16);

impl Slot {
    pub(crate) const FIRST: Self = Self(0);
    /// Beyond all ids a guest can have: there are at most 65535 contexts, the default one included.
    pub(crate) const SPARE: Self = Self(u16::MAX);

    /// A number that tells it from others.
    pub(crate) fn number(self) -> u32 {
        u32::from(self.0)
    }

    /// The slot with this number.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        u16::try_from(number).ok().map(Self)
    }
}

impl DomainIommu<'_> {
    /// The context at `slot`.
    pub(crate) fn at(&self, slot: Slot) -> Option<&Context> {
        if slot == Slot::SPARE { Some(&self.spare) } else { self.contexts.get(usize::from(slot.0)) }
    }

    /// The context number `index` of those lent.
    pub(crate) fn lent(&self, index: usize) -> Option<&Context> {
        self.contexts.get(index)
    }

    /// Where the context is that the guest calls `id`.
    #[inline]
    pub(crate) fn slot_of(&self, id: ContextId) -> Option<Slot> {
        let granted = usize::try_from(self.granted()).unwrap_or(0);
        match id {
            ContextId::DEFAULT => Some(self.default_slot()),
            ContextId(id) if usize::from(id) <= granted => Some(Slot(id)),
            _ => None,
        }
    }

    /// What the guest calls the context at `slot`.
    pub(crate) fn id_of(&self, slot: Slot) -> ContextId {
        if slot == Slot::SPARE { ContextId::DEFAULT } else { ContextId(slot.0) }
    }

    /// The context that the guest calls `id`.
    #[inline]
    pub(crate) fn context(&self, id: ContextId) -> Option<&Context> {
        self.slot_of(id).and_then(|slot| self.at(slot))
    }

    /// Where the default context is.
    pub(crate) fn default_slot(&self) -> Slot {
        if self.default.is_spare_active() { Slot::SPARE } else { Slot::FIRST }
    }

    /// Where the default context was, or is going to be.
    pub(crate) fn other_default_slot(&self) -> Slot {
        if self.default.is_spare_active() { Slot::FIRST } else { Slot::SPARE }
    }

    /// Every context there can be.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &Context)> {
        let granted = usize::try_from(self.granted()).unwrap_or(0);
        let lent = (0..Slot::SPARE.0).map(Slot).zip(self.contexts);
        lent.take(granted.saturating_add(1)).chain([(Slot::SPARE, &self.spare)])
    }

    /// Every context the guest may have beside the default one.
    pub(crate) fn granted_contexts(&self) -> impl Iterator<Item = &Context> {
        let granted = usize::try_from(self.granted()).unwrap_or(0);
        self.contexts.iter().skip(1).take(granted)
    }

    /// How many tags of `unit` the contexts besides the default one have.
    pub(crate) fn tags_of(&self, unit: UnitId) -> u32 {
        let with_tag = |context: &&Context| context.users.find(unit).is_some();
        self.granted_contexts().filter(with_tag).fold(0, |sum: u32, _| sum.saturating_add(1))
    }

    /// True while the guest may edit the context it calls `id`.
    #[inline]
    pub(crate) fn may_edit(&self, id: ContextId) -> bool {
        id != ContextId::DEFAULT || self.default.is_owned()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use pviommu_abi::DomId;

    use super::*;
    use crate::domain::{Limits, Role};

    /// A number beyond those that were granted means no context, and never the spare one.
    #[test]
    fn a_guest_names_the_contexts_it_was_granted_and_no_other() {
        let contexts: [Context; 4] = core::array::from_fn(|_| Context::new());
        let domain = DomainIommu::new(DomId(1), Role::Guest, &contexts, Limits::default());
        domain.grant(2, 0);
        let named = |id: u16| domain.slot_of(ContextId(id));
        assert_eq!(named(0), Some(Slot::FIRST));
        assert_eq!([1, 2].map(named), [Some(Slot(1)), Some(Slot(2))]);
        assert_eq!([3, 4, u16::MAX - 1, u16::MAX].map(named), [None; 4]);
        assert_eq!([0, 1, 7].map(|slot| Slot(slot).number()), [0, 1, 7]);
    }
}
