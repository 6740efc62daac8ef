//! Host maps: BFN == MFN for what the hardware domain may reach, by the largest pages.

use pviommu_abi::{ContextId, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, Role, addr::GfnRange};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Config, Reach},
};

use super::kit::take;
use crate::kit::{DEVICE, GUEST, RW, Vm, with};

const GIB: u64 = 1 << 18;

/// The hardware domain with `ram`, in blocks of 1 GiB that follow each other.
fn config(gib: u64) -> Config {
    let mut config = Config::one_guest(64).with_default_map(DefaultMap::Host);
    let domain = &mut config.domains[0];
    domain.role = Role::Hardware;
    let block = |first, pages| GfnRange::of_pages(pviommu_abi::Gfn(first), pages).unwrap();
    domain.contiguous = vec![block(GIB, gib * GIB)];
    domain.ram.extend(domain.contiguous.clone());
    config
}

/// The frame behind a guest frame, and where the device lands at the bus frame of that number.
fn is_one_to_one(vm: &Vm<'_>, gfn: u64) -> bool {
    let frame = vm.bed.board().machine_frame(GUEST, pviommu_abi::Gfn(gfn)).unwrap();
    let hit = vm.bed.dma_probe(DEVICE, frame.0 << 12, Direction::Write);
    hit.is_ok_and(|hit| hit.frame == frame)
}

/// 512 GiB: some hundreds of entries and a few tables, and nothing is held.
#[test]
fn a_map_of_512_gib_costs_a_few_tables() {
    with(&config(512), |vm| {
        let frames = vm.bed.domain(GUEST).stats().table_frames;
        assert!(frames < 100, "{frames}");
        assert_eq!(vm.bed.counters().references_live, 0);
        for gfn in [0, 63, GIB, 300 * GIB + 12345, 513 * GIB - 1] {
            assert!(is_one_to_one(vm, gfn), "{gfn:#x}");
        }
        vm.end();
    });
}

#[test]
fn the_hypervisors_frames_are_not_in_it() {
    with(&config(1), |vm| {
        let tables = vm.bed.board().memory().tables.frames().unwrap();
        let (root, _) = vm.bed.board().device_entries(DEVICE)[0].table().unwrap();
        for frame in [tables.first(), tables.last(), root.frame] {
            let hit = vm.bed.dma_probe(DEVICE, frame.0 << 12, Direction::Read).ok();
            assert!(hit.is_none_or(|hit| hit.reach == Reach::Scratch), "{frame:?}");
        }
        assert!(vm.bed.dma_probe(DEVICE, 0xfee00 << 12, Direction::Read).is_err());
        assert_eq!(vm.bed.violations(), []);
        vm.end();
    });
}

/// No unit puts such an address out: with the upper bits cut off it is that of other memory.
#[test]
fn what_lies_beyond_the_addresses_of_a_unit_is_not_in_it_and_all_that_lies_below_is() {
    let mut config = config(512);
    config.units[0].host_address_bits = 38;
    let beyond = 1 << (38 - 12);
    with(&config, |vm| {
        let first = vm.bed.board().machine_frame(GUEST, pviommu_abi::Gfn(GIB)).unwrap().0;
        assert!(first < beyond && beyond < first + 511 * GIB, "it is in the middle of a block");
        let last_below = GIB + beyond - 1 - first;
        for gfn in [0, 63, GIB, GIB + 12345, last_below] {
            assert!(is_one_to_one(vm, gfn), "{gfn:#x}");
        }
        for gfn in [last_below + 1, last_below + 12345, 513 * GIB - 1] {
            assert!(!is_one_to_one(vm, gfn), "{gfn:#x}");
        }
        assert_eq!(vm.bed.violations(), []);
        vm.end();
    });
}

#[test]
fn the_hardware_domain_takes_it_over_and_gives_it_back() {
    with(&config(2), |vm| {
        let frame = vm.bed.board().machine_frame(GUEST, pviommu_abi::Gfn(GIB)).unwrap().0;
        for mode in [OwnershipMode::KEEP, OwnershipMode::CLEAR] {
            let kept = mode == OwnershipMode::KEEP;
            assert!(is_one_to_one(vm, 5) && is_one_to_one(vm, GIB + 1000));
            assert_eq!(take(vm, mode), 0);
            assert_eq!(is_one_to_one(vm, GIB + 1000), kept);
            let zero = ContextId::DEFAULT;
            assert_eq!(vm.map(zero, frame + 7, 9, 4, RW), (0, 4));
            assert!(vm.lands_in(DEVICE, frame + 8, 10));
            assert_eq!(vm.bed.counters().references_live, 4);
            assert_eq!(is_one_to_one(vm, GIB + 11), kept);
            // What was initial is removed and gives nothing back, for nothing was held.
            let (status, unmapped) = vm.unmap(zero, frame, 11);
            assert_eq!((status, unmapped), if kept { (0, 11) } else { (-2, 0) });
            assert_eq!(vm.unmap(zero, frame + 7, 4), if kept { (-2, 0) } else { (0, 4) });
            assert!((0..11).all(|i| vm.hits_background(DEVICE, frame + i)));
            assert_eq!(vm.bed.counters().references_live, 0);
            assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
            assert!((0..12).all(|i| is_one_to_one(vm, GIB + i)));
        }
        vm.end();
    });
}
