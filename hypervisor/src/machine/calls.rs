//! What the embedder calls, besides `iommu_op`: the default map, pages that leave, the end of a domain.

use pviommu_abi::{ContextId, Errno};

use super::{CallRoom, Iommu, Outcome, Sweep};
use crate::{
    addr::MfnRange,
    context::{Session, Told, Wish},
    domain::{DefaultMap, DomainIommu, P2mChange},
    format::with_format,
    platform::Platform,
    table::Selection,
};

impl<'a, P: Platform> Iommu<'a, P> {
    /// Gives `domain` its default map and puts the devices that are in its default context there.
    /// For creating a domain; without it the default context is [`DefaultMap::Blocked`].
    ///
    /// [`Outcome::Continue`] asks to be called again with the same map. Errors: `-EPERM`: a host map
    /// for a domain that is not the hardware domain. `-EBUSY`: it has another default map.
    /// `-ENOMEM`: the domain's share of table frames is too small, `-ENOSPC`: or of pages to hold; then
    /// nothing has changed.
    /// `-EIO`: a unit has failed. `-EINVAL`: no such CPU.
    pub fn set_default(&self, domain: &DomainIommu<'_>, cpu: usize, map: DefaultMap) -> Outcome {
        self.as_domain(domain, cpu, |session, room| {
            session.switch_default(Wish::Start(map), &mut room.edit).into()
        })
    }

    /// Carries a change of `domain`'s P2M over to its default context, if the hypervisor maintains
    /// that; no other map is touched. Call it for every change of frame, access or type, and let the
    /// old frames go only after it is done: nothing else holds them.
    ///
    /// Removing never fails for memory: a large leaf that cannot be split goes as a whole. A bus
    /// frame that is reserved, or beyond the aperture, is left alone.
    ///
    /// It may be called under the P2M lock, with a `cpu` that no other call uses meanwhile.
    ///
    /// [`Outcome::Continue`] asks to be called again with the same `change`. Whatever else it says but
    /// `-EIO`, no device reaches the old frames through the map. Errors: `-EADDRNOTAVAIL`: a bus frame
    /// of the new ones is reserved; `-ERANGE`: or beyond the aperture; `-EPERM`: a frame of the new
    /// ones is one that no device may reach; `-ENOMEM`: no table frame for the new ones. These are not
    /// mapped then; all others are. `-EIO`: a unit has failed, and the old frames must never be used
    /// again. `-EINVAL`: no such CPU.
    pub fn p2m_changed(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        change: &mut P2mChange,
    ) -> Outcome {
        self.as_domain(domain, cpu, |session, room| {
            session.p2m_changed(change, &mut room.edit).into()
        })
    }

    /// Takes every mapping of `frames` out of all contexts of `domain`, and gives back what held them
    /// after the flush: the bus frames hit the background from then on. For pages that leave a guest
    /// while it has them mapped, and for a granter that has died.
    ///
    /// Make acquiring the frames impossible first, else the guest may map them again. `sweep` starts
    /// as `Sweep::default()`; [`Outcome::Continue`] asks to be called again with it. Errors: `-EIO`: a
    /// unit has failed; what it may reach is held for ever. `-EINVAL`: no such CPU.
    pub fn retarget(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        frames: &[MfnRange],
        sweep: &mut Sweep,
    ) -> Outcome {
        let selection = Selection { frames, mmio: false };
        self.as_domain(domain, cpu, |session, room| {
            session.retarget(selection, sweep, &mut room.edit).into()
        })
    }

    /// Takes every mapping of the device registers `frames` out of all contexts of `domain`, before
    /// a BAR moves or changes hands. As [`retarget`](Self::retarget), for frames nothing holds.
    pub fn revoke_mmio(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        frames: MfnRange,
        sweep: &mut Sweep,
    ) -> Outcome {
        let selection = Selection { frames: &[frames], mmio: true };
        self.as_domain(domain, cpu, |session, room| {
            session.retarget(selection, sweep, &mut room.edit).into()
        })
    }

    /// Gives back every table of `domain` that has no entries. `sweep` starts as `Sweep::default()`;
    /// [`Outcome::Continue`] asks to be called again with it. Errors: `-EIO`: a unit has failed; what is
    /// behind others is trimmed. `-EINVAL`: no such CPU.
    pub fn trim(&self, domain: &DomainIommu<'_>, cpu: usize, sweep: &mut Sweep) -> Outcome {
        self.as_domain(domain, cpu, |session, room| {
            let room = &mut room.edit.flush;
            session
                .in_every_context(sweep, |context, from| session.trim(context, from, room))
                .into()
        })
    }

    /// Does a piece of taking everything from a dying domain: devices, contexts, pages, tables.
    ///
    /// [`Outcome::Continue`] asks to be called again; when it is done, calling it again does
    /// nothing. No other call for the domain has an effect from the first one on (INV-61).
    pub fn teardown(&self, domain: &DomainIommu<'_>, cpu: usize) -> Outcome {
        self.as_domain(domain, cpu, |session, room| session.tear_down(&mut room.edit).into())
    }

    /// Flushes what `domain` has unmapped to be flushed later, and gives it back: for a timer, so
    /// that a guest that never flushes does not hold pages for long.
    ///
    /// [`Outcome::Continue`] asks to be called again. An error is that of the first context whose
    /// flush did not complete: `-EIO`; `-EINVAL`: no such CPU.
    pub fn flush_deferred(&self, domain: &DomainIommu<'_>, cpu: usize) -> Outcome {
        self.as_domain(domain, cpu, |session, room| {
            session.end_waits(&mut room.edit.acquired).into()
        })
    }

    /// A context of `domain` whose scratch page a device has written, each told once: the sign of a
    /// driver that uses bus frames it has not mapped. What was written is lost.
    pub fn scratch_written(&self, domain: &DomainIommu<'_>, cpu: usize) -> Option<ContextId> {
        let own = self.cpu(cpu)?;
        let _claimed = own.claim();
        let session = self.session(domain, own);
        let written = domain.slots().find(
            |(_, context)| with_format!(self.format(), F => session.scratch_written::<F>(context, Told::Embedder)),
        );
        written.map(|(slot, _)| domain.id_of(slot))
    }

    /// Has a call that may be continued work on `domain`, with the room of `cpu`.
    fn as_domain(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        act: impl FnOnce(&Session<'_, P>, &mut CallRoom) -> Outcome,
    ) -> Outcome {
        let Some(own) = self.cpu(cpu) else { return Outcome::failed(Errno::EINVAL) };
        self.with_room(own, |room| act(&self.session(domain, own), room))
    }
}
