//! Pages in, bus frames out.

use pviommu_abi::{Bfn, Errno, Gfn, MapFlags};
use pviommu_guest::{BfnError, Error, MapError, SpaceError};

use crate::machine::{REACH_32, machine, space};

const READ: MapFlags = MapFlags::READABLE;

fn entries() -> Vec<(u64, u64)> {
    machine(|machine| machine.entries.iter().map(|(bfn, (gfn, _))| (bfn.0, gfn.0)).collect())
}

#[test]
fn frames_that_follow_each_other_are_one_call() {
    let mut space = space(REACH_32).unwrap();
    let frames = [7, 8, 9, 3, 4, 100].map(Gfn);
    let bfn = space.map(6, READ, |page| Some(frames[page as usize])).unwrap();
    assert_eq!(bfn, Bfn(0xf_fffa));
    let expected: Vec<_> = (0xf_fffa..).zip(frames.map(|gfn| gfn.0)).collect();
    assert_eq!(entries(), expected);
    assert_eq!(machine(|machine| machine.maps), 3);

    space.unmap(bfn, 6).unwrap();
    assert_eq!(entries(), []);
    assert_eq!(machine(|machine| machine.unmaps), 1);
    assert_eq!(space.map(6, READ, |page| Some(Gfn(page.into()))), Ok(bfn), "they are free again");
}

#[test]
fn only_whole_frames_within_reach_are_handed_out() {
    for (reach, last) in [
        (REACH_32, 0xf_ffff),
        (REACH_32 - 1, 0xf_fffe),
        (0xffff_f000, 0xf_fffe),
        (0x1fff, 1),
        (u64::MAX, (1 << 36) - 1),
    ] {
        let mut space = space(reach).unwrap();
        assert_eq!(space.map(1, READ, |_| Some(Gfn(5))), Ok(Bfn(last)), "{reach:#x}");
        space.unmap(Bfn(last), 1).unwrap();
    }
    // Bus frame 0 is no bus frame.
    for reach in [0, 0xffe, 0xfff, 0x1ffe] {
        assert_eq!(space(reach).unwrap_err(), SpaceError::OutOfReach { reach });
    }
    machine(|machine| machine.aperture = Some((Bfn(0x1000), Bfn(0x1003))));
    assert_eq!(space(0xff_ffff).unwrap_err(), SpaceError::OutOfReach { reach: 0xff_ffff });
    assert_eq!(space(REACH_32).unwrap().free_pages(), 4);
}

#[test]
fn what_the_context_reserves_is_never_used() {
    machine(|machine| {
        machine.aperture = Some((Bfn(0xfee00 - 2), Bfn(0xfeeff + 3)));
        machine.reserved = vec![(Bfn(0xfeeff + 1), Bfn(0xfeeff + 2))];
    });
    let mut space = space(REACH_32).unwrap();
    let got: Vec<_> = (0..3).map(|_| space.map(1, READ, |_| Some(Gfn(5)))).collect();
    assert_eq!(got, [0xfef02, 0xfedff, 0xfedfe].map(|bfn| Ok(Bfn(bfn))));
    assert!(matches!(space.map(1, READ, |_| Some(Gfn(5))), Err(SpaceError::Bfns(_))));

    // A device that comes later may reserve what is in use.
    machine(|machine| machine.reserved.insert(0, (Bfn(0xfedfe), Bfn(0xfedfe))));
    let in_use = BfnError::InUse { first: Bfn(0xfedfe), last: Bfn(0xfedfe) };
    assert_eq!(space.update_reserved(), Err(in_use.into()));
    space.unmap(Bfn(0xfedfe), 1).unwrap();
    space.update_reserved().unwrap();
    assert!(space.map(1, READ, |_| Some(Gfn(5))).is_err());
}

#[test]
fn with_v7_alone_the_aperture_is_what_it_tells() {
    machine(|machine| machine.v7 = true);
    let mut space = space(u64::MAX).unwrap();
    assert_eq!(space.map(2, READ, |_| Some(Gfn(5))), Ok(Bfn((1 << 27) - 2)));
}

#[test]
fn reserved_ranges_that_are_not_told_are_an_error() {
    machine(|machine| machine.reserved = vec![(Bfn(1), Bfn(1)); 65]);
    let Err(SpaceError::Reserved(error)) = space(REACH_32) else { panic!("made without them") };
    assert_eq!(error.needed, 65);
}

#[test]
fn a_map_that_fails_leaves_nothing() {
    let mut space = space(REACH_32).unwrap();
    let free = space.free_pages();
    machine(|machine| machine.bad_frame = Some((Gfn(103), Errno::EPERM)));
    let frame = |page: u32| Some(Gfn(u64::from(page) + if page < 2 { 40 } else { 100 }));
    let refused = MapError { done: 1, cause: Error::Refused(Errno::EPERM) };
    assert_eq!(space.map(5, READ, frame), Err(SpaceError::Map(refused)));
    assert_eq!((entries(), space.free_pages()), (vec![], free));

    let hole = |page: u32| (page != 2).then_some(Gfn(9));
    assert_eq!(space.map(4, READ, hole), Err(SpaceError::NoFrame { page: 2 }));
    assert_eq!((entries(), space.free_pages()), (vec![], free));
}

#[test]
fn what_somebody_else_mapped_stays() {
    let mut space = space(REACH_32).unwrap();
    machine(|machine| machine.entries.insert(Bfn(0xf_fffe), (Gfn(7), READ)));
    let in_use = MapError { done: 2, cause: Error::Refused(Errno::EADDRINUSE) };
    let outcome = space.map(4, READ, |page| Some(Gfn(u64::from(page) + 20)));
    assert_eq!(outcome, Err(SpaceError::Map(in_use)));
    assert_eq!(entries(), [(0xf_fffe, 7)]);
}

#[test]
fn what_is_still_mapped_is_never_given_to_anybody_else() {
    let mut space = space(REACH_32).unwrap();
    let bfn = space.map(2, READ, |page| Some(Gfn(page.into()))).unwrap();
    machine(|machine| machine.unmap_fails = Some(Errno::EIO));
    let failed = MapError { done: 0, cause: Error::Failed(Errno::EIO) };
    assert_eq!(space.unmap(bfn, 2), Err(SpaceError::StillMapped(failed)));
    assert_ne!(space.map(2, READ, |page| Some(Gfn(page.into()))), Ok(bfn));

    // Nor if it is what a map that failed could not take back.
    machine(|machine| machine.bad_frame = Some((Gfn(8), Errno::EPERM)));
    let free = space.free_pages();
    let outcome = space.map(2, READ, |page| Some(Gfn(7 + u64::from(page))));
    assert_eq!(outcome, Err(SpaceError::StillMapped(failed)));
    assert_eq!(space.free_pages(), free - 2);

    machine(|machine| machine.unmap_fails = None);
    assert_eq!(space.unmap(bfn, 2), Ok(()), "tried again");
}

#[test]
fn only_what_was_mapped_is_unmapped() {
    let mut space = space(REACH_32).unwrap();
    let bfn = space.map(4, READ, |page| Some(Gfn(page.into()))).unwrap();
    for (first, pages) in [(bfn, 3), (bfn, 5), (bfn, 0), (Bfn(bfn.0 + 1), 3), (Bfn(0xfee00), 256)] {
        let wrong = BfnError::NotAllocated { first, pages: pages.into() };
        assert_eq!(space.unmap(first, pages), Err(wrong.into()));
    }
    assert_eq!(machine(|machine| machine.unmaps), 0);
    assert_eq!(entries().len(), 4);
}

#[test]
fn calls_to_be_issued_again_go_on_where_they_were() {
    let mut space = space(REACH_32).unwrap();
    machine(|machine| machine.retries = 3);
    let bfn = space.map(6, READ, |page| Some(Gfn(50 + u64::from(page)))).unwrap();
    let expected: Vec<_> = (bfn.0..).zip(50..56).collect();
    assert_eq!(entries(), expected);
    machine(|machine| machine.retries = 3);
    space.unmap(bfn, 6).unwrap();
    assert_eq!(entries(), []);

    machine(|machine| machine.retries = u32::MAX);
    let outcome = space.map(5000, READ, |page| Some(Gfn(page.into())));
    let again = MapError { done: 1001, cause: Error::Retry(Errno::EAGAIN) };
    assert_eq!(outcome, Err(SpaceError::Map(again)), "not for ever");
    assert_eq!(entries(), []);
}
