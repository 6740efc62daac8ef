//! Reserved ranges put together: those of one device from several sources, or those of the members
//! of a group.

use core::fmt;

use pviommu_abi::Bfn;

use super::Window;
use crate::{
    addr::{BfnRange, PAGE_SHIFT},
    platform::Access,
    reserved::MAX_RESERVED,
    reserved::{Reserved, ReservedKind},
};

/// Most reserved ranges of one device, and of one context.
pub const MAX_RANGES: usize = MAX_RESERVED;

/// Room for the reserved ranges of one device or group.
pub type RangeList = heapless::Vec<Reserved, MAX_RANGES>;

/// The last bus frame that a 64-bit bus address is in.
const LAST_FRAME: Bfn = Bfn(u64::MAX >> PAGE_SHIFT);

/// There are more than [`MAX_RANGES`] reserved ranges, even after merging: no context could take the
/// device in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRanges;

impl fmt::Display for TooManyRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MAX_RANGES} reserved ranges are left after merging")
    }
}

impl core::error::Error for TooManyRanges {}

/// The bus frames that have a byte of `window`; `None` if it is empty, as that of a bridge that
/// forwards nothing is.
#[must_use]
pub fn frames_of(window: Window) -> Option<BfnRange> {
    let frame = |byte: u64| Bfn(byte >> PAGE_SHIFT);
    BfnRange::new(frame(window.first), frame(window.last)).filter(|_| window.first <= window.last)
}

/// Puts the union of `ranges` into `out`, in ascending order of the first frame, and nothing else.
/// Neither the order of `ranges` nor how often one of them comes changes it, and what comes out
/// stays as it is if it is merged again.
///
/// * What overlaps or touches becomes one range if it is of one kind; different kinds stay apart. Of
///   direct ranges, which several devices share only if they mean exactly the same, those with the
///   same access become one, and only if they overlap.
/// * If writes to some range are interrupts ([`ReservedKind::Msi`]), no window is told to choose a
///   doorbell in ([`ReservedKind::SoftwareMsi`]): the hardware's own doorbell is the one to use.
/// * Only direct ranges have an access.
/// * Frames without a 64-bit address are left out.
///
/// # Errors
/// [`TooManyRanges`], and then `out` is empty.
pub fn merge(
    ranges: impl Iterator<Item = Reserved> + Clone,
    out: &mut RangeList,
) -> Result<(), TooManyRanges> {
    out.clear();
    let all = ranges.filter_map(canonical);
    let real = all.clone().any(|range| range.kind == ReservedKind::Msi);
    let wanted = all.filter(|range| !(real && range.kind == ReservedKind::SoftwareMsi));
    // Few, and no room to sort them in: the next one is searched for each time.
    while let Some(next) =
        wanted.clone().filter(|range| !out.iter().any(|it| holds(it, range))).min_by_key(key)
    {
        if out.push(grown(next, &wanted)).is_err() {
            out.clear();
            return Err(TooManyRanges);
        }
    }
    Ok(())
}

/// The range as it is compared: of frames that exist, and without an access that means nothing.
fn canonical(range: Reserved) -> Option<Reserved> {
    let access = if is_direct(range.kind) { range.access } else { Access::empty() };
    let (first, last) = (range.range.first(), range.range.last().min(LAST_FRAME));
    let frames = BfnRange::new(first, last)?;
    Some(Reserved { range: frames, access, ..range })
}

/// `range` with everything that belongs to it. No other one of its kind begins before it, but for
/// those that do not reach it.
fn grown(range: Reserved, all: &(impl Iterator<Item = Reserved> + Clone)) -> Reserved {
    let mut whole = range;
    loop {
        let near = all.clone().filter(|other| belong_together(&whole, other));
        let last = near.map(|other| other.range.last()).max().unwrap_or(whole.range.last());
        if last <= whole.range.last() {
            return whole;
        }
        let frames = BfnRange::new(whole.range.first(), last);
        whole.range = frames.unwrap_or(whole.range);
    }
}

/// True if `other`, which does not begin before `range`, is one range with it.
fn belong_together(range: &Reserved, other: &Reserved) -> bool {
    let same = range.kind == other.kind && range.access == other.access;
    let reach = if range.kind == ReservedKind::Direct { 0 } else { 1 };
    let end = range.range.last().0.saturating_add(reach);
    same && range.range.first() <= other.range.first() && other.range.first().0 <= end
}

/// True if `range` is a part of `whole`.
fn holds(whole: &Reserved, range: &Reserved) -> bool {
    let same = whole.kind == range.kind && whole.access == range.access;
    same && whole.range.first() <= range.range.first() && range.range.last() <= whole.range.last()
}

/// True for the kinds whose access means something.
fn is_direct(kind: ReservedKind) -> bool {
    matches!(kind, ReservedKind::Direct | ReservedKind::DirectRelaxable)
}

/// What the ranges are told in order of.
fn key(range: &Reserved) -> (Bfn, u8, u8) {
    let kind = match range.kind {
        ReservedKind::Direct => 0,
        ReservedKind::DirectRelaxable => 1,
        ReservedKind::Reserved => 2,
        ReservedKind::Msi => 3,
        ReservedKind::SoftwareMsi => 4,
        ReservedKind::BridgeWindow => 5,
    };
    (range.range.first(), kind, range.access.bits())
}

#[cfg(test)]
mod tests;
