//! Two cards on a conventional bus behind one bridge, which sends all their requests with an id of its own. Where each
//! card is given to a guest by itself, as Xen does it, the second guest wins: the entry of the bridge's id
//! names his table, and DMA of the first guest's card is translated by it.

use pviommu_abi::{ContextId, Errno, PciDevice};
use pviommu_hypervisor::topology::{BusNumbers, Function, Kind};
use pviommu_testbed::machine::Config;

use super::kit::{BFN, drive, end, functions, machine, other, owner, told, works};
use crate::guest::{GUEST, OTHER, RW, Vm, err, with};

const CARD: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 1 << 3 };
const BESIDE: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 2 << 3 };
/// The bridge, as itself and as what it puts in the place of a card.
const BRIDGE: PciDevice = PciDevice { seg: 0, bus: 3, devfn: 0 };
const TAKEN_OVER: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 0 };
const IDS: [PciDevice; 4] = [BRIDGE, TAKEN_OVER, CARD, BESIDE];

/// The machine, with no card where the bridge's own id for the bus is.
fn cards() -> Vec<Function> {
    let mut functions = functions("pcie-pci");
    functions.iter_mut().filter(|it| it.address.bus == 4).for_each(|it| it.address.devfn += 1 << 3);
    functions
}

fn config() -> Config {
    machine(&cards(), None)
}

fn all_in_one_table(vm: &Vm<'_>) -> bool {
    let board = vm.bed.board();
    let count = board.device_entries(CARD).len();
    assert_eq!((count, board.device_entries(BESIDE).len()), (IDS.len(), IDS.len()));
    board.is_in_one_table(CARD)
}

#[test]
fn the_second_guest_behind_a_bridge_is_refused_and_the_first_keeps_what_it_has() {
    for (first, second) in [(CARD, BESIDE), (BESIDE, CARD)] {
        with(&config(), |vm| {
            assert_eq!(vm.bed.assign(GUEST, first), Ok(()));
            drive(vm, first);
            let before = vm.bed.board().device_entries(first);
            assert_eq!(vm.bed.assign(OTHER, second), Err(Errno::EBUSY));
            assert_eq!(vm.bed.board().device_entries(second), before);
            assert!(IDS.into_iter().all(|id| works(vm, id)), "whichever id the bridge takes");
            assert!(!IDS.into_iter().any(|id| works(&other(vm), id)));
            for bridge in [BRIDGE, TAKEN_OVER] {
                assert_eq!(vm.bed.assign(OTHER, bridge), Err(Errno::ENODEV), "that is no card");
            }
            // Both are the first one's, and go back together.
            assert_eq!(owner(vm.bed, second), Some(GUEST));
            assert!(told(vm, second).contains(pviommu_abi::DeviceFlags::SHARING_RISK));
            assert_eq!(vm.bed.unassign(GUEST, 0, second), Ok(()));
            assert!(all_in_one_table(vm) && !IDS.into_iter().any(|id| vm.reads(id, BFN)));
            assert_eq!(vm.bed.assign(OTHER, second), Ok(()));
            drive(&other(vm), first);
            assert!(IDS.into_iter().all(|id| works(&other(vm), id)));
            end(vm);
        });
    }
}

/// All ids go from one context to another with the card that was named, and nothing stays behind.
#[test]
fn requests_land_where_the_context_says_whichever_id_they_carry() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        let (one, second) = (vm.context(), vm.context());
        assert_eq!(vm.map(one, BFN, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(second, BFN, 2, 1, RW), (0, 1));
        assert_eq!(vm.map(one, BFN + 1, 3, 1, RW), (0, 1));
        let moves =
            [(CARD, one, 1, 2), (BESIDE, second, 2, 1), (CARD, second, 2, 1), (CARD, one, 1, 2)];
        for (card, context, gfn, elsewhere) in moves {
            assert_eq!(vm.attach(card, context), 0);
            assert!(all_in_one_table(vm));
            for id in IDS {
                assert!(vm.lands_in(id, BFN, gfn));
                assert!(!vm.lands_in(id, BFN, elsewhere));
                assert_eq!(vm.reads(id, BFN + 1), context == one);
            }
        }
        assert_eq!(vm.attach(TAKEN_OVER, second), err(Errno::ENODEV));
        assert_eq!(vm.attach(CARD, ContextId::DEFAULT), 0);
        assert!(all_in_one_table(vm) && !IDS.into_iter().any(|id| vm.reads(id, BFN)));
        let told = [CARD, BESIDE].map(|card| vm.describe(card).moves_with);
        assert_eq!(told[0], told[1]);
        end(vm);
    });
}

/// A conventional bridge below the first: that takes requests over as well, in its own name.
#[test]
fn the_ids_of_all_bridges_on_the_way_are_moved() {
    let mut functions = cards();
    let bridge = functions.iter_mut().find(|it| it.address == BRIDGE).unwrap();
    bridge.buses = Some(BusNumbers { secondary: 4, subordinate: 5 });
    let port = functions.iter_mut().find(|it| it.kind == Kind::RootPort).unwrap();
    port.buses = Some(BusNumbers { secondary: 3, subordinate: 5 });
    let card = *functions.iter().find(|it| it.address == CARD).unwrap();
    let inner = PciDevice { seg: 0, bus: 4, devfn: 3 << 3 };
    let far = PciDevice { seg: 0, bus: 5, devfn: 0 };
    let buses = Some(BusNumbers { secondary: 5, subordinate: 5 });
    functions.push(Function { address: inner, buses, ..card });
    functions.push(Function { address: far, ..card });
    with(&machine(&functions, None), |vm| {
        assert_eq!(vm.bed.assign(GUEST, far), Ok(()));
        drive(vm, far);
        assert!(IDS.into_iter().chain([inner, far]).all(|id| works(vm, id)));
        assert_eq!(vm.bed.assign(OTHER, CARD), Err(Errno::EBUSY));
        end(vm);
    });
}
