//! INV-23: frames that no device may reach are refused, although the embedder would give them.

use pviommu_abi::{ContextId, Errno, Gfn, Subop};
use pviommu_hypervisor::{Backing, DefaultMap, Outcome, P2mChange, addr::Mfn, platform::Access};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Board, Config, Reach, run},
};

use super::kit::{gfns, three};
use crate::{
    kinds,
    kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, with},
    query::kit::question,
};

/// Where the frames would go.
const AT: u64 = 0x2000;

/// Says that `pages` frames from `first` on are behind guest frames from [`AT`] on.
fn give(vm: &Vm<'_>, at: u64, first: Mfn, pages: u64, mmio: bool) -> i64 {
    let new = Backing { first, access: Access::all(), mmio };
    let mut change = P2mChange::new(gfns(at, pages), None, Some(new));
    vm.bed.board().under_p2m_lock(GUEST, || {
        loop {
            let state = vm.bed.domain(GUEST);
            if let Outcome::Done(status) =
                vm.bed.iommu().p2m_changed(state, vm.bed.own_cpu(), &mut change)
            {
                return status;
            }
        }
    })
}

fn is_refused(vm: &Vm<'_>, frame: Mfn) {
    for mmio in [false, true] {
        assert_eq!(give(vm, AT, frame, 1, mmio), Errno::EPERM.to_ret(), "{frame:?}");
        assert!(vm.hits_background(DEVICE, AT), "{frame:?}");
    }
}

#[test]
fn page_tables_scratch_pages_and_what_is_no_memory_are_never_mapped() {
    with(&three().with_default_map(DefaultMap::IdentityGfn), |vm| {
        let (root, _) = vm.bed.board().device_entries(DEVICE)[0].table().unwrap();
        is_refused(vm, root.frame);
        // One that is a table no more, or not yet.
        let tables = vm.bed.board().memory().tables.frames().unwrap();
        is_refused(vm, tables.first());
        is_refused(vm, Mfn(0xfee00));
        is_refused(vm, Mfn(0xfeeff));
        let beyond = 1 << (kinds::unit().facts().host_address_bits - 12);
        for frame in [beyond, beyond + 1, 1 << 40, 1 << 51] {
            is_refused(vm, Mfn(frame));
        }
        if kinds::has_hypertransport() {
            is_refused(vm, Mfn(0xfd0_0000));
            is_refused(vm, Mfn(0xfff_ffff));
        }
        if over_scratch() {
            let hit = vm.bed.dma_probe(DEVICE, AT << 12, Direction::Write).unwrap();
            assert_eq!(hit.reach, Reach::Scratch);
            is_refused(vm, hit.frame);
        }
        assert_eq!(vm.bed.violations(), []);
        crate::foreign::kit::end(vm);
    });
}

/// The pages before are mapped, and those after: only what must not be is left out.
#[test]
fn only_the_frames_of_a_range_that_must_not_be_mapped_are_left_out() {
    let mut config = three().with_default_map(DefaultMap::IdentityGfn);
    config.domains[0].mmio = vec![gfns(0xf_0000, 16)];
    with(&config, |vm| {
        // Around the interrupt range, as registers: nobody's memory, so nothing is reached there.
        assert_eq!(give(vm, AT, Mfn(0xfedf8), 0x118, true), Errno::EPERM.to_ret());
        for i in [0, 7, 0x108, 0x117] {
            let mut lookup = question(ContextId::DEFAULT, AT + i);
            assert_eq!(vm.op(Subop::LOOKUP, &mut lookup), 0, "{i:#x} is mapped");
        }
        for i in [8, 0x80, 0x107] {
            assert!(vm.hits_background(DEVICE, AT + i), "{i:#x}");
        }
        let mut all = P2mChange::new(gfns(AT, 0x118), Some(Mfn(0xfedf8)), None);
        while vm.bed.iommu().p2m_changed(vm.bed.domain(GUEST), vm.bed.own_cpu(), &mut all)
            == Outcome::Continue
        {}
        assert!((0..0x118).all(|i| vm.hits_background(DEVICE, AT + i)));
        // A guest that maps by itself gets none of it, either.
        let context = vm.context();
        assert_eq!(vm.map(context, 10, AT, 1, RW).1, 0);
    });
}

/// Large leaves are made up to the first of them, and of nothing behind it.
#[test]
fn large_leaves_end_before_the_first_frame_that_is_out_of_reach() {
    with(&three().with_default_map(DefaultMap::IdentityGfn), |vm| {
        let put_aside = || vm.bed.counters().table_frames_reserved;
        let before = put_aside();
        let beyond = 1 << (kinds::unit().facts().host_address_bits - 12);
        assert_eq!(give(vm, AT, Mfn(beyond - 1024), 2048, true), Errno::EPERM.to_ret());
        for i in [0, 511, 512, 1023, 1024, 1025, 1536, 2047] {
            let found = vm.op(Subop::LOOKUP, &mut question(ContextId::DEFAULT, AT + i));
            assert_eq!(found, if i < 1024 { 0 } else { err(Errno::ENOENT) }, "{i}");
        }
        assert_eq!(put_aside(), before + 2, "for a split of each leaf");
    });
}

const GIB: u64 = 1 << 18;
const MIB2: u64 = 512;

/// The guest frame from which on nothing can be reached for 2 MiB.
const LIMIT: u64 = 16 * GIB;

/// A guest whose memory before [`LIMIT`] and for 2 MiB behind it is one piece, which `gib` GiB of are before; the
/// 2 MiB after that are another one, at smaller machine frames.
fn around_the_limit(gib: u64) -> Config {
    let mut config = three();
    let blocks = [gfns(LIMIT + MIB2, MIB2), gfns(LIMIT - gib * GIB, gib * GIB + MIB2)];
    config.domains[0].contiguous = blocks.to_vec();
    config.domains[0].ram.extend(blocks);
    kinds::of_this_kind(&config)
}

/// The first 2 MiB of three can be reached, and the last, which are not put in the place of those between.
#[test]
fn what_a_guest_maps_ends_there_although_what_follows_could_be_reached() {
    let frame = |config: &Config, gfn| Board::new(config).machine_frame(GUEST, Gfn(gfn)).unwrap().0;
    let first = frame(&around_the_limit(1), LIMIT - GIB);
    let limit = (first + 1).next_power_of_two();
    let mut config = around_the_limit((limit - first) / GIB);
    assert_eq!(frame(&config, LIMIT), limit);
    for unit in &mut config.units {
        unit.host_address_bits = u8::try_from(limit.ilog2()).unwrap() + 12;
    }
    run(&config, |bed| {
        let vm = &Vm::new(bed, GUEST, 0);
        let context = vm.attached_context();
        let refused = vm.map(context, 0x8000, LIMIT - MIB2, 3 * MIB2 as u32, RW);
        assert_eq!(refused, (err(Errno::EPERM), MIB2 as u32));
        assert!([0, 100, MIB2 - 1].iter().all(|i| vm.writes(DEVICE, 0x8000 + i)));
        assert!(
            [MIB2, 2 * MIB2 - 1, 2 * MIB2].iter().all(|i| vm.hits_background(DEVICE, 0x8000 + i))
        );
        assert_eq!(vm.map(context, 0x9000, LIMIT + MIB2, MIB2 as u32, RW), (0, MIB2 as u32));
        assert_eq!(vm.bed.counters().references_live, 2 * MIB2);
        crate::foreign::kit::end(vm);
    });
}
