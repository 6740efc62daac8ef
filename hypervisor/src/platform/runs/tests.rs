use core::iter;

use super::*;

fn run(first: u64, pages: u64, kind: PageKind) -> Run {
    let frames = MfnRange::of_pages(Mfn(first), pages).unwrap();
    Run { frames, kind, access: Access::READ }
}

fn list(of: &[Run]) -> Runs {
    let mut runs = Runs::new();
    of.iter().for_each(|run| runs.push(*run).unwrap());
    runs
}

fn told(runs: &Runs) -> Vec<Run> {
    runs.iter().collect()
}

#[test]
fn runs_join_only_when_they_follow_on_and_are_alike() {
    let (ram, mmio) = (PageKind::Ram, PageKind::Mmio);
    let apart = [run(12, 1, ram), run(13, 1, mmio), run(20, 2, mmio), run(22, 1, ram)];
    let mut runs = list(&[run(10, 2, ram)]);
    apart.iter().for_each(|run| runs.push(*run).unwrap());
    runs.push(run(23, 1, ram)).unwrap();
    let joined = [run(10, 3, ram), run(13, 1, mmio), run(20, 2, mmio), run(22, 2, ram)];
    assert_eq!(told(&runs), joined);
    assert_eq!(runs.pages(), 8);
}

#[test]
fn what_holds_for_all_runs_is_known_without_a_look_at_them() {
    let mut runs = Runs::new();
    assert!(runs.all_alike().is_none() && runs.hull().is_none());
    for first in [30, 10, 11, 20] {
        runs.push(run(first, 1, PageKind::Ram)).unwrap();
    }
    assert_eq!(runs.all_alike().map(|all| (all.frames.len(), all.kind)), Some((3, PageKind::Ram)));
    assert_eq!(runs.hull(), MfnRange::new(Mfn(10), Mfn(30)));
    assert_eq!((runs.len(), runs.pages()), (3, 4));
    runs.push(run(21, 1, PageKind::Mmio)).unwrap();
    runs.push(run(5, 1, PageKind::Ram)).unwrap();
    assert!(runs.all_alike().is_none(), "not all are RAM, although the first and the last are");
    assert_eq!(runs.hull(), MfnRange::new(Mfn(5), Mfn(30)));
    runs.clear();
    assert!(runs.all_alike().is_none() && runs.hull().is_none() && runs.pages() == 0);
    runs.push(run(1, 1, PageKind::Ram)).unwrap();
    assert!(runs.all_alike().is_some());
    runs.push(Run { access: Access::WRITE, ..run(2, 1, PageKind::Ram) }).unwrap();
    assert!(runs.all_alike().is_none(), "nor may all be written");
}

#[test]
fn frame_0_does_not_follow_on_the_last_that_there_is() {
    let mut runs = list(&[run(u64::MAX, 1, PageKind::Ram), run(0, 1, PageKind::Ram)]);
    assert_eq!(runs.push_each(PageKind::Ram, Access::READ, [Mfn(u64::MAX), Mfn(0), Mfn(1)]), 3);
    let frames: Vec<_> =
        runs.iter().map(|run| (run.frames.first().0, run.frames.pages())).collect();
    assert_eq!(frames, [(u64::MAX, 1), (0, 1), (u64::MAX, 1), (0, 2)]);
}

#[test]
fn what_is_said_of_a_run_comes_back_as_it_was() {
    let handles = [0, 1, u64::MAX].map(ForeignHandle).map(PageKind::Foreign);
    let kinds = [PageKind::Ram, PageKind::Mmio].into_iter().chain(handles);
    for kind in kinds {
        for access in [Access::READ, Access::WRITE, Access::all(), Access::empty()] {
            let run = Run { access, ..run(7, 2, kind) };
            let runs = list(&[run, Run { frames: MfnRange::single(Mfn(1)), ..run }]);
            let all = runs.all_alike().unwrap();
            assert_eq!((runs.first(), all.kind, all.access), (Some(run), kind, access));
            let other = list(&[Run { kind: PageKind::Foreign(ForeignHandle(9)), ..run }, run]);
            assert_eq!(told(&other).last(), Some(&run));
        }
    }
}

#[test]
fn a_mixed_list_is_told_in_pieces_that_are_alike() {
    let (ram, mmio) = (PageKind::Ram, PageKind::Mmio);
    let all = [run(1, 1, ram), run(5, 1, ram), run(9, 1, mmio), run(3, 1, ram), run(7, 1, ram)];
    let runs = list(&all);
    let mut pieces = Vec::new();
    while let Some(piece) = runs.alike_from(pieces.iter().map(|(_, len)| len).sum()) {
        pieces.push((piece.kind, piece.frames.len()));
    }
    assert_eq!(pieces, [(ram, 2), (mmio, 1), (ram, 2)]);
    assert_eq!(told(&runs), all);
}

#[test]
fn a_full_list_refuses_and_keeps_what_it_has() {
    for kinds in [[PageKind::Ram; 2], [PageKind::Ram, PageKind::Mmio]] {
        let mut runs = Runs::new();
        for (i, kind) in (0..MAX_RUNS as u64).zip(kinds.iter().cycle()) {
            runs.push(run(i * 2, 1, *kind)).unwrap();
        }
        assert_eq!(runs.push(run(10_000, 1, kinds[1])), Err(RunsFull));
        assert_eq!(runs.pages(), MAX_RUNS as u64);
        // It follows on the last.
        runs.push(run(MAX_RUNS as u64 * 2 - 1, 1, kinds[1])).unwrap();
        assert_eq!((told(&runs).len(), runs.pages()), (MAX_RUNS, MAX_RUNS as u64 + 1));
    }
}

/// Whatever was in the list before, frames that are pushed at once are as if they came one by one, and none is
/// asked for that does not fit.
#[test]
fn frames_are_pushed_at_once_as_one_by_one() {
    let (ram, mmio) = (PageKind::Ram, PageKind::Mmio);
    let befores = [
        vec![],
        vec![run(9, 1, ram)],
        vec![run(9, 1, mmio)],
        vec![run(1, 1, mmio), run(9, 1, ram)],
        vec![Run { access: Access::WRITE, ..run(9, 1, ram) }],
    ];
    for before in befores {
        for step in [1, 2] {
            for count in [0, 1, 3, MAX_RUNS as u64 * 2] {
                let (mut one_by_one, mut at_once) = (list(&before), list(&before));
                let (mut asked, mut ended) = (0, 0);
                let told_of = iter::from_fn(|| {
                    let told = (asked < count).then_some(Mfn(10 + asked * step));
                    (asked, ended) =
                        (asked + u64::from(told.is_some()), ended + u64::from(told.is_none()));
                    told
                });
                let pushed = at_once.push_each(ram, Access::READ, told_of);
                assert!(ended <= 1, "asked again after the end");
                let more = (0..pushed).map(|n| run(10 + n * step, 1, ram));
                more.for_each(|run| one_by_one.push(run).unwrap());
                assert_eq!(told(&at_once), told(&one_by_one));
                let sums = |runs: &Runs| (runs.pages(), runs.hull(), runs.is_full());
                assert_eq!(sums(&at_once), sums(&one_by_one));
                assert_eq!(asked, pushed, "one that was asked for was not taken");
                assert!(pushed == count || at_once.is_full());
            }
        }
    }
}
