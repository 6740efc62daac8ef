//! Drivers that go wrong: the witness tells.

use pviommu_abi::{AllocFlags, Bfn, ContextId, ElementFlags, Gfn, MapFlags};
use pviommu_guest::{BatchBuilder, BatchPage, IommuClient};
use pviommu_hypervisor::{Background, DefaultMap};

use super::*;
use crate::machine::{self, Config};
use crate::replay::dma::watched::Watched;

const GUEST: DomId = DomId(1);
const READ: ElementFlags = ElementFlags::READ;

/// A guest whose device reaches nothing unless it is mapped.
fn config() -> Config {
    Config::one_guest(64).with_background(Background::Fault).with_default_map(DefaultMap::Blocked)
}

/// What the witness finds of a driver with a context and a device in it.
fn found(driver: impl Fn(&IommuClient<&Watched<'_>>, ContextId)) -> Vec<String> {
    let config = config();
    let device = config.devices.first().expect("a device").function;
    machine::run(&config, |bed| {
        let (mmio, sum) = (Spans::default(), Summary::default());
        let witness = Witness::new(bed, GUEST, Background::Fault, mmio, 1, sum);
        let kernel = Watched::new(bed, GUEST, &[0], witness);
        let client = IommuClient::new(&kernel);
        client.init(8, 10).expect("a service");
        let context = client.alloc_context(AllocFlags::empty()).expect("a context");
        client.reattach_device(device, context).expect("it is the guest's");
        driver(&client, context);
        client.reattach_device(device, ContextId::DEFAULT).expect("it is the guest's");
        client.free_context(context, pviommu_abi::FreeFlags::empty()).expect("nobody is in it");
        let witness = kernel.witness.borrow();
        assert!(witness.sum.dma_checked > 0 && witness.sum.faults == 0, "{}", witness.sum);
        assert_eq!(witness.sum.mismatches, witness.sum.findings.len() as u64);
        witness.sum.findings.clone()
    })
}

/// One batch; `add` adds its elements.
fn batch(
    client: &IommuClient<&Watched<'_>>,
    context: ContextId,
    add: impl FnOnce(&mut BatchBuilder<'_>),
) {
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, context);
    add(&mut batch);
    client.submit(&mut batch).expect("a call that is made");
}

fn map(client: &IommuClient<&Watched<'_>>, context: ContextId, bfn: u64, gfn: u64) {
    client.map(context, Bfn(bfn), Gfn(gfn), 1, MapFlags::READABLE).expect("it is free");
}

#[test]
fn a_driver_that_waits_for_the_flush_is_right() {
    let found = found(|client, context| {
        map(client, context, 8, 1);
        batch(client, context, |batch| {
            batch.unmap(Bfn(8), 1, ElementFlags::NO_FLUSH).unwrap();
            batch.flush_all().unwrap();
        });
        map(client, context, 8, 2);
        client.unmap(context, Bfn(8), 1).unwrap();
        map(client, context, 8, 3);
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn bus_frames_that_are_used_again_before_their_flush_are_told() {
    let waiting = found(|client, context| {
        map(client, context, 8, 1);
        batch(client, context, |batch| {
            batch.unmap(Bfn(8), 1, ElementFlags::NO_FLUSH).unwrap();
        });
        map(client, context, 8, 2);
    });
    let in_one_call = found(|client, context| {
        map(client, context, 8, 1);
        batch(client, context, |batch| {
            batch.unmap(Bfn(8), 1, ElementFlags::empty()).unwrap();
            batch.map(Bfn(8), Gfn(2), 1, READ).unwrap();
        });
    });
    for found in [waiting, in_one_call] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found.concat().contains("is mapped again before it was flushed"), "{found:?}");
    }
}

#[test]
fn bus_frames_that_are_mapped_already_are_told() {
    let found = found(|client, context| {
        map(client, context, 8, 1);
        client.map(context, Bfn(8), Gfn(2), 1, MapFlags::READABLE).unwrap_err();
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.concat().contains("is mapped already"), "{found:?}");
}

#[test]
fn what_can_be_reached_no_more_is_told_after_its_flush() {
    machine::run(&config(), |bed| {
        let (mmio, sum) = (Spans::default(), Summary::default());
        let witness = Witness::new(bed, GUEST, Background::Fault, mmio, 1, sum);
        let kernel = Watched::new(bed, GUEST, &[0], witness);
        let client = IommuClient::new(&kernel);
        client.init(8, 10).expect("a service");
        let context = client.alloc_context(AllocFlags::empty()).expect("a context");
        let gone = || std::mem::take(&mut kernel.witness.borrow_mut().gone);
        for bfn in [8, 9] {
            map(&client, context, bfn, 1);
        }
        batch(&client, context, |batch| {
            batch.unmap(Bfn(8), 1, ElementFlags::NO_FLUSH).unwrap();
        });
        assert_eq!(gone(), [], "it may be reached");
        batch(&client, context, |batch| _ = batch.flush_all().unwrap());
        let number = u64::from(context.0);
        assert_eq!(gone(), [(number, Span::of_pages(8, 1))]);
        client.unmap(context, Bfn(9), 1).unwrap();
        assert_eq!(gone(), [(number, Span::of_pages(9, 1))]);
        let counts = kernel.witness.borrow().counts;
        assert_eq!((counts.translations, counts.maps, counts.set_up), (5, 2, 2));
    });
}
