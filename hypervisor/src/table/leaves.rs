//! Runs of leaves of one size in a table that the caller may write: each maps the frames after those of the one before.
//!
//! Entries are looked at eight at a time, with one branch for all of them, and then written: that
//! is twice as fast as one by one. What is left of a run is done one by one.

use crate::{
    addr::{Mfn, MfnRange},
    format::Format,
    sync::{AtomicU64, Ordering},
};

/// Stores the run that starts with `raw`, of leaves of `size` frames, up to the first entry that is not `vacant`; how many.
#[inline]
pub(crate) fn store_run<F: Format>(
    entries: &[AtomicU64],
    raw: u64,
    size: u64,
    vacant: u64,
) -> usize {
    let step = F::NEXT_FRAME.wrapping_mul(size);
    let eight = |at: &[_; 8], raw| store_all_or_none::<8>(at, raw, step, vacant);
    by_eights(entries, raw, step, eight, |at, raw| store_all_or_none::<1>(at, raw, step, vacant))
}

/// Stores the run that starts with `raw`, of leaves of `size` frames, in all entries, whatever they say; how many.
#[inline]
pub(crate) fn store_all<F: Format>(entries: &[AtomicU64], raw: u64, size: u64) -> usize {
    store_each(entries, raw, F::NEXT_FRAME.wrapping_mul(size));
    entries.len()
}

/// Stores words from `raw` on, `step` apart.
#[inline]
fn store_each(entries: &[AtomicU64], raw: u64, step: u64) {
    let mut next = raw;
    for entry in entries {
        entry.store(next, Ordering::Release);
        next = next.wrapping_add(step);
    }
}

/// Stores the leaves of `runs` of one frame each, as `word` says, up to the first that has more or whose entry is not
/// `vacant`; how many.
#[inline]
pub(crate) fn store_scattered(
    entries: &[AtomicU64],
    runs: &[MfnRange],
    vacant: u64,
    word: impl Fn(Mfn) -> u64,
) -> usize {
    let (mut entries, mut runs) = (entries, runs);
    let before = runs.len();
    while let Some((some, entries_after)) = entries.split_first_chunk::<8>()
        && let Some((singles, runs_after)) = runs.split_first_chunk::<8>()
        && store_singles_or_none(some, singles, vacant, &word)
    {
        (entries, runs) = (entries_after, runs_after);
    }
    while let Some((one, entries_after)) = entries.split_first_chunk::<1>()
        && let Some((single, runs_after)) = runs.split_first_chunk::<1>()
        && store_singles_or_none(one, single, vacant, &word)
    {
        (entries, runs) = (entries_after, runs_after);
    }
    before.saturating_sub(runs.len())
}

/// Stores the leaves of `runs` if each has one frame and every entry is `vacant`.
#[inline]
fn store_singles_or_none<const N: usize>(
    entries: &[AtomicU64; N],
    runs: &[MfnRange; N],
    vacant: u64,
    word: impl Fn(Mfn) -> u64,
) -> bool {
    let mut differences = 0;
    for (entry, run) in entries.iter().zip(runs) {
        differences |= entry.load(Ordering::Relaxed) ^ vacant;
        differences |= run.first().0 ^ run.last().0;
    }
    let as_usual = differences == 0;
    if as_usual {
        for (entry, run) in entries.iter().zip(runs) {
            entry.store(word(run.first()), Ordering::Release);
        }
    }
    as_usual
}

/// Makes the rest of the run of small leaves that starts with `raw` vacant, up to the first entry that does not
/// belong to it; how many.
pub(crate) fn clear_rest<F: Format>(entries: &[AtomicU64], raw: u64, vacant: u64) -> usize {
    let next = nth_leaf::<F>(raw, 1);
    let step = F::NEXT_FRAME;
    let eight = |at: &[_; 8], raw| clear_all_or_none::<8>(at, raw, step, vacant);
    by_eights(entries, next, step, eight, |at, raw| clear_all_or_none::<1>(at, raw, step, vacant))
}

/// Has `eight` and then `one` work along the run that starts with `raw`, where words are `step` apart; how far they got.
#[inline]
fn by_eights(
    entries: &[AtomicU64],
    raw: u64,
    step: u64,
    eight: impl Fn(&[AtomicU64; 8], u64) -> bool,
    one: impl Fn(&[AtomicU64; 1], u64) -> bool,
) -> usize {
    let (mut entries, mut raw) = (entries, raw);
    let before = entries.len();
    while let Some((some, after)) = entries.split_first_chunk()
        && eight(some, raw)
    {
        (entries, raw) = (after, nth_word(raw, step, some.len()));
    }
    while let Some((some, after)) = entries.split_first_chunk()
        && one(some, raw)
    {
        (entries, raw) = (after, nth_word(raw, step, some.len()));
    }
    before.saturating_sub(entries.len())
}

/// Stores leaves from `raw` on if every entry is `vacant`.
#[inline]
fn store_all_or_none<const N: usize>(
    entries: &[AtomicU64; N],
    raw: u64,
    step: u64,
    vacant: u64,
) -> bool {
    // No `any`, which branches at each, and no comparison at each, which takes twice as long.
    let mut differences = 0;
    for entry in entries {
        differences |= entry.load(Ordering::Relaxed) ^ vacant;
    }
    let occupied = differences != 0;
    if !occupied {
        store_each(entries, raw, step);
    }
    !occupied
}

/// Makes the entries `vacant` if they are leaves from `raw` on.
#[inline]
fn clear_all_or_none<const N: usize>(
    entries: &[AtomicU64; N],
    raw: u64,
    step: u64,
    vacant: u64,
) -> bool {
    let (mut differences, mut expected) = (0, raw);
    for entry in entries {
        differences |= entry.load(Ordering::Relaxed) ^ expected;
        expected = expected.wrapping_add(step);
    }
    let alike = differences == 0;
    if alike {
        for entry in entries {
            entry.store(vacant, Ordering::Release);
        }
    }
    alike
}

/// The word `n` after `raw`, where they are `step` apart.
#[inline]
fn nth_word(raw: u64, step: u64, n: usize) -> u64 {
    raw.wrapping_add(step.wrapping_mul(u64::try_from(n).unwrap_or(0)))
}

/// The small leaf `n` after `raw` in a run.
#[inline]
pub(crate) fn nth_leaf<F: Format>(raw: u64, n: usize) -> u64 {
    leaf_after::<F>(raw, u64::try_from(n).unwrap_or(0))
}

/// The leaf that is as `raw` but for its frame, which is `frames` more; modulo 2^64, so less too. Both frames are ones
/// that units put out.
#[inline]
pub(crate) fn leaf_after<F: Format>(raw: u64, frames: u64) -> u64 {
    raw.wrapping_add(F::NEXT_FRAME.wrapping_mul(frames))
}

#[cfg(all(test, feature = "vtd"))]
mod tests {
    use super::*;
    use crate::format::VtdSecondStage as Vtd;

    const FIRST: u64 = 0x1000_0003;
    const OTHER: u64 = 0x7777_0003;
    const SCRATCH: u64 = 0x5555_0003;

    /// What is written is what comes before the entry in the way, wherever that is.
    #[test]
    fn runs_of_every_length_end_at_what_is_in_the_way() {
        for vacant in [Vtd::EMPTY, SCRATCH] {
            let run = (0..).map(|n| nth_leaf::<Vtd>(FIRST, n));
            for end in 0..20 {
                let after = [OTHER, vacant, vacant];
                let before: Vec<_> = std::iter::repeat_n(vacant, end).chain(after).collect();
                let stored: Vec<_> = run.clone().take(end).chain(after).collect();
                let entries: Vec<_> = before.iter().map(|word| AtomicU64::new(*word)).collect();
                let words =
                    || entries.iter().map(|e| e.load(Ordering::Relaxed)).collect::<Vec<_>>();

                assert_eq!(store_run::<Vtd>(&entries, FIRST, 1, vacant), end);
                assert_eq!(words(), stored);
                assert_eq!(clear_rest::<Vtd>(&entries, FIRST - Vtd::NEXT_FRAME, vacant), end);
                assert_eq!(words(), before);
            }
        }
    }

    /// What is in the way, an entry or a run that is longer, ends it wherever it is.
    #[test]
    fn scattered_pages_are_stored_up_to_what_is_in_the_way() {
        let word = |frame: Mfn| nth_leaf::<Vtd>(FIRST, frame.0 as usize);
        let load = |entry: &AtomicU64| entry.load(Ordering::Relaxed);
        for vacant in [Vtd::EMPTY, SCRATCH] {
            for length in 0..20 {
                let frames: Vec<u64> = (0..length).map(|n| n * 7 % 20).collect();
                let singles: Vec<_> = frames.iter().map(|n| MfnRange::single(Mfn(*n))).collect();
                let words: Vec<_> = frames.iter().map(|n| word(Mfn(*n))).collect();
                for end in 0..=singles.len() {
                    let (before, after) = (words.split_at(end).0, singles.len() - end);
                    let rest = std::iter::repeat_n(vacant, after);
                    let mut found: Vec<_> = std::iter::repeat_n(vacant, singles.len()).collect();
                    let entries = || found.iter().map(|word| AtomicU64::new(*word)).collect();
                    let mut runs = singles.clone();
                    if let Some(run) = runs.get_mut(end) {
                        *run = run.union(MfnRange::single(Mfn(run.first().0 + 1)));
                    }
                    let longer: Vec<AtomicU64> = entries();
                    assert_eq!(store_scattered(&longer, &runs, vacant, word), end);
                    // All of those after it are longer, too.
                    for run in runs.iter_mut().skip(end + 1) {
                        *run = run.union(MfnRange::single(Mfn(run.first().0 + 1)));
                    }
                    assert_eq!(store_scattered(&entries(), &runs, vacant, word), end);
                    let stored: Vec<_> = before.iter().copied().chain(rest.clone()).collect();
                    assert_eq!(longer.iter().map(load).collect::<Vec<_>>(), stored);

                    found.iter_mut().skip(end).take(1).for_each(|word| *word = OTHER);
                    let occupied: Vec<_> = found.iter().map(|word| AtomicU64::new(*word)).collect();
                    assert_eq!(store_scattered(&occupied, &singles, vacant, word), end);
                    let rest = std::iter::once(OTHER).chain(rest).take(after);
                    let stored: Vec<_> = before.iter().copied().chain(rest).collect();
                    assert_eq!(occupied.iter().map(load).collect::<Vec<_>>(), stored);
                }
            }
        }
    }
}
