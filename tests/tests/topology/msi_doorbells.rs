//! The questions of "KVM PCIe/MSI passthrough on ARM/ARM64" (kvm, June 2016) and Alex Williamson's
//! answers: which part of the bus a doorbell takes, and which interrupts a device can raise there.
//!
//! > (a) The part of the address space consumed by the MSI controller needs to be described to the
//! > user. (b) Depending on the scope of the interrupts the MSI controller is able to generate, the
//! > interrupts need to be marked unsafe.

use pviommu_abi::{Bfn, PciDevice};
use pviommu_hypervisor::{
    DeviceFacts, Reserved, ReservedKind,
    addr::BfnRange,
    platform::{Access, UnitId},
    topology::{
        Function, HostBuses, InterruptReason, Interrupts, MsiController, MsiKind, MsiPlatform,
        Place, RangeList, Window, merge,
    },
};

/// Where things are on the machines of these tests.
const FRAME: Window = Window { first: 0x802_0000, last: 0x802_0fff };
const TRANSLATER: Window = Window { first: 0x808_0000, last: 0x809_ffff };
const PRE_ITS: Window = Window { first: 0x5800_0000, last: 0x581f_ffff };
const BRIDGE_DOORBELL: Window = Window { first: 0x7900_0000, last: 0x7900_0fff };

fn controller(kind: MsiKind, doorbell: Window, place: Place) -> MsiController {
    MsiController { kind, doorbell, place, checks_device: false, buses: None }
}

/// A `GICv2m` frame behind an SMMU.
pub(crate) fn gicv2m() -> MsiController {
    controller(MsiKind::Gicv2m, FRAME, Place::BehindTranslation)
}

/// An ITS behind an SMMU.
pub(crate) fn its() -> MsiController {
    let kind = MsiKind::Its { pre_its: false };
    let its = controller(kind, TRANSLATER, Place::BehindTranslation);
    MsiController { checks_device: true, ..its }
}

pub(crate) fn platform(controllers: &[MsiController]) -> MsiPlatform<'_> {
    MsiPlatform { controllers, software_window: MsiPlatform::USUAL_WINDOW, remapping: &[] }
}

/// An endpoint behind unit 0.
fn endpoint() -> Function {
    Function::new(PciDevice::new(0, 1, 0, 0))
}

fn frames(first: u64, last: u64, kind: ReservedKind) -> Reserved {
    let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
    Reserved { range, kind, access: Access::empty() }
}

fn x86_hole() -> Reserved {
    frames(0xfee00, 0xfeeff, ReservedKind::Msi)
}

/// What a guest chooses the places of its doorbells in.
fn software_window() -> Reserved {
    frames(0x8000, 0x80ff, ReservedKind::SoftwareMsi)
}

fn regions(interrupts: &Interrupts<'_>) -> Vec<Reserved> {
    let mut out = RangeList::new();
    merge(interrupts.ranges(), &mut out).unwrap();
    out.to_vec()
}

/// Checks the regions, and that the interrupts are not isolated for this reason and no other.
fn is_unsafe(interrupts: &Interrupts<'_>, reason: InterruptReason, expected: &[Reserved]) {
    assert_eq!(interrupts.reason(), reason);
    assert!(!interrupts.isolated() && interrupts.facts().is_empty());
    assert_eq!(regions(interrupts), expected);
}

fn is_safe(interrupts: &Interrupts<'_>, expected: &[Reserved]) {
    assert_eq!(interrupts.reason(), InterruptReason::Isolated);
    assert!(interrupts.isolated() && interrupts.enforceable());
    assert_eq!(interrupts.facts(), DeviceFacts::INTERRUPTS_ISOLATED);
    assert_eq!(interrupts.controller(), None);
    assert_eq!(regions(interrupts), expected);
}

/// "We have an address space hole where the MSI controller lives at 0xfee00000. [...] With interrupt
/// remapping, the scope of the interrupts the device is able to generate is only the interrupts
/// intended for the device, which we consider safe."
#[test]
fn x86_with_interrupt_remapping_has_a_hole_and_is_safe() {
    let controllers = [MsiController::x86(true)];
    let platform = MsiPlatform { remapping: &[UnitId(0)], ..platform(&controllers) };
    is_safe(&platform.judge(&endpoint()), &[x86_hole()]);
}

/// "Without interrupt remapping, the IOMMU does not do translation of this range (so it doesn't
/// matter whether the MSI controller is upstream, downstream, or coincident with the IOMMU), and the
/// scope of the interrupts the device can target are sufficiently large to make it unsafe."
#[test]
fn x86_without_interrupt_remapping_has_the_same_hole_and_is_unsafe() {
    for place in [Place::BehindTranslation, Place::BeforeTranslation] {
        let controllers = [MsiController { place, ..MsiController::x86(true) }];
        let interrupts = platform(&controllers).judge(&endpoint());
        is_unsafe(&interrupts, InterruptReason::NotRemapped, &[x86_hole()]);
        assert!(
            interrupts.to_string().starts_with("doorbell fee00000-feefffff: interrupts are not")
        );
    }
    // What counts is the unit that the device is behind.
    let controllers = [MsiController::x86(true)];
    let platform = MsiPlatform { remapping: &[UnitId(1), UnitId(3)], ..platform(&controllers) };
    for unit in 0..4 {
        let function = Function { unit: Some(UnitId(unit)), ..endpoint() };
        assert_eq!(platform.judge(&function).isolated(), unit % 2 == 1, "unit {unit}");
    }
}

/// Remapping that does not look at who asks lets a device raise its neighbour's interrupts.
#[test]
fn x86_with_remapping_that_does_not_check_the_source_is_unsafe() {
    let controllers = [MsiController::x86(false)];
    let platform = MsiPlatform { remapping: &[UnitId(0)], ..platform(&controllers) };
    let interrupts = platform.judge(&endpoint());
    is_unsafe(&interrupts, InterruptReason::SourceNotChecked, &[x86_hole()]);
}

/// "I consider the assignment of platform device unsafe as soon as there is a GICv2m." - "If the MSI
/// controller is downstream of our DMA translation, it doesn't seem like we have much choice but to
/// mark it unsafe. The endpoint is fully able to attempt to exploit it."
#[test]
fn gicv2m_behind_an_smmu_has_a_window_to_map_it_in_and_is_unsafe() {
    let controllers = [gicv2m()];
    let interrupts = platform(&controllers).judge(&endpoint());
    is_unsafe(&interrupts, InterruptReason::SharedDoorbell, &[software_window()]);
    // It has nothing to check a device by, whatever anybody says.
    let controllers = [MsiController { checks_device: true, ..gicv2m() }];
    assert!(!platform(&controllers).judge(&endpoint()).isolated());
}

/// The translation service raises what its table has for the device's id, and nothing else.
#[test]
fn an_its_behind_an_smmu_has_a_window_to_map_it_in_and_is_safe() {
    let controllers = [its()];
    is_safe(&platform(&controllers).judge(&endpoint()), &[software_window()]);
    // The embedder chooses where.
    let window = Window { first: 0x1_0000_0000, last: 0x1_0000_ffff };
    let platform = MsiPlatform { software_window: window, ..platform(&controllers) };
    let elsewhere = frames(0x10_0000, 0x10_000f, ReservedKind::SoftwareMsi);
    is_safe(&platform.judge(&endpoint()), &[elsewhere]);
}

/// One whose table is shared by all devices is as good as none.
#[test]
fn an_its_that_does_not_tell_devices_apart_is_unsafe() {
    let controllers = [MsiController { checks_device: false, ..its() }];
    let interrupts = platform(&controllers).judge(&endpoint());
    is_unsafe(&interrupts, InterruptReason::SharedDoorbell, &[software_window()]);
}

/// "Are there some SOCs where we would put an unsafe MSI platform controller before IOMMU translation."
/// There are: in this one the id is a part of the address, which a device is free to choose.
#[test]
fn an_its_with_a_window_before_it_has_a_hole_and_is_unsafe() {
    let kind = MsiKind::Its { pre_its: true };
    let controllers = [MsiController { kind, doorbell: PRE_ITS, ..its() }];
    let interrupts = platform(&controllers).judge(&endpoint());
    let hole = frames(0x58000, 0x581ff, ReservedKind::Msi);
    is_unsafe(&interrupts, InterruptReason::PreIts, &[hole]);
}

/// "We know some PCIe fabric topologies where the PCIe host controller implements MSI controller." "In
/// that case MSIs never reach the IOMMU." - "It seems that a DMA being consumed by an interrupt
/// controller before it reaches the IOMMU would be another cause for an isolation breach." "Seems
/// like you not only need to mark interrupts as unsafe, but exclude the address space of the MSI
/// controller from the available IOVA space to the user."
#[test]
fn a_host_bridge_that_takes_interrupts_itself_has_a_hole_and_is_unsafe() {
    let controllers = [controller(MsiKind::HostBridge, BRIDGE_DOORBELL, Place::BeforeTranslation)];
    let interrupts = platform(&controllers).judge(&endpoint());
    let hole = frames(0x79000, 0x79000, ReservedKind::Msi);
    is_unsafe(&interrupts, InterruptReason::HostBridge, &[hole]);
    // "Either the scope is sufficiently limited to be considered safe or we have an opt-in for
    // unsafe interrupts."
    let controllers = controllers.map(|it| MsiController { checks_device: true, ..it });
    is_safe(&platform(&controllers).judge(&endpoint()), &[hole]);
}

/// A doorbell before the unit takes the bus addresses of those who pass it, and of nobody else.
#[test]
fn the_hole_of_a_host_bridge_is_that_of_the_functions_below_it() {
    let below = HostBuses { segment: 1, first: 0, last: 0x7f };
    let bridge = controller(MsiKind::HostBridge, BRIDGE_DOORBELL, Place::BeforeTranslation);
    let controllers = [MsiController { buses: Some(below), ..bridge }, its()];
    let platform = platform(&controllers);
    let of = |address| regions(&platform.judge(&Function::new(address)));
    let hole = frames(0x79000, 0x79000, ReservedKind::Msi);
    assert_eq!(of(PciDevice::new(1, 0x7f, 3, 0)), [hole]);
    assert_eq!(of(PciDevice::new(1, 0x80, 3, 0)), [software_window()]);
    assert_eq!(of(PciDevice::new(0, 0x7f, 3, 0)), [software_window()]);
}

/// "Robin suggested [...] to enumerate through a list of 'registered' doorbells and if any belongs to an
/// unsafe MSI controller, consider the assignment is unsafe." - "Seems sufficient. I don't mind
/// taking a broad swing versus all the extra complexity of defining which devices are safe vs unsafe."
#[test]
fn one_unsafe_doorbell_on_the_machine_is_enough() {
    for controllers in [[its(), gicv2m()], [gicv2m(), its()]] {
        let interrupts = platform(&controllers).judge(&endpoint());
        is_unsafe(&interrupts, InterruptReason::SharedDoorbell, &[software_window()]);
        assert_eq!(interrupts.controller().map(|it| it.kind), Some(MsiKind::Gicv2m));
        assert!(interrupts.to_string().starts_with("doorbell 8020000-8020fff: "));
    }
    // Of several the first is told.
    let later = Window { first: 0x803_0000, last: 0x803_0fff };
    let controllers = [gicv2m(), MsiController { doorbell: later, ..gicv2m() }];
    let interrupts = platform(&controllers).judge(&endpoint());
    assert_eq!(interrupts.controller(), controllers.first());
    // Even if it is another host bridge's.
    let elsewhere = HostBuses { segment: 7, first: 0, last: 0xff };
    let controllers = [its(), MsiController { buses: Some(elsewhere), ..gicv2m() }];
    assert!(!platform(&controllers).judge(&endpoint()).isolated());
}

/// "If [...] we have no ability to manage the device's access to the MSI controller's DMA address
/// space (ie. no IOMMU in the DMA path) [...] it needs to be marked unsafe." "Without an IOMMU we
/// can't prevent access to it."
#[test]
fn behind_no_unit_every_doorbell_is_a_hole_that_nothing_enforces() {
    let controllers = [its(), gicv2m()];
    let alone = Function { unit: None, ..endpoint() };
    let interrupts = platform(&controllers).judge(&alone);
    let told =
        [frames(0x8020, 0x8020, ReservedKind::Msi), frames(0x8080, 0x809f, ReservedKind::Msi)];
    is_unsafe(&interrupts, InterruptReason::NoUnit, &told);
    assert!(!interrupts.enforceable());
    assert_eq!(interrupts.controller(), None, "no controller could make up for it");
    // Not even on a machine where all others are safe.
    let controllers = [its()];
    assert!(!platform(&controllers).judge(&alone).isolated());
}

/// What nobody knows is not safe, and where it is has to be known to be kept free.
#[test]
fn a_controller_that_is_not_known_is_unsafe() {
    for place in [Place::BehindTranslation, Place::BeforeTranslation] {
        let unknown = controller(MsiKind::Unknown, FRAME, place);
        let controllers = [its(), MsiController { checks_device: true, ..unknown }];
        let interrupts = platform(&controllers).judge(&endpoint());
        let hole = frames(0x8020, 0x8020, ReservedKind::Msi);
        let expected = if place == Place::BeforeTranslation { hole } else { software_window() };
        is_unsafe(&interrupts, InterruptReason::UnknownController, &[expected]);
    }
    let nowhere = Window { first: 1, last: 0 };
    let controllers = [MsiController { doorbell: nowhere, ..its() }];
    let reason = platform(&controllers).judge(&endpoint()).reason();
    assert_eq!(reason, InterruptReason::UnknownController);
    let interrupts = platform(&[]).judge(&endpoint());
    is_unsafe(&interrupts, InterruptReason::NothingListed, &[]);
}

/// A group is given away whole, so that one member is enough to make it unsafe.
#[test]
fn one_unsafe_member_makes_its_group_unsafe() {
    let controllers = [MsiController::x86(true)];
    let platform = MsiPlatform { remapping: &[UnitId(0)], ..platform(&controllers) };
    let of_units = |units: &[Option<UnitId>]| {
        let each = |unit: &Option<UnitId>| Function { unit: *unit, ..endpoint() };
        let functions: Vec<_> = units.iter().map(each).collect();
        InterruptReason::of_group(functions.iter().map(|it| platform.judge(it).reason()))
    };
    let (good, bad, none) = (Some(UnitId(0)), Some(UnitId(1)), None);
    assert_eq!(of_units(&[good, good]), InterruptReason::Isolated);
    assert_eq!(of_units(&[good, bad, good]), InterruptReason::NotRemapped);
    assert_eq!(of_units(&[bad, none]), InterruptReason::NoUnit);
    assert_eq!(of_units(&[none, bad]), InterruptReason::NoUnit);
    assert_ne!(of_units(&[]), InterruptReason::Isolated, "nobody vouches for nobody");
}
