//! Pages of another domain without a grant: for the hardware domain only.

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, DomId, ElementFlags, Errno, Gfn,
    GuestPtr,
};
use pviommu_testbed::machine::{Step, When};
use zerocopy::IntoBytes;

use super::kit::{BOTH, GRANTER, end, frame, grant_of, run_as, run_one_of, three};
use crate::kit::{DEVICE, DOM0, GUEST, RW, Vm, err, with};

fn map(bfn: u64, page: u64, nr: u32) -> BatchElement {
    let op = BatchOp::MAP;
    BatchElement { op, flags: BOTH, bfn: Bfn(bfn), page, nr, ..BatchElement::default() }
}

fn list(bfn: u64, list: u64, nr: u32) -> BatchElement {
    BatchElement { op: BatchOp::MAP_LIST, page: list, ..map(bfn, 0, nr) }
}

const LIST: u64 = 0x3_0000;

#[test]
fn a_guest_maps_no_page_of_another() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        vm.bed.guest_write(GUEST, LIST, [1u64, 2].as_bytes());
        for owner in [GRANTER, DOM0, DomId(77), DomId::IO] {
            for element in [map(10, 1, 2), list(10, LIST, 2)] {
                let refused = run_one_of(vm, context, owner, element);
                assert_eq!(refused, (err(Errno::EPERM), 0), "{owner:?}");
            }
        }
        // Nothing is looked at before: not even whether it could be.
        vm.bed.schedule().set(Step::Acquire, When::Never);
        assert_eq!(run_one_of(vm, context, GRANTER, map(10, 1, 2)).0, err(Errno::EPERM));
        // Single pages, which are mapped together where they may be.
        let mut singles = [1, 2, 3].map(|page| map(9 + page, page, 1));
        let flags = BatchFlags::RUN_ALL;
        let header = Batch { ctx_id: context.0.into(), owner: GRANTER, flags, ..Batch::default() };
        assert_eq!(run_as(vm, header, &mut singles), 0);
        assert_eq!(singles.map(|single| i64::from(single.status)), [err(Errno::EPERM); 3]);
        assert_eq!(vm.bed.schedule().calls(Step::Acquire), 0);
        assert!((10..13).all(|bfn| vm.hits_background(DEVICE, bfn)));
        // Its own, by either name; and elements that map nothing.
        for (owner, bfn) in [(GUEST, 20), (DomId::SELF, 30)] {
            assert_eq!(run_one_of(vm, context, owner, map(bfn, 1, 2)), (0, 2));
            assert!(vm.lands_in(DEVICE, bfn + 1, 2));
        }
        let unmap =
            BatchElement { op: BatchOp::UNMAP, flags: ElementFlags::empty(), ..map(20, 0, 2) };
        assert_eq!(run_one_of(vm, context, GRANTER, unmap), (0, 2));
        end(vm);
    });
}

/// What is given back goes to whom it was taken from, also when runs of two owners meet.
#[test]
fn the_hardware_domain_maps_pages_of_any_domain_for_itself_and_for_others() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let dom0 = Vm::new(vm.bed, DOM0, 1);
        let own = dom0.context();
        dom0.bed.guest_write(DOM0, LIST, [4u64, 1, 2].as_bytes());
        for owner in [GRANTER, GUEST, DOM0] {
            for element in [map(10, 1, 3), list(20, LIST, 3)] {
                assert_eq!(run_one_of(&dom0, own, owner, element), (0, 3), "{owner:?}");
            }
            assert_eq!(vm.bed.board().references(owner, Gfn(1)), 2);
            assert_eq!(dom0.unmap(own, 10, 3), (0, 3));
            assert_eq!(dom0.unmap(own, 20, 3), (0, 3));
            assert_eq!(vm.bed.board().references(owner, Gfn(1)), 0);
        }
        // Into a context of the guest.
        let header = Batch {
            ctx_id: u32::from(context.0),
            domid: GUEST,
            owner: GRANTER,
            ..Batch::default()
        };
        let mut elements = [map(10, 1, 3), list(20, LIST, 3)];
        assert_eq!(run_as(&dom0, header, &mut elements), 0);
        assert!(elements.iter().all(|element| element.status == 0), "{elements:?}");
        let hit = vm.bed.dma_probe(DEVICE, 11 << 12, pviommu_testbed::iommu::Direction::Write);
        assert_eq!(hit.unwrap().frame, frame(vm, GRANTER, 2));
        // INV-27: its owner keeps it until then.
        assert!(vm.bed.board().free_page(GRANTER, Gfn(1)).is_err());
        assert_eq!(vm.unmap(context, 10, 3), (0, 3), "it is the guest's own context");
        assert_eq!(vm.unmap(context, 20, 3), (0, 3));
        assert!(vm.bed.board().free_page(GRANTER, Gfn(1)).is_ok());
        assert_eq!(vm.bed.counters().references_live, 0);
        end(vm);
    });
}

/// A grant to the domain acted for is mapped for it; one to the caller is not.
#[test]
fn a_grant_is_looked_up_for_the_domain_acted_for() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let dom0 = Vm::new(vm.bed, DOM0, 1);
        let to_guest = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        let to_dom0 = vm.bed.grant(GRANTER, Gfn(3), DOM0, false);
        let act = |reference| {
            let header = Batch {
                ctx_id: u32::from(context.0),
                domid: GUEST,
                owner: GRANTER,
                ..Batch::default()
            };
            let mut elements = [grant_of(10, reference, BOTH)];
            assert_eq!(run_as(&dom0, header, &mut elements), 0);
            i64::from(elements[0].status)
        };
        assert_eq!(act(to_dom0), err(Errno::EPERM));
        assert_eq!(act(to_guest), 0);
        assert!(vm.writes(DEVICE, 10));
        assert_eq!(vm.bed.end_grant(GRANTER, to_dom0), Ok(()));
        assert_eq!(vm.bed.end_grant(GRANTER, to_guest), Err(Errno::EBUSY));
        end(vm);
    });
}

/// INV-58: a policy that refuses, refuses before any page is touched; and a guest acts for nobody.
#[test]
fn nobody_maps_for_another_without_the_right_to() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let header = |domid| Batch {
            ctx_id: u32::from(context.0),
            domid,
            owner: GRANTER,
            ..Batch::default()
        };
        for domid in [GRANTER, DOM0] {
            assert_eq!(run_as(vm, header(domid), &mut [map(10, 1, 1)]), err(Errno::EPERM));
        }
        let dom0 = Vm::new(vm.bed, DOM0, 1);
        vm.bed.schedule().set(Step::Policy, When::From(1));
        assert_eq!(run_as(&dom0, header(GUEST), &mut [map(10, 1, 1)]), err(Errno::EPERM));
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.counters().references_live, 0);
        let nowhere = Batch { ops: GuestPtr(8), ..header(DomId(77)) };
        assert_eq!(run_as(&dom0, nowhere, &mut [map(10, 1, 1)]), err(Errno::ESRCH));
        assert_eq!(vm.map(ContextId(context.0), 10, 1, 1, RW), (0, 1));
        end(vm);
    });
}
