//! Rules that hold for every question: who may ask, and arguments that grow. And flushes of their
//! own.

use pviommu_abi::{Bfn, ContextId, DomId, Errno, FlushPages, Gfn, Lookup, QueryLimits, Subop};
use zerocopy::IntoBytes;

use super::{
    answers::TOP,
    kit::{is_refused, limits, question},
};
use crate::kit::{DEVICE, DOM0, GUEST, RW, Vm, err, with, with_guest, with_hardware_domain};

/// The rule by which arguments grow: of a short one, only the caller's bytes are written back.
#[test]
fn answers_are_cut_off_where_the_caller_ends() {
    with_guest(64, |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, 0, 9, 1, RW), (0, 1));
        let mut whole = question(context, 0);
        assert_eq!(vm.op(Subop::LOOKUP, &mut whole), 0);
        let (whole_limits, at) = (limits(vm, context), 0x2_0000 - 30);
        let call = |subop: Subop, argument: &[u8], size: usize, tail: u8| {
            let mut bytes = argument.to_vec();
            bytes[..4].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
            bytes.resize(size.max(argument.len()), 0);
            bytes[size..].fill(0xa5);
            if size > argument.len() {
                *bytes.last_mut().unwrap() = tail;
            }
            bytes.extend([0xa5; 16]);
            vm.bed.guest_write(GUEST, at, &bytes);
            let status = vm.guest.call(u64::from(subop.0), at);
            let mut after = bytes.clone();
            vm.bed.guest_read(GUEST, at, &mut after);
            assert_eq!(after[size..], bytes[size..], "{subop:?} of {size} bytes");
            (status, after)
        };
        let argument = QueryLimits { ctx_id: u32::from(context.0), ..QueryLimits::default() };
        let cases = [
            (Subop::LOOKUP, question(context, 0).as_bytes().to_vec(), whole.as_bytes().to_vec()),
            (Subop::QUERY_LIMITS, argument.as_bytes().to_vec(), whole_limits.as_bytes().to_vec()),
        ];
        for (subop, argument, answer) in cases {
            for size in 14..argument.len() {
                let (status, after) = call(subop, &argument, size, 0);
                assert_eq!(status, 0, "{subop:?} of {size} bytes");
                assert_eq!(after[4..size], answer[4..size], "{subop:?} of {size} bytes");
            }
            let length = argument.len();
            for size in [length + 1, length + 8, length + 63, length + 64, length + 65, 4096] {
                assert_eq!(call(subop, &argument, size, 0).0, 0, "{subop:?} of {size} bytes");
                let refused = err(Errno::EINVAL);
                assert_eq!(call(subop, &argument, size, 1).0, refused, "{subop:?} of {size} bytes");
            }
            for size in 4..8 {
                let refused = err(Errno::EINVAL);
                assert_eq!(call(subop, &argument, size, 0).0, refused, "{subop:?} of {size} bytes");
            }
        }
        vm.end();
    });
}

#[test]
fn the_hardware_domain_asks_about_another() {
    let config = with_hardware_domain();
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 100, 3, 2, RW), (0, 2));
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        let mut lookup = Lookup { domid: GUEST, ..question(context, 101) };
        assert_eq!(dom0.op(Subop::LOOKUP, &mut lookup), 0);
        assert_eq!(lookup.gfn, Gfn(4));
        let mut query = QueryLimits { domid: GUEST, ..QueryLimits::default() };
        assert_eq!(dom0.op(Subop::QUERY_LIMITS, &mut query), 0);
        assert_eq!((query.contexts_used, query.domid), (1, GUEST));
        let nobody = DomId(99);
        let lookup = Lookup { domid: nobody, ..question(context, 101) };
        is_refused(&dom0, Subop::LOOKUP, lookup, Errno::ESRCH);
        let query = QueryLimits { domid: nobody, ..QueryLimits::default() };
        is_refused(&dom0, Subop::QUERY_LIMITS, query, Errno::ESRCH);
        vm.end();
    });
}

#[test]
fn a_flush_of_pages_checks_its_range_and_nothing_else() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let good =
            FlushPages { ctx_no: context, dfn: Bfn(100), nr_pages: 4, ..FlushPages::default() };
        let refused = |flush: FlushPages| is_refused(vm, Subop::FLUSH_PAGES, flush, Errno::EINVAL);
        for ctx_no in [ContextId(0), ContextId(2), ContextId(129), ContextId(u16::MAX)] {
            refused(FlushPages { ctx_no, ..good });
        }
        for pgsize in [1, 512, 8192, 1 << 21, u32::MAX] {
            refused(FlushPages { pgsize, ..good });
        }
        for (dfn, nr_pages) in
            [(TOP, 2), (TOP + 1, 1), (u64::MAX, 1), (u64::MAX, 2), (TOP, u32::MAX)]
        {
            refused(FlushPages { dfn: Bfn(dfn), nr_pages, ..good });
        }
        for pgsize in [0, 4096] {
            let mut flush = FlushPages { pgsize, pad0: [0xa5; 6], ..good };
            assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut flush), 0);
            assert_eq!(flush.pad0, [0xa5; 6]);
        }
        // Ranges that are reserved, not mapped, as long as there are, or empty.
        for (dfn, nr_pages) in [(0xfedff, 0x200), (0, u32::MAX), (TOP, 1), (TOP, 0), (5, 0)] {
            let mut flush = FlushPages { dfn: Bfn(dfn), nr_pages, ..good };
            assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut flush), 0, "{dfn:#x}");
        }
        assert!(vm.hits_background(DEVICE, 100));
        vm.end();
    });
}
