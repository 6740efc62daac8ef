//! What the service knows about one function that can do DMA.

use pviommu_abi::{DomId, PciDevice};

use super::{DeviceState, FaultLog, Home, Risks};
use crate::{
    addr::BfnRange,
    platform::{DeviceFacts, SourceId, UnitId},
    reserved::{Reserved, ReservedKind},
    sync::{AtomicU32, AtomicU64, Mutex, Ordering},
};

/// What the IOMMU knows as one device, in memory lent by the embedder: a PCI function, or several whose
/// requests it cannot tell apart.
#[derive(Debug)]
pub struct Device<'a> {
    function: PciDevice,
    unit: UnitId,
    reserved: &'a [Reserved],
    functions: &'a [PciDevice],
    aliases: &'a [SourceId],
    facts: DeviceFacts,
    /// One more than the number of its group, 0 if it is alone; and [`ABSENT`] and [`BESIDE_UNTRANSLATED`].
    group: AtomicU64,
    risks: AtomicU32,
    pub(crate) faults: FaultLog,
    pub(crate) state: Mutex<DeviceState>,
}

impl<'a> Device<'a> {
    /// The function behind `unit`, owned by nobody. `reserved` is what its DMA needs or must not
    /// touch.
    #[must_use]
    pub fn new(function: PciDevice, unit: UnitId, reserved: &'a [Reserved]) -> Self {
        Self {
            function,
            unit,
            reserved,
            functions: &[],
            aliases: &[],
            facts: DeviceFacts::empty(),
            group: AtomicU64::new(0),
            risks: AtomicU32::new(0),
            faults: FaultLog::new(),
            state: Mutex::new(DeviceState::new()),
        }
    }

    /// The same, for which the embedder vouches.
    #[must_use]
    pub fn with_facts(self, facts: DeviceFacts) -> Self {
        Self { facts, ..self }
    }

    /// What the embedder vouches for.
    #[must_use]
    pub fn facts(&self) -> DeviceFacts {
        self.facts
    }

    /// The same, which is these functions, too: their requests and its own may carry the same ids, as
    /// behind a conventional bridge or by a quirk. They are one device: any of them names it, and all are
    /// given and moved together.
    #[must_use]
    pub fn with_functions(self, functions: &'a [PciDevice]) -> Self {
        Self { functions, ..self }
    }

    /// The same, whose requests may carry these ids, too: phantom functions, and what bridges put in
    /// their place. No function is called so that is listed.
    #[must_use]
    pub fn with_aliases(self, aliases: &'a [SourceId]) -> Self {
        Self { aliases, ..self }
    }

    /// The same, one of those with this number: they can reach each other without the IOMMU, so that one
    /// domain gets all of them or none. Without a number it is alone.
    #[must_use]
    pub fn with_group(self, group: u32) -> Self {
        self.set_group(Some(group));
        self
    }

    /// The number of its group; `None` if it is alone, or not there.
    #[must_use]
    pub fn group(&self) -> Option<u32> {
        self.listed_group().filter(|_| !self.is_absent())
    }

    /// The same, in a group with a function that is behind no unit: that does DMA everywhere, and whoever has
    /// the device may reach its registers.
    #[must_use]
    pub fn beside_untranslated(self) -> Self {
        self.set_beside_untranslated(true);
        self
    }

    /// True if a function of its group is behind no unit.
    #[must_use]
    pub fn is_beside_untranslated(&self) -> bool {
        self.group.load(Ordering::Acquire) & BESIDE_UNTRANSLATED != 0
    }

    /// Under the lock of groups.
    pub(super) fn set_beside_untranslated(&self, beside: bool) {
        self.set_flag(BESIDE_UNTRANSLATED, beside);
    }

    fn set_flag(&self, flag: u64, on: bool) {
        let rest = self.group.load(Ordering::Acquire) & !flag;
        self.group.store(rest | if on { flag } else { 0 }, Ordering::Release);
    }

    /// The number of the group that it is of while it is there.
    pub(super) fn listed_group(&self) -> Option<u32> {
        let word = self.group.load(Ordering::Acquire) & !FLAGS;
        word.checked_sub(1).and_then(|group| u32::try_from(group).ok())
    }

    /// Under the lock of groups.
    pub(super) fn set_group(&self, group: Option<u32>) {
        let flags = self.group.load(Ordering::Acquire) & FLAGS;
        self.group.store(group_word(group) | flags, Ordering::Release);
    }

    /// The same, listed and not there yet: see [`Iommu::plug`](super::Iommu::plug).
    #[must_use]
    pub fn unplugged(self) -> Self {
        self.set_absent(true);
        self
    }

    /// True if it is listed and not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.group.load(Ordering::Acquire) & ABSENT != 0
    }

    /// Under the lock of groups.
    pub(super) fn set_absent(&self, absent: bool) {
        self.set_flag(ABSENT, absent);
    }

    /// The same, with risks that are accepted from the start. The log is told when that matters.
    #[must_use]
    pub fn with_risks(self, risks: Risks) -> Self {
        Self { risks: AtomicU32::new(risks.bits()), ..self }
    }

    /// The risks that are accepted with it.
    #[must_use]
    pub fn risks(&self) -> Risks {
        Risks::from_bits_truncate(self.risks.load(Ordering::Acquire))
    }

    /// Under the lock of groups.
    pub(super) fn set_risks(&self, risks: Risks) {
        self.risks.store(risks.bits(), Ordering::Release);
    }

    /// Gives it to `owner`, or to nobody. `state` is its own, locked.
    pub(super) fn give_to(&self, state: &mut DeviceState, owner: Option<DomId>) {
        state.owner = owner;
        state.tenure = state.tenure.wrapping_add(1);
        self.faults.changed_hands();
        self.faults.moved(state.tenure, state.home);
    }

    /// Notes that it is at `home` now. `state` is its own, locked.
    pub(super) fn settle(&self, state: &mut DeviceState, home: Home) {
        state.home = home;
        self.faults.moved(state.tenure, home);
    }

    /// The function, the first of several: the device is told by it.
    #[must_use]
    pub fn function(&self) -> PciDevice {
        self.function
    }

    /// The unit its DMA goes through.
    #[must_use]
    pub fn unit(&self) -> UnitId {
        self.unit
    }

    /// Its functions, the first one first.
    pub fn functions(&self) -> impl Iterator<Item = PciDevice> + Clone + use<'a> {
        core::iter::once(self.function).chain(self.functions.iter().copied())
    }

    /// The ids that its requests may carry besides those of its functions.
    #[must_use]
    pub fn aliases(&self) -> &'a [SourceId] {
        self.aliases
    }

    /// The ids its requests carry, those of its functions first. All of them are always in one context.
    pub fn sources(&self) -> impl Iterator<Item = SourceId> + Clone + use<'a> {
        self.functions().map(SourceId).chain(self.aliases.iter().copied())
    }

    pub(super) fn count_sources(&self) -> usize {
        self.functions.len().saturating_add(self.aliases.len()).saturating_add(1)
    }

    /// Its own reserved ranges.
    #[must_use]
    pub fn reserved(&self) -> &'a [Reserved] {
        self.reserved
    }

    /// The bus frames that no guest may map where it is.
    pub(crate) fn enforced(&self) -> impl Iterator<Item = BfnRange> + use<'a> {
        self.reserved.iter().filter(|reserved| reserved.enforced()).map(|reserved| reserved.range)
    }

    /// What has to be mapped for it, one to one, wherever it is.
    pub fn direct(&self) -> impl Iterator<Item = &'a Reserved> + use<'a> {
        self.reserved.iter().filter(|reserved| reserved.kind == ReservedKind::Direct)
    }
}

/// It is not there, and of no group.
const ABSENT: u64 = 1 << 63;
/// In the word of a group: a function of it is behind no unit.
const BESIDE_UNTRANSLATED: u64 = 1 << 62;
const FLAGS: u64 = ABSENT | BESIDE_UNTRANSLATED;

/// How the number of a group is kept.
fn group_word(group: Option<u32>) -> u64 {
    group.map_or(0, |group| u64::from(group).saturating_add(1))
}
