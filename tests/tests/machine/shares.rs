//! Pages that domains share: what pins them, what is refused, and what of it is told as wrong.

use pviommu_abi::{DomId, Errno, Gfn};
use pviommu_hypervisor::{
    addr::{GfnRange, Mfn, MfnRange},
    platform::{Access, AcquireError, ForeignHandle, PageKind, PageOwnership, Run, Runs, Wanted},
};
use pviommu_testbed::machine::{Bed, Config, DomainConfig, FrameKind, Platform, Reach, Violation};

use crate::run;

const GRANTER: DomId = DomId(1);
const TAKER: DomId = DomId(2);

fn with_two(body: impl FnOnce(&Bed<'_>, Platform<'_>)) {
    let mut config = Config::one_guest(16);
    let ram = config.domains[0].ram.clone();
    config.domains.push(DomainConfig { id: TAKER, ram, ..DomainConfig::default() });
    run(&config, |bed| body(bed, Platform::new(bed.board(), &[])));
}

fn acquire(
    platform: Platform<'_>,
    wanted: Wanted,
    access: Access,
) -> Result<Vec<Run>, AcquireError> {
    let mut runs = Runs::new();
    platform.acquire(TAKER, wanted, access, &mut runs).map(|()| runs.iter().collect())
}

fn granted(reference: u64) -> Wanted {
    Wanted::Grant { granter: GRANTER, reference }
}

fn pages(owner: DomId, first: u64, pages: u64) -> Wanted {
    Wanted::Guest { owner, gfns: GfnRange::of_pages(Gfn(first), pages).unwrap() }
}

fn frame(bed: &Bed<'_>, gfn: u64) -> Mfn {
    bed.board().machine_frame(GRANTER, Gfn(gfn)).unwrap()
}

fn reach(bed: &Bed<'_>, frame: Mfn) -> Reach {
    bed.board().memory().reach(frame)
}

#[test]
fn a_grant_is_pinned_as_often_as_it_is_acquired_and_does_not_end_meanwhile() {
    with_two(|bed, platform| {
        let reference = bed.grant(GRANTER, Gfn(3), TAKER, false);
        assert_eq!(reach(bed, frame(bed, 3)), Reach::NotHeld);
        let first = acquire(platform, granted(reference), Access::all()).unwrap();
        let second = acquire(platform, granted(reference), Access::READ).unwrap();
        assert_eq!(first[0].frames, MfnRange::single(frame(bed, 3)));
        assert!(matches!(first[0].kind, PageKind::Foreign(_)));
        assert_eq!(bed.board().grant_pins(GRANTER, reference), 2);
        assert_eq!(reach(bed, frame(bed, 3)), Reach::Held);
        assert_eq!(bed.counters().references_live, 2);
        for run in [first[0], second[0]] {
            assert_eq!(bed.end_grant(GRANTER, reference), Err(Errno::EBUSY));
            platform.release(TAKER, &run);
        }
        assert_eq!(reach(bed, frame(bed, 3)), Reach::NotHeld);
        assert_eq!(bed.end_grant(GRANTER, reference), Ok(()));
        let gone = acquire(platform, granted(reference), Access::READ);
        assert_eq!(gone, Err(AcquireError::NotBacked));
        bed.assert_clean();
    });
}

/// INV-26.
#[test]
fn a_grant_is_for_one_domain_and_may_be_to_read_only() {
    with_two(|bed, platform| {
        let board = bed.board();
        let reading = bed.grant(GRANTER, Gfn(3), TAKER, true);
        let refused = Err(AcquireError::NotPermitted);
        assert_eq!(acquire(platform, granted(reading), Access::all()), refused);
        assert_eq!(acquire(platform, granted(reading), Access::WRITE), refused);
        let runs = acquire(platform, granted(reading), Access::READ).unwrap();
        platform.release(TAKER, &runs[0]);

        let others = bed.grant(GRANTER, Gfn(3), DomId(7), false);
        assert_eq!(acquire(platform, granted(others), Access::READ), refused);
        bed.close_grant(GRANTER, reading).unwrap();
        assert_eq!(acquire(platform, granted(reading), Access::READ), refused);
        assert_eq!(
            acquire(platform, granted(u64::MAX), Access::READ),
            Err(AcquireError::NotBacked)
        );

        board.set_page_kind(GRANTER, Gfn(5), FrameKind::GuestTable).unwrap();
        let table = bed.grant(GRANTER, Gfn(5), TAKER, false);
        assert_eq!(acquire(platform, granted(table), Access::WRITE), refused);
        bed.assert_clean();
    });
}

#[test]
fn a_foreign_mapping_is_acquired_page_by_page_under_its_own_handle() {
    with_two(|bed, platform| {
        bed.map_foreign(TAKER, Gfn(0x100), (GRANTER, Gfn(3)), false).unwrap();
        bed.map_foreign(TAKER, Gfn(0x101), (GRANTER, Gfn(3)), true).unwrap();
        assert_eq!(bed.map_foreign(TAKER, Gfn(0x101), (GRANTER, Gfn(4)), true), Err(Errno::EEXIST));
        let runs = acquire(platform, pages(TAKER, 0x100, 2), Access::READ).unwrap();
        let kinds: Vec<PageKind> = runs.iter().map(|run| run.kind).collect();
        assert!(matches!(kinds[..], [PageKind::Foreign(a), PageKind::Foreign(b)] if a != b));
        assert!(runs.iter().all(|run| run.frames == MfnRange::single(frame(bed, 3))));
        assert_eq!(bed.unmap_foreign(TAKER, Gfn(0x100)), Err(Errno::EBUSY));
        assert_eq!(bed.board().foreign_pins(TAKER, Gfn(0x100)), 1);

        let mut some = Runs::new();
        let both = platform.acquire(TAKER, pages(TAKER, 0x100, 2), Access::WRITE, &mut some);
        assert_eq!((both, some.pages()), (Err(AcquireError::NotPermitted), 1), "INV-26");
        runs.into_iter().chain(some.iter()).for_each(|run| platform.release(TAKER, &run));
        for gfn in [0x100, 0x101] {
            assert_eq!(bed.unmap_foreign(TAKER, Gfn(gfn)), Ok(()));
        }
        let hole = acquire(platform, pages(TAKER, 0x100, 1), Access::READ);
        assert_eq!(hole, Err(AcquireError::NotBacked));
        bed.assert_clean();
    });
}

#[test]
fn a_page_stays_while_another_domain_maps_or_pins_it() {
    with_two(|bed, platform| {
        let (mapped, pinned) = (frame(bed, 3), frame(bed, 4));
        bed.map_foreign(TAKER, Gfn(0x100), (GRANTER, Gfn(3)), false).unwrap();
        let reference = bed.grant(GRANTER, Gfn(4), TAKER, false);
        let runs = acquire(platform, granted(reference), Access::all()).unwrap();
        for gfn in [3, 4] {
            bed.balloon_out(GRANTER, Gfn(gfn)).unwrap();
        }
        let free = |frame| bed.board().memory().frames.info(frame).unwrap().kind == FrameKind::Free;
        assert_eq!((free(mapped), free(pinned)), (false, false));
        bed.unmap_foreign(TAKER, Gfn(0x100)).unwrap();
        // Pinned once more it is the page that it was.
        bed.populate(GRANTER, Gfn(4)).unwrap();
        let again = acquire(platform, granted(reference), Access::all()).unwrap();
        assert_eq!(again, runs);
        runs.iter().chain(&again).for_each(|run| platform.release(TAKER, run));
        assert_eq!((free(mapped), free(pinned)), (true, true));
        let fresh = acquire(platform, granted(reference), Access::all()).unwrap();
        assert_eq!(fresh[0].frames.first(), frame(bed, 4));
        platform.release(TAKER, &fresh[0]);
        bed.assert_clean();
    });
}

/// INV-21.
#[test]
fn what_is_not_pinned_or_is_another_page_is_told() {
    with_two(|bed, platform| {
        let reference = bed.grant(GRANTER, Gfn(3), TAKER, false);
        let run = acquire(platform, granted(reference), Access::all()).unwrap()[0];
        let PageKind::Foreign(handle) = run.kind else { unreachable!("a grant is foreign") };
        let elsewhere = Run { frames: MfnRange::single(frame(bed, 4)), ..run };
        let nobodys = Run { kind: PageKind::Foreign(ForeignHandle(99)), ..run };
        platform.release(TAKER, &elsewhere);
        platform.release(TAKER, &nobodys);
        platform.release(GRANTER, &run);
        platform.release(TAKER, &run);
        platform.release(TAKER, &run);
        let bad = |domain, handle, frame| Violation::BadForeign { domain, handle, frame };
        let expected = [
            bad(TAKER, handle, frame(bed, 4)),
            bad(TAKER, ForeignHandle(99), frame(bed, 3)),
            bad(GRANTER, handle, frame(bed, 3)),
            bad(TAKER, handle, frame(bed, 3)),
        ];
        assert_eq!(bed.violations(), expected);
    });
}

#[test]
fn pages_acquired_for_their_owner_are_given_back_by_who_took_them() {
    with_two(|bed, platform| {
        let runs = acquire(platform, pages(GRANTER, 2, 3), Access::all()).unwrap();
        assert_eq!(runs.iter().map(|run| run.frames.pages()).sum::<u64>(), 3);
        assert_eq!(runs[0].kind, PageKind::Ram);
        assert_eq!(bed.board().references(GRANTER, Gfn(2)), 1);
        runs.iter().for_each(|run| platform.release(TAKER, run));
        bed.assert_clean();
        platform.release(TAKER, &runs[0]);
        let (domain, frame) = (TAKER, frame(bed, 2));
        assert_eq!(bed.violations(), [Violation::ReleaseWithoutReference { domain, frame }]);
    });
}
