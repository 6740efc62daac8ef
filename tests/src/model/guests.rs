//! Contexts that guests open.

use pviommu_abi::{AllocContextExt, Background as Wire, Bfn, Errno, Subop};

use super::run::{CONTEXTS, Run, status};

impl Run<'_> {
    pub(super) fn alloc(&mut self, dom: usize, background: Wire, (first, last): (u64, u64)) {
        let mut argument = AllocContextExt {
            background,
            aperture_first: Bfn(first),
            aperture_last: Bfn(last),
            ..AllocContextExt::default()
        };
        let vm = self.vm(dom);
        let usual = (background, first, last) == (Wire::DEFAULT, 0, 0);
        let answer = if usual && dom == 1 {
            // By v7's own call.
            let opened = vm.alloc();
            argument.ctx_id = opened.map_or(0, |context| u32::from(context.0));
            opened.err().unwrap_or(0)
        } else {
            vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument)
        };
        let domain = &self.world.domains[dom];
        let used = domain.spaces.keys().filter(|id| **id != 0).count();
        let expected = match () {
            () if domain.dead => Err(Errno::ENODEV),
            () if last > self.world.top => Err(Errno::EINVAL),
            () if used == usize::from(CONTEXTS) => Err(Errno::ENOSPC),
            () => Ok(()),
        };
        self.answered(answer, status(expected));
        if expected.is_ok() && answer == 0 {
            let id = u16::try_from(argument.ctx_id).unwrap();
            assert!(id != 0 && id <= CONTEXTS);
            let all = (first, last) == (0, 0);
            let aperture = if all { (0, self.world.top) } else { (first, last) };
            let space = self.world.empty(self.world.background(background), aperture);
            assert!(self.world.domains[dom].spaces.insert(id, space).is_none(), "it is in use");
        }
    }
}
