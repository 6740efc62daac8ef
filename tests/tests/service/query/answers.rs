//! The questions: what a bus frame maps to, and what a domain may use.

use pviommu_abi::{
    AccessFlags, Background as Wire, Bfn, ContextId, Errno, FlushPages, FreeFlags, Gfn, LimitFlags,
    Lookup, LookupFlags, LookupResult, MapFlags, Origin, QueryLimits, QueryLimitsFlags, Subop,
};
use pviommu_hypervisor::{Limits, addr::GfnRange, platform::UnitFeatures};
use pviommu_testbed::machine::Config;
use zerocopy::IntoBytes;

use super::kit::{is_refused, limits, question};
use crate::kit::{DOM0, GUEST, RW, Vm, background_tables, err, over_scratch, with, with_guest};
use crate::{
    batch::kit::{run_one, unmap_later},
    kinds,
};

pub(crate) const TOP: u64 = (1 << 36) - 1;

fn ask(vm: &Vm<'_>, context: ContextId, bfn: u64) -> Result<Lookup, i64> {
    let mut lookup = question(context, bfn);
    // Outputs hold whatever they held.
    (lookup.gfn, lookup.mfn, lookup.order) = (Gfn(77), 77, 77);
    match vm.op(Subop::LOOKUP, &mut lookup) {
        0 => Ok(lookup),
        status => Err(status),
    }
}

#[test]
fn a_lookup_tells_all_there_is_to_know_of_an_entry() {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0xf_0000), 8).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 100, 3, 2, RW), (0, 2));
        assert_eq!(vm.map(context, 110, 3, 1, MapFlags::READABLE), (0, 1));
        assert_eq!(vm.map(context, 120, 3, 1, MapFlags::WRITEABLE), (0, 1));
        assert_eq!(vm.map(context, 130, 0xf_0000, 8, RW), (0, 8));
        assert_eq!(vm.map(context, 0x400, 512, 512, RW), (0, 512));
        let both = AccessFlags::READ | AccessFlags::WRITE;
        let known = LookupResult::GFN;
        for (bfn, gfn, access, order, result) in [
            (101, 4, both, 0, known),
            (110, 3, AccessFlags::READ, 0, known),
            (120, 3, AccessFlags::WRITE, 0, known),
            (131, 0xf_0001, both, 0, known | LookupResult::MMIO),
            (0x400, 512, both, 9, known),
            (0x5ff, 1023, both, 9, known),
        ] {
            let expected = Lookup {
                gfn: Gfn(gfn),
                mfn: 0,
                access,
                origin: Origin::GUEST,
                order,
                result,
                ..question(context, bfn)
            };
            assert_eq!(ask(vm, context, bfn).unwrap().as_bytes(), expected.as_bytes(), "{bfn:#x}");
        }
        for bfn in [102, 0, 0x600, 0xfee00, TOP] {
            assert_eq!(ask(vm, context, bfn), Err(err(Errno::ENOENT)), "{bfn:#x}");
        }
        // A large leaf that was split.
        assert_eq!(vm.unmap(context, 0x410, 1), (0, 1));
        let split = ask(vm, context, 0x411).unwrap();
        assert_eq!((split.gfn, split.order), (Gfn(512 + 0x11), 0));
        assert_eq!(ask(vm, context, 0x410), Err(err(Errno::ENOENT)));
        vm.end();
    });
}

#[test]
fn a_lookup_that_is_wrong_changes_nothing() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 100, 3, 2, RW), (0, 2));
        let good = question(context, 100);
        for bit in 0..32 {
            let flags = LookupFlags::from_bits_retain(1 << bit);
            is_refused(vm, Subop::LOOKUP, Lookup { flags, ..good }, Errno::EINVAL);
        }
        is_refused(vm, Subop::LOOKUP, Lookup { reserved: 1, ..good }, Errno::EINVAL);
        for ctx_id in [0, 2, 129, 0x1_0001, u32::MAX] {
            is_refused(vm, Subop::LOOKUP, Lookup { ctx_id, ..good }, Errno::ENOENT);
        }
        for bfn in [TOP + 1, u64::MAX] {
            is_refused(vm, Subop::LOOKUP, question(context, bfn), Errno::EINVAL);
        }
        is_refused(vm, Subop::LOOKUP, Lookup { domid: DOM0, ..good }, Errno::EPERM);
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        is_refused(vm, Subop::LOOKUP, good, Errno::ENOENT);
        vm.end();
    });
}

#[test]
fn limits_are_those_of_the_machine_and_the_context() {
    with_guest(64, |vm| {
        let context = vm.context();
        let told = limits(vm, context);
        assert_eq!((told.aperture_first, told.aperture_last), (Bfn(0), Bfn(TOP)));
        assert_eq!(told.page_sizes, 4096 | 1 << 21 | 1 << 30);
        let background = if over_scratch() { Wire::SCRATCH } else { Wire::FAULT };
        assert_eq!(told.background, background);
        let state = if over_scratch() { LimitFlags::MAP_FLUSHES } else { LimitFlags::empty() };
        assert_eq!(told.state, state);
        assert_eq!((told.contexts_used, told.contexts_allowed), (1, 128));
        assert_eq!(told.table_frames_allowed, 4096);
        let allowed = Limits::default();
        assert_eq!(told.deferred_pages_allowed, u64::from(allowed.max_deferred_pages));
        assert_eq!(told.max_batch_ops, allowed.max_batch);
        assert!(told.max_element_pages >= 1 << 20);
        let foreign = (told.foreign_used, told.foreign_allowed);
        assert_eq!(foreign, (0, allowed.max_foreign_pages));
        vm.end();
    });
}

/// Before anything was asked for, and of the context that is always there.
#[test]
fn limits_of_the_default_context_can_be_asked_before_init() {
    with_guest(64, |vm| {
        let told = limits(vm, ContextId::DEFAULT);
        assert_eq!((told.contexts_used, told.contexts_allowed), (0, 0));
        assert_eq!(told.table_frames_used, 0);
        assert!(told.max_batch_ops > 0 && told.page_sizes & 4096 != 0);
        assert!(!told.state.contains(LimitFlags::OWNED));
        vm.end();
    });
}

#[test]
fn a_unit_that_caches_what_is_not_mapped_makes_maps_flush() {
    // No unit of AMD's has a write buffer that must be flushed.
    let buffers = Some(UnitFeatures::WRITE_BUFFER).filter(|_| !kinds::has_hypertransport());
    for feature in [UnitFeatures::CACHES_NOT_PRESENT].into_iter().chain(buffers) {
        let mut config = Config::one_guest(64);
        config.units[0].features.insert(feature);
        with(&config, |vm| {
            let context = vm.context();
            assert!(limits(vm, context).state.contains(LimitFlags::MAP_FLUSHES));
            vm.end();
        });
    }
}

#[test]
fn quotas_move_with_their_use() {
    with_guest(2000, |vm| {
        let context = vm.attached_context();
        let empty = limits(vm, context);
        assert_eq!(empty.table_frames_used, u64::from(vm.bed.domain(GUEST).stats().table_frames));
        assert_eq!(vm.map(context, 0, 64, 1500, RW), (0, 1500));
        let full = limits(vm, context);
        assert!(full.table_frames_used >= empty.table_frames_used + 3);
        assert_eq!((full.deferred_pages_used, empty.deferred_pages_used), (0, 0));
        assert_eq!(run_one(vm, context, unmap_later(0, 700)), (0, 700));
        assert_eq!(limits(vm, context).deferred_pages_used, 700);
        let mut flush = FlushPages { ctx_no: context, nr_pages: 700, ..FlushPages::default() };
        assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut flush), 0);
        assert_eq!(limits(vm, context).deferred_pages_used, 0);
        let second = vm.alloc().unwrap();
        assert_eq!(limits(vm, second).contexts_used, 2);
        assert_eq!(limits(vm, ContextId::DEFAULT).contexts_used, 2);
        assert_eq!(vm.free(second, FreeFlags::empty()), 0);
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        let after = limits(vm, ContextId::DEFAULT);
        assert_eq!((after.contexts_used, after.table_frames_used), (0, 0));
        assert!(empty.table_frames_used >= u64::from(background_tables()));
        vm.end();
    });
}

#[test]
fn a_question_for_limits_that_is_wrong_changes_nothing() {
    with_guest(64, |vm| {
        let context = vm.context();
        let good = QueryLimits { ctx_id: u32::from(context.0), ..QueryLimits::default() };
        for bit in 0..32 {
            let flags = QueryLimitsFlags::from_bits_retain(1 << bit);
            is_refused(vm, Subop::QUERY_LIMITS, QueryLimits { flags, ..good }, Errno::EINVAL);
        }
        is_refused(vm, Subop::QUERY_LIMITS, QueryLimits { reserved0: 1, ..good }, Errno::EINVAL);
        for ctx_id in [2, 129, 0x1_0000, u32::MAX] {
            is_refused(vm, Subop::QUERY_LIMITS, QueryLimits { ctx_id, ..good }, Errno::ENOENT);
        }
        is_refused(vm, Subop::QUERY_LIMITS, QueryLimits { domid: DOM0, ..good }, Errno::EPERM);
        vm.end();
    });
}
