//! A machine on which domains come and go.

use pviommu_abi::{DomId, Gfn, OwnershipMode, Subop, TakeOwnership};
use pviommu_hypervisor::{
    Background, Backing, Caller, Context, DefaultMap, DomainIommu, Limits, Outcome, P2mChange,
    Role, Width,
    addr::{GfnRange, Mfn},
    platform::{Access, InitialRun},
};
use pviommu_testbed::{
    cheap::{Buffers, Options, World, device},
    machine::UnitKind,
    measure::{Case, timed},
};
use zerocopy::IntoBytes;

/// Pages of 2 MiB.
const LARGE: u64 = 512;

/// Changes of the P2M in one pass.
const CHANGES: u64 = 64;

/// A machine without domains.
pub(crate) struct Life {
    kind: UnitKind,
    world: World,
    free: usize,
}

/// Makes a call until it is done.
fn finish(mut call: impl FnMut() -> Outcome) {
    loop {
        match call() {
            Outcome::Continue => {}
            outcome => return assert_eq!(outcome, Outcome::Done(0)),
        }
    }
}

fn contexts() -> Vec<Context> {
    (0..2).map(|_| Context::new()).collect()
}

fn new_domain(contexts: &[Context], role: Role) -> DomainIommu<'_> {
    let limits = Limits { default_map_frames: 4096, ..Limits::default() };
    DomainIommu::new(DomId(7), role, contexts, limits)
}

impl Life {
    pub(crate) fn new(kind: UnitKind, map: &[InitialRun]) -> Self {
        let options = Options {
            facts: kind.facts(),
            frames: 4096,
            role: Role::Hardware,
            initial: map.to_vec(),
            ..Options::default()
        };
        let world = World::new(&options);
        world.iommu.unassign(&world.domain, 0, device(1)).unwrap();
        finish(|| world.iommu.teardown(&world.domain, 0));
        let free = world.platform().arena.free();
        Self { kind, world, free }
    }

    fn tear_down(&self, domain: &DomainIommu<'_>) -> f64 {
        let time = timed(|| finish(|| self.world.iommu.teardown(domain, 0)));
        assert_eq!(self.world.platform().arena.free(), self.free, "frames are left");
        time
    }

    /// A domain with scratch in an empty map that the hypervisor maintains is made and goes.
    fn scratch(&self) -> [f64; 2] {
        let contexts = contexts();
        let mut domain = None;
        let create = timed(|| {
            let new = new_domain(&contexts, Role::Guest).with_background(Background::Scratch);
            let new = domain.insert(new);
            finish(|| self.world.iommu.set_default(new, 0, DefaultMap::IdentityGfn));
            self.world.iommu.assign(new, 0, device(1)).unwrap();
        });
        [create, self.tear_down(&domain.unwrap())]
    }

    /// A host map is made.
    fn host_map(&self, domain: &DomainIommu<'_>) -> f64 {
        timed(|| finish(|| self.world.iommu.set_default(domain, 0, DefaultMap::Host)))
    }

    /// Its domain takes it over.
    fn take_over(&self) -> [f64; 2] {
        let contexts = contexts();
        let domain = new_domain(&contexts, Role::Hardware).with_background(Background::Fault);
        let host_map = self.host_map(&domain);
        self.world.iommu.assign(&domain, 0, device(1)).unwrap();
        let take = TakeOwnership { mode: OwnershipMode::CLEAR, ..TakeOwnership::default() };
        let at = Buffers::address(0, 0);
        self.world.platform().buffers.write(at, take.as_bytes()).unwrap();
        let caller = Caller { cpu: 0, width: Width::Bits64 };
        let subop = u64::from(Subop::TAKE_OWNERSHIP.0);
        let take = timed(|| finish(|| self.world.iommu.iommu_op(&domain, caller, subop, at.0)));
        self.tear_down(&domain);
        [host_map, take]
    }

    /// A domain with a host map goes.
    fn end(&self) -> f64 {
        let contexts = contexts();
        let domain = new_domain(&contexts, Role::Hardware);
        self.host_map(&domain);
        self.tear_down(&domain)
    }

    /// Guest frames that get other machine frames, one off from large leaves by `off`.
    fn p2m(&self, off: u64) -> f64 {
        let contexts = contexts();
        let domain = new_domain(&contexts, Role::Guest);
        finish(|| self.world.iommu.set_default(&domain, 0, DefaultMap::IdentityGfn));
        self.world.iommu.assign(&domain, 0, device(1)).unwrap();
        let gfns = GfnRange::of_pages(Gfn(LARGE), LARGE).unwrap();
        let frame = |n: u64| Mfn((n + 16) * LARGE + off);
        let backing = |n| Backing { first: frame(n), access: Access::all(), mmio: false };
        let time = timed(|| {
            for n in 0..CHANGES {
                let old = n.checked_sub(1).map(frame);
                let mut change = P2mChange::new(gfns, old, Some(backing(n)));
                finish(|| self.world.iommu.p2m_changed(&domain, 0, &mut change));
            }
        });
        self.tear_down(&domain);
        time / CHANGES as f64
    }
}

impl Case for Life {
    fn name(&self) -> String {
        match self.kind {
            UnitKind::Vtd => "pviommu-vtd".to_owned(),
            UnitKind::AmdVi => "pviommu-amdv1".to_owned(),
        }
    }

    fn rows(&self) -> Vec<String> {
        let rows = [
            "create-scratch",
            "teardown-scratch",
            "host-map-512g",
            "take-ownership-512g",
            "teardown-512g",
            "p2m-change-2m",
            "p2m-change-2m-small",
        ];
        rows.map(str::to_owned).to_vec()
    }

    fn pass(&mut self) -> Vec<f64> {
        let [create, teardown] = self.scratch();
        let [host_map, take] = self.take_over();
        let end = self.end();
        vec![create, teardown, host_map, take, end, self.p2m(0), self.p2m(1)]
    }
}
