//! What drivers asked the DMA API for, asked again of the guest driver's.

mod broken;
mod corners;
mod shares;
mod targets;
mod ways;

use std::num::NonZeroUsize;

use pviommu_testbed::replay::{Level, Mode, Options, Summary, run};

use crate::text::{HEADER, trace};

/// The level of the DMA API in one mode, otherwise as plain as can be.
pub(crate) fn in_mode(mode: Mode) -> Options {
    Options { level: Level::Dma, mode, ..Options::default() }
}

pub(crate) fn reuse(kept: usize) -> Mode {
    Mode::Reuse(NonZeroUsize::new(kept).unwrap())
}

/// All modes, the last with as many mappings as a driver would keep.
pub(crate) fn modes() -> [Mode; 3] {
    [Mode::Strict, Mode::Lazy, reuse(2048)]
}

/// Replays `events`, where nothing may go wrong.
pub(crate) fn clean(mode: Mode, events: &str) -> Summary {
    let summary = run(&trace(HEADER, events), &in_mode(mode), &mut |_| ()).unwrap();
    assert!(summary.is_clean(), "{mode:?}: {summary}");
    summary
}
