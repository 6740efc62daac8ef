//! What the benches share: taking turns, figures of that, and how they are told.
//!
//! Cases take turns, round by round, so that what disturbs the machine disturbs all of them: only ratios of one
//! run mean anything. A figure is a median over rounds, with the least and the most.

mod figure;
mod memory;
mod page;
mod plot;
mod targets;
mod turns;

pub use figure::{Figure, find, json, table};
pub use memory::{Count, memory_counts};
pub use page::{PLOTS, page};
pub use plot::plot;
pub use targets::{Bound, Target, targets};
pub use turns::{Case, Effort, take_turns, timed};
