//! Frames that leave their owner while something holds them, and those that other domains map.

use pviommu_abi::DomId;
use pviommu_hypervisor::addr::Mfn;

use super::frames::{FrameKind, Frames, Refused};

/// P2Ms that one frame may be in besides that of its owner.
const MOST_HOLDS: u16 = 1 << 8;

impl Frames {
    /// Takes a frame from `owner`: it is freed now, or when the last that holds it lets go. True if
    /// it is free.
    ///
    /// # Errors
    /// [`Refused`] if it is not RAM of that domain.
    pub fn retire(&self, frame: Mfn, owner: DomId) -> Result<bool, Refused> {
        let cell = self.cell(frame).ok_or(Refused)?;
        let freed = cell.update(|state| {
            let mut state = state.or_first_owner(owner);
            if state.owner != owner || state.kind == FrameKind::Free || state.leaving {
                return Err(Refused);
            }
            state.leaving = true;
            let freed = state.settle();
            Ok((state, freed))
        })?;
        if freed {
            Self::poison(cell);
            self.late.given_up(frame, || self.reach(frame));
        }
        Ok(freed)
    }

    /// Notes that one more P2M maps a frame of `owner`.
    ///
    /// # Errors
    /// [`Refused`] if it is not ordinary RAM of that domain, or too many do.
    pub(crate) fn hold(&self, frame: Mfn, owner: DomId) -> Result<(), Refused> {
        self.cell(frame).ok_or(Refused)?.update(|state| {
            let mut state = state.or_first_owner(owner);
            let right = state.owner == owner && state.kind == FrameKind::Ram && !state.leaving;
            if !right || state.holds >= MOST_HOLDS {
                return Err(Refused);
            }
            state.holds += 1;
            Ok((state, ()))
        })
    }

    /// Notes that one P2M less maps it.
    ///
    /// # Errors
    /// [`Refused`] if none did.
    pub(crate) fn unhold(&self, frame: Mfn) -> Result<(), Refused> {
        let cell = self.cell(frame).ok_or(Refused)?;
        let freed = cell.update(|mut state| {
            state.holds = state.holds.checked_sub(1).ok_or(Refused)?;
            let freed = state.settle();
            Ok((state, freed))
        })?;
        if freed {
            Self::poison(cell);
        }
        Ok(())
    }

    /// Makes a frame that has not been used yet memory of `owner`, who has had it all the time: what
    /// leaves its P2M is still its own.
    pub(crate) fn claim(&self, frame: Mfn, owner: DomId) {
        if let Some(cell) = self.cell(frame) {
            let claimed: Result<(), Refused> =
                cell.update(|state| Ok((state.or_first_owner(owner), ())));
            claimed.unwrap_or_default();
        }
    }
}
