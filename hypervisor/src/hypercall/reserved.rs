//! Telling reserved ranges: those of a context, or of a device.

use pviommu_abi::{
    AccessFlags, ContextId, DomId, Errno, PciDevice, ReservedKind as WireKind, ReservedRange,
};
use zerocopy::IntoBytes;

use super::{
    command::{Effect, ReservedOf, ReservedRequest},
    extensible::offset,
};
use crate::{
    context::{Context, End, Session},
    machine::Device,
    platform::{Access, Platform},
    reserved::{MAX_RESERVED, Reserved, ReservedKind},
};

/// Ranges of one context or device.
type Ranges = heapless::Vec<Reserved, MAX_RESERVED>;

/// What ranges are told in order of, and how they are told apart.
type Key = (u64, u64, u32);

impl<P: Platform> Session<'_, P> {
    /// Writes the ranges that were asked for into the caller's memory, as many as fit.
    #[inline(never)]
    pub(super) fn reserved(&self, request: &ReservedRequest, caller: DomId) -> Effect {
        let ranges = match request.of {
            ReservedOf::Context(id) => {
                let context = self.domain.context(id);
                let live = context.filter(|context| context.is_live());
                match live {
                    Some(context) => Ok(context.reserved_now()),
                    // No device of the default context can do DMA.
                    None if id == ContextId::DEFAULT => Ok(Ranges::new()),
                    None => Err(Errno::ENOENT),
                }
            }
            ReservedOf::Device(name) => self.own_device(name).map(|device| ranges_of(device)),
        };
        match ranges {
            Ok(ranges) => self.tell(&ranges, request, caller),
            Err(errno) => Effect::Ended(End::Failed(errno)),
        }
    }

    /// A device of the domain behind an IOMMU, as the guest names it.
    pub(super) fn own_device(&self, name: PciDevice) -> Result<&Device<'_>, Errno> {
        let function = self.platform().resolve(self.domain.id(), name);
        let device = function.and_then(|function| self.iommu.device(function));
        let owner = |device: &&Device<'_>| device.state.lock().owner == Some(self.domain.id());
        device.filter(owner).ok_or(Errno::ENODEV)
    }

    fn tell(&self, own: &Ranges, request: &ReservedRequest, caller: DomId) -> Effect {
        let all = || own.iter().chain(self.iommu.reserved().into_iter().flatten()).copied();
        let mut count = 0u32;
        let mut last: Option<Key> = None;
        // A few dozen at most: searched again for each.
        while let Some(next) = all().filter(|it| last < Some(key(it))).min_by_key(key) {
            last = Some(key(&next));
            if count < request.room
                && let Err(errno) = self.tell_one(&next, request, count, caller)
            {
                return Effect::Ended(End::Failed(errno));
            }
            count = count.saturating_add(1);
        }
        let fits = count <= request.room;
        let end = if fits { End::Finished } else { End::Failed(Errno::ENOBUFS) };
        Effect::Reserved { count, end }
    }

    fn tell_one(
        &self,
        reserved: &Reserved,
        request: &ReservedRequest,
        number: u32,
        caller: DomId,
    ) -> Result<(), Errno> {
        let mut access = AccessFlags::empty();
        access.set(AccessFlags::READ, reserved.access.contains(Access::READ));
        access.set(AccessFlags::WRITE, reserved.access.contains(Access::WRITE));
        let entry = ReservedRange {
            first: reserved.range.first(),
            last: reserved.range.last(),
            kind: wire_kind(reserved.kind),
            access,
            reserved: 0,
        };
        let number = usize::try_from(number).map_err(|_| Errno::EFAULT)?;
        let skipped = number.checked_mul(size_of::<ReservedRange>()).ok_or(Errno::EFAULT)?;
        let to = offset(request.entries, skipped)?;
        self.platform().copy_out(caller, to, entry.as_bytes()).map_err(|_| Errno::EFAULT)
    }
}

fn ranges_of(device: &Device<'_>) -> Ranges {
    let mut ranges = Ranges::new();
    for reserved in device.reserved() {
        // No context takes in a device with more.
        let _ = ranges.push(*reserved);
    }
    ranges
}

fn key(reserved: &Reserved) -> Key {
    (reserved.range.first().0, reserved.range.last().0, wire_kind(reserved.kind).0)
}

fn wire_kind(kind: ReservedKind) -> WireKind {
    match kind {
        ReservedKind::Direct => WireKind::DIRECT,
        ReservedKind::DirectRelaxable => WireKind::DIRECT_RELAXABLE,
        ReservedKind::Reserved => WireKind::RESERVED,
        ReservedKind::Msi => WireKind::MSI,
        ReservedKind::SoftwareMsi => WireKind::SW_MSI,
        ReservedKind::BridgeWindow => WireKind::BRIDGE_WINDOW,
    }
}

impl Context {
    /// The ranges reserved now, also those that are only told.
    fn reserved_now(&self) -> Ranges {
        self.snapshot(|_| {
            let mut ranges = Ranges::new();
            for reserved in self.reserved.all() {
                let _ = ranges.push(reserved);
            }
            ranges
        })
    }
}
