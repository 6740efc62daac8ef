//! The commands: validate, then apply.

use pviommu_abi::{ContextId, DomId, Errno};

use super::command::{BatchRequest, Command, Effect};
use crate::{
    addr::BfnRange,
    context::{Context, End, Facts, Progress, Session},
    format::with_format,
    machine::{CallRoom, EditRoom},
    platform::Platform,
    policy::{self, Area, MapRequest, UnmapRequest},
    table::Maker,
};

impl<P: Platform> Session<'_, P> {
    /// Carries a command out. `caller` is in whose memory its arrays are.
    ///
    /// What it calls is not inlined: the stack of all commands together would be taken for each.
    pub(crate) fn run(&self, command: Command, caller: DomId, room: &mut CallRoom) -> Effect {
        let edit = &mut room.edit;
        match command {
            Command::Noop => Effect::Ended(End::Finished),
            Command::QueryCapabilities => Effect::Capabilities(self.capabilities()),
            Command::Init { contexts, arena_order } => self.init(contexts, arena_order).into(),
            Command::AllocContext { background, aperture } => {
                let background = background.unwrap_or(self.domain.background());
                match self.open_context(background, aperture, edit) {
                    Ok(context) => Effect::Opened(context),
                    Err(errno) => Effect::Ended(End::Failed(errno)),
                }
            }
            Command::FreeContext { context, devices } => {
                Effect::Ended(self.free_context(context, devices, edit))
            }
            Command::Reattach { context, device } => {
                Effect::Ended(self.attach(context, device, edit))
            }
            Command::Map(request) => Effect::Pages(self.map_pages(&request, edit)),
            Command::Unmap(request) => Effect::Pages(self.unmap_pages(&request, edit)),
            Command::Flush { context, bfns } => {
                Effect::Ended(self.flush_pages(context, bfns, edit))
            }
            Command::Lookup { context, bfn } => {
                self.find(context, bfn).unwrap_or_else(Effect::Ended)
            }
            Command::QueryLimits { context } => {
                self.limits(context).unwrap_or_else(|errno| Effect::Ended(End::Failed(errno)))
            }
            Command::QueryReserved(request) => self.reserved(&request, caller),
            Command::QueryDevice(device) => self.describe(device),
            Command::ReadFaults(request) => self.read_faults(&request, caller, &mut room.faults),
            Command::Switch(wish) => Effect::Ended(self.switch_default(wish, edit)),
            Command::Batch(request) => {
                let (done, end) = self.run_elements(&request, caller, room);
                Effect::Elements { done, end }
            }
        }
    }

    #[inline(never)]
    fn run_elements(
        &self,
        request: &BatchRequest,
        caller: DomId,
        room: &mut CallRoom,
    ) -> (u32, End) {
        with_format!(self.iommu.format(), F => self.run_batch::<F>(caller, request, room))
    }

    /// True if the call is to be made again later, because it may have units invalidate and its domain has
    /// used up what it may cause of that.
    pub(super) fn has_to_wait(&self, command: &Command) -> bool {
        let waits = command.may_flush() && self.domain.has_flushed_enough();
        if waits {
            self.domain.note_put_off();
        }
        waits
    }

    #[inline(never)]
    fn map_pages(&self, request: &MapRequest, room: &mut EditRoom) -> Progress {
        self.validated(
            request.context,
            |area| policy::may_map(area, request),
            |context, plan| {
                with_format!(self.iommu.format(), F => {
                    self.edit::<F>(context, room, |editor| editor.map(&plan, Maker::Guest))
                })
            },
        )
    }

    #[inline(never)]
    fn unmap_pages(&self, request: &UnmapRequest, room: &mut EditRoom) -> Progress {
        self.validated(
            request.context,
            |area| policy::may_unmap(area, request),
            |context, plan| {
                with_format!(self.iommu.format(), F => {
                    self.edit::<F>(context, room, |editor| editor.unmap(&plan))
                })
            },
        )
    }

    #[inline(never)]
    fn flush_pages(&self, id: ContextId, bfns: Option<BfnRange>, room: &mut EditRoom) -> End {
        let asked = |area: &Area<'_>| policy::may_flush(area, bfns);
        let flushed = self.validated(id, asked, |context, bfns| {
            with_format!(self.iommu.format(), F => {
                self.edit::<F>(context, room, |editor| editor.flush_range(bfns))
            })
        });
        flushed.end
    }

    /// Validates an edit against a snapshot of its context, then applies what was planned.
    fn validated<Plan>(
        &self,
        id: ContextId,
        validate: impl FnOnce(&Area<'_>) -> Result<Option<Plan>, Errno>,
        apply: impl FnOnce(&Context, Plan) -> Progress,
    ) -> Progress {
        let context = self.domain.context(id);
        match (self.planned(id, context, validate), context) {
            (Err(errno), _) => Progress::nothing(End::Failed(errno)),
            (Ok(None), _) => Progress::nothing(End::Finished),
            (Ok(Some(plan)), Some(context)) if !self.is_frozen(context) => apply(context, plan),
            (Ok(Some(_)), _) => Progress::nothing(End::Failed(Errno::EIO)),
        }
    }

    /// Not inlined: the snapshot is gone before the plan is carried out.
    #[inline(never)]
    fn planned<Plan>(
        &self,
        id: ContextId,
        context: Option<&Context>,
        validate: impl FnOnce(&Area<'_>) -> Result<Option<Plan>, Errno>,
    ) -> Result<Option<Plan>, Errno> {
        let facts = context.map(Context::facts);
        // Whose the context is, is asked after the snapshot: when it changes hands, its epoch does.
        validate(&self.area(id, facts.as_ref()))
    }

    /// What a range is checked against.
    pub(super) fn area<'f>(&'f self, id: ContextId, context: Option<&'f Facts>) -> Area<'f> {
        let guests = self.domain.may_edit(id);
        Area { context, guests, reserved: self.iommu.reserved() }
    }
}
