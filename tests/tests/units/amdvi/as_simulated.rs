//! The simulated machine tells its units in the service's words, without a driver. The driver tells the same:
//! so what the suites find out about the one holds for the other.

use proptest::prelude::*;
use pviommu_abi::Bfn;
use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{Invalidation, Tag},
    unit::{
        Command, Driver,
        amdvi::{command, device_entry},
    },
};

use super::kit::{root, source, unit, up};

/// What a unit can be asked for.
#[derive(Clone, Copy, Debug)]
enum Call {
    Attach(u16, u64, u16),
    Block(u16),
    Invalidate(u16, Invalidation),
    SyncMap(u16, BfnRange),
}

fn calls() -> impl Strategy<Value = Call> {
    let (id, tag) = (0..0x200_u16, 1..=u16::MAX);
    let bfns = (0..1_u64 << 40, 0..1_u64 << 20);
    let bfns =
        bfns.prop_map(|(first, length)| BfnRange::new(Bfn(first), Bfn(first + length)).unwrap());
    let range = move || (1..=u16::MAX, bfns.clone());
    prop_oneof![
        (id.clone(), 1..1_u64 << 36, tag.clone())
            .prop_map(|(id, at, tag)| Call::Attach(id, at, tag)),
        id.prop_map(Call::Block),
        range().prop_map(|(tag, range)| Call::Invalidate(tag, Invalidation::Leaves(range))),
        range().prop_map(|(tag, range)| Call::Invalidate(tag, Invalidation::Tables(range))),
        tag.prop_map(|tag| Call::Invalidate(tag, Invalidation::Everything)),
        range().prop_map(|(tag, range)| Call::SyncMap(tag, range)),
    ]
}

/// Has `driver` do it; what the simulated machine tells its unit.
fn both(driver: &impl Driver, call: Call) -> (Command, Option<(u16, device_entry::Translation)>) {
    match call {
        Call::Attach(id, at, tag) => {
            driver.attach(source(id), root(at), Tag(tag)).unwrap();
            let entry = device_entry::translated(root(at), Tag(tag));
            (command::forget_device(source(id).0), Some((id, entry)))
        }
        Call::Block(id) => {
            driver.block(source(id)).unwrap();
            (command::forget_device(source(id).0), Some((id, device_entry::BLOCKED)))
        }
        Call::SyncMap(tag, range) => {
            driver.sync_map(Tag(tag), range).unwrap();
            let what = Invalidation::Tables(range);
            (command::invalidate(Tag(tag), what), None)
        }
        Call::Invalidate(tag, what) => {
            driver.invalidate(Tag(tag), what).unwrap();
            (command::invalidate(Tag(tag), what), None)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_driver_tells_its_unit_what_the_simulated_machine_does(
        calls in prop::collection::vec(calls(), 1..20),
    ) {
        let unit = unit();
        let driver = up(&unit);
        for call in calls {
            let (told, entry) = both(&driver, call);
            let words = unit.take_words();
            prop_assert_eq!(words.len(), 2, "one command, and a wait");
            prop_assert_eq!(words[0], told);
            if let Some((id, [low, high])) = entry {
                prop_assert_eq!(unit.stored(id), Some([low, high, 0, 0]));
            }
        }
        prop_assert_eq!(unit.mistakes(), []);
    }
}
