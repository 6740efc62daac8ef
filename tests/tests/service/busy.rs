//! Devices that do DMA all the time, from threads of their own, while the guest edits.

use pviommu_abi::{
    Batch, BatchElement, BatchOp, Bfn, ContextId, ElementFlags, FreeFlags, PciDevice, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_testbed::machine::Config;
use zerocopy::IntoBytes;

use crate::kit::{DEVICE, GUEST, RW, Vm, over_scratch, with};

const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };

fn batch(vm: &Vm<'_>, context: ContextId, elements: &mut [BatchElement]) {
    let nr_ops = u32::try_from(elements.len()).unwrap();
    let mut header = Batch { ctx_id: u32::from(context.0), nr_ops, ..Batch::default() };
    let status =
        vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), Some(elements.as_mut_bytes()));
    assert_eq!((status, header.nr_done), (0, nr_ops));
    assert!(elements.iter().all(|element| element.status == 0), "{elements:?}");
}

/// INV-03, INV-07, INV-20: whatever is edited, and however it is flushed, a device reaches mapped
/// pages that are held, and the background.
#[test]
fn devices_behind_two_unlike_units_never_reach_what_is_given_back() {
    let op = |op, flags, bfn, page, nr| BatchElement {
        op,
        flags,
        bfn: Bfn(bfn),
        page,
        nr,
        ..BatchElement::default()
    };
    with(&Config::unlike_pair(256), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.attach(SECOND, context), 0);
        let bfns: Vec<u64> = (1..64).map(|i| i * 170).collect();
        let busy = [(DEVICE, bfns.clone()), (SECOND, bfns.clone())];
        let ((), did) = vm.bed.with_busy_devices(&busy, || {
            for round in 0..60u64 {
                let at = |i: u64| (i * 170 + round) % (64 * 170);
                let access = ElementFlags::READ | ElementFlags::WRITE;
                let mut maps: Vec<_> =
                    (0..32).map(|i| op(BatchOp::MAP, access, at(i), i * 2, 2)).collect();
                batch(vm, context, &mut maps);
                let later = ElementFlags::NO_FLUSH;
                let mut unmaps: Vec<_> = (0..16)
                    .map(|i| op(BatchOp::UNMAP, later, at(i), 0, 2))
                    .chain((16..32).map(|i| op(BatchOp::UNMAP, ElementFlags::empty(), at(i), 0, 2)))
                    .collect();
                batch(vm, context, &mut unmaps);
                if round % 3 == 0 {
                    batch(vm, context, &mut [op(BatchOp::FLUSH, ElementFlags::empty(), 0, 0, 0)]);
                }
                if round % 7 == 0 {
                    assert_eq!(vm.attach(SECOND, ContextId::DEFAULT), 0);
                    let other = vm.context();
                    assert_eq!(vm.map(other, 170, 100, 8, RW), (0, 8));
                    assert_eq!(vm.attach(SECOND, other), 0);
                    assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
                    assert_eq!(vm.attach(SECOND, context), 0);
                    assert_eq!(vm.free(other, FreeFlags::empty()), 0);
                }
            }
        });
        assert!(did.iter().all(|device| device.accesses > 0), "{did:?}");
        assert!(!over_scratch() || did[0].faults == 0, "{did:?}");
        assert_eq!(vm.bed.violations(), []);
        vm.end();
    });
}
