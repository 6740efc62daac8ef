//! The most memory that a guest can make the hypervisor hold.

use pviommu_abi::{AllocContextExt, Background, ContextId, Subop};
use pviommu_testbed::machine::Config;

use super::kit::{G1, M2};
use crate::{
    deferred::unmap_later,
    kit::{DEVICE, GUEST, RW, Vm, with},
};

const FROM_THE_START: u32 = 20;
const ORDER: u8 = 6;

/// Frames that are held now: tables, what is put aside for splits, scratch pages.
fn held(vm: &Vm<'_>) -> u32 {
    let now = vm.bed.counters();
    now.table_frames_live + now.scratch_frames_live + now.table_frames_reserved
}

/// INV-57: what it was given at the start and what it asked for, to the frame, whatever for: tables, what is
/// put aside for splits, scratch pages, records of what waits.
#[test]
fn a_guest_holds_as_many_frames_as_its_limits_allow_and_not_one_more() {
    let mut config = Config::one_guest(2 * G1);
    let limits = &mut config.domains[0].limits;
    (limits.default_map_frames, limits.max_arena_order) = (FROM_THE_START, ORDER);
    config.domains[0].contiguous =
        vec![pviommu_hypervisor::addr::GfnRange::of_pages(pviommu_abi::Gfn(G1), G1).unwrap()];
    let most = FROM_THE_START + (1 << ORDER);
    with(&config, |vm| {
        assert_ne!(vm.init(128, u32::from(ORDER) + 1), 0, "more than the limit is refused");
        assert_eq!(vm.init(128, u32::from(ORDER)), 0);
        let held = || held(vm);
        let mut contexts = Vec::new();
        for background in [Background::SCRATCH, Background::FAULT, Background::DEFAULT] {
            let mut argument = AllocContextExt { background, ..AllocContextExt::default() };
            while contexts.len() % 4 != 3 && vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument) == 0 {
                contexts.push(ContextId(u16::try_from(argument.ctx_id).unwrap()));
                argument = AllocContextExt { background, ..AllocContextExt::default() };
            }
        }
        let context = contexts[0];
        assert_eq!(vm.attach(DEVICE, context), 0);
        for round in 0..200u64 {
            for context in &contexts {
                let at = round * 3 * G1;
                vm.map(*context, at + M2, G1, M2 as u32, RW);
                vm.map(*context, at + 5 * M2, 0, 700, RW);
                unmap_later(vm, *context, at + 5 * M2, 300);
                assert!(held() <= most, "{} frames of {most}", held());
            }
        }
        assert_eq!(held(), most, "and it can have all of them");
        assert_eq!(vm.bed.domain(GUEST).stats().table_frames, most);
        vm.end();
    });
}

/// INV-57: wherever its share ends while a context is made.
#[test]
fn the_scratch_page_of_a_context_is_among_what_a_guest_may_hold() {
    for from_the_start in 0..24 {
        let mut config = Config::one_guest(64);
        let limits = &mut config.domains[0].limits;
        (limits.default_map_frames, limits.max_arena_order) = (from_the_start, 0);
        with(&config, |vm| {
            assert_eq!(vm.init(8, 0), 0);
            loop {
                let background = Background::SCRATCH;
                let mut argument = AllocContextExt { background, ..AllocContextExt::default() };
                let status = vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument);
                assert!(held(vm) <= from_the_start + 1, "{} of {from_the_start} + 1", held(vm));
                if status != 0 {
                    break;
                }
            }
            vm.end();
        });
    }
}
