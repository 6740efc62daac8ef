//! The four cases that the mail on the public interface tells apart, each from the creation of the
//! domain to its death: who sets the default map up, and who keeps it.
//!
//! | case | map | maintained | the guest may change it |
//! |---|---|---|---|
//! | dom0, strict | identity MFN | yes | never |
//! | dom0 with a PV-IOMMU driver | host | no | after the ownership switch |
//! | HVM without a virtual IOMMU | identity GFN | yes | never |
//! | HVM with a virtual IOMMU | guest | no | after the ownership switch |

mod dom0;
mod hvm;

use pviommu_abi::{
    Background as Wire, BatchOp, ContextId, DomId, ElementFlags, Errno, Gfn, OwnershipMode,
    PciDevice,
};
use pviommu_hypervisor::{DefaultMap, Role, addr::GfnRange};
use pviommu_testbed::machine::{Bed, Config, DeviceConfig, DomainConfig};

use crate::acts::{background, batch_one, both, element, flush, is_free, take};
use crate::batch_kit::READ_WRITE;
use crate::kit::{DEVICE, DOM0, GUEST, RW, Vm, err};

/// 00:04.0, a second device of the domain that the case is about.
const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
const DEVICES: [PciDevice; 2] = [DEVICE, SECOND];
const ZERO: ContextId = ContextId::DEFAULT;
/// Guest frames of one block of 2 MiB in the machine.
const BLOCK: u64 = 0x200;
const SCATTERED: u64 = 0x40;
/// A guest frame without memory.
const HOLE: u64 = 0x1000;

const ALL_FORMS: [OwnershipMode; 3] =
    [OwnershipMode::CLEAR, OwnershipMode::KEEP, OwnershipMode::GIVE_BACK];

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// A domain with this default map and two devices, and another one that has neither.
fn case(id: DomId, map: DefaultMap) -> Config {
    let mut config = Config::one_guest(SCATTERED);
    config.domains[0].id = id;
    config.domains[0].role = if id == DOM0 { Role::Hardware } else { Role::Guest };
    config.domains[0].ram.push(gfns(BLOCK, 0x200));
    config.domains[0].contiguous = vec![gfns(BLOCK, 0x200)];
    config = config.with_default_map(map);
    config.devices.push(DeviceConfig { function: SECOND, ..DeviceConfig::default() });
    config.devices.iter_mut().for_each(|device| device.owner = id);
    let other = if id == DOM0 { GUEST } else { DOM0 };
    config.domains.push(DomainConfig {
        id: other,
        ram: vec![gfns(0, SCATTERED)],
        ..DomainConfig::default()
    });
    config
}

/// Every way to edit the default context is refused.
fn is_not_the_guests(vm: &Vm<'_>, bfn: u64) {
    let refused = err(Errno::EINVAL);
    assert_eq!(vm.map(ZERO, bfn, 0, 1, RW), (refused, 0));
    assert_eq!(vm.unmap(ZERO, bfn, 1), (refused, 0));
    assert_eq!(flush(vm, ZERO, bfn, 1), refused);
    let none = ElementFlags::empty();
    for edit in [
        element(BatchOp::MAP, READ_WRITE, bfn, 0, 1),
        element(BatchOp::UNMAP, none, bfn, 0, 1),
        element(BatchOp::FLUSH, none, 0, 0, 0),
    ] {
        let (status, ..) = batch_one(vm, ZERO, DomId::SELF, edit);
        assert_eq!(status, err(Errno::EACCES), "{edit:?}");
    }
}

/// Taking it over is refused for ever (INV-70).
fn is_never_the_guests(vm: &Vm<'_>, bfn: u64) {
    is_not_the_guests(vm, bfn);
    for form in ALL_FORMS {
        assert_eq!(take(vm, form, Wire::DEFAULT), err(Errno::EACCES), "{form:?}");
    }
    is_not_the_guests(vm, bfn);
}

/// Both devices find the background.
fn is_background(bed: &Bed<'_>, bfn: u64) -> bool {
    DEVICES.iter().all(|device| both(bed, *device, bfn) == [background(); 2])
}

/// Ends all domains, twice; nothing is left, and `bfn` leads nowhere.
fn end(bed: &Bed<'_>, bfn: u64) {
    for domain in [DOM0, GUEST] {
        assert_eq!(bed.teardown(domain, 0), 0);
        assert_eq!(bed.teardown(domain, 0), 0, "a second teardown does nothing");
        assert_eq!(bed.domain(domain).stats().table_frames, 0);
    }
    for device in DEVICES {
        assert_eq!(both(bed, device, bfn), [crate::acts::Found::Fault; 2]);
    }
    bed.assert_clean();
}

/// A page leaves `domain` while a context of its own maps it at `bfn`: it stays until it is unmapped
/// there (INV-27).
fn stays_until_unmapped(vm: &Vm<'_>, domain: DomId, (context, bfn): (ContextId, u64), gfn: u64) {
    let bed = vm.bed;
    let gone = bed.balloon_out(domain, Gfn(gfn)).unwrap();
    for device in DEVICES {
        assert_eq!(both(bed, device, bfn), [crate::acts::Found::At(gone); 2], "{bfn:#x}");
    }
    assert!(!is_free(bed, gone), "a device can reach it");
    assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
    assert!(is_background(bed, bfn) && is_free(bed, gone));
}
