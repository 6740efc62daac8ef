//! What the API says of a mapping, compared with what the witness saw, and tried by the device.

use pviommu_hypervisor::platform::Access;

use super::{Mapped, Session};
use crate::replay::checks::Stretch;
use crate::replay::plan;
use crate::replay::shadow::Shadow;
use crate::replay::spans::Span;

/// Bytes of a page.
const PAGE: u64 = 4096;

impl Session<'_, '_, '_, '_> {
    /// A mapping that was just handed out: it is where the device reaches, and nowhere else, and all
    /// its bytes are there.
    pub(super) fn try_new(&self, mapped: &Mapped<'_, '_>) {
        let Mapped { device, name, access, stretches, .. } = mapped;
        let mut witness = self.witness();
        let first = stretches.first().map(|stretch| stretch.bus);
        if first != Some(mapped.held.address()) {
            witness.mismatch(|| format!("{device} is told two addresses for its first byte"));
        }
        let own = plan::enforced_spans(self.plan.regions(*device));
        if own.touches(name.bus) || self.plan.machine_reserved.touches(name.bus) {
            witness.mismatch(|| format!("{device} is given reserved bus frames {:x?}", name.bus));
        }
        let told = self.highest.get(&device.sbdf()).copied().unwrap_or(0);
        if name.bus.last >> 20 > 0 && told <= u64::from(u32::MAX) {
            witness
                .mismatch(|| format!("{device} is given {:x?}, which it cannot reach", name.bus));
        }
        let Some(space) = witness.spaces.get(name.context) else { return };
        let is_there = stretches.iter().all(|stretch| is_mapped(&space.shadow, stretch, *access));
        let is_member = space.members().contains(device);
        if !is_there {
            witness.mismatch(|| format!("{device} is told of {:x?}, mapped otherwise", name.bus));
            return;
        }
        if is_member {
            let probe = witness.probe(*device);
            let witness = &mut *witness;
            for stretch in stretches {
                probe.buffer(stretch, *access, &mut witness.chance, &mut witness.sum);
            }
        }
    }

    /// A mapping that is about to be given back: it is as it was.
    pub(super) fn try_old(&self, mapped: &Mapped<'_, '_>) {
        let Mapped { device, name, access, stretches, .. } = mapped;
        let mut witness = self.witness();
        let is_member =
            witness.spaces.get(name.context).is_some_and(|space| space.members().contains(device));
        if is_member && !stretches.is_empty() {
            let probe = witness.probe(*device);
            let witness = &mut *witness;
            let chosen = witness.chance.below(stretches.len() as u64) as usize;
            for stretch in stretches.iter().skip(chosen).take(1) {
                probe.some_of_buffer(stretch, *access, &mut witness.chance, &mut witness.sum);
            }
        }
    }
}

/// True if all pages of a stretch are mapped to its memory, with just this access.
fn is_mapped(mapped: &Shadow, stretch: &Stretch, access: Access) -> bool {
    let Stretch { bus, memory, length } = *stretch;
    let span = Span::of_bytes(bus, bus + (length - 1));
    let parts = mapped.within(span);
    let is_right =
        |bfn: u64, gfn: u64| gfn.wrapping_sub(bfn) == (memory / PAGE).wrapping_sub(bus / PAGE);
    bus % PAGE == memory % PAGE
        && parts.iter().map(|part| part.pages).sum::<u64>() == span.pages()
        && parts.iter().all(|part| part.access == access && is_right(part.bfn, part.gfn))
}
