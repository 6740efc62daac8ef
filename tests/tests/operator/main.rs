//! What an operator sees, against what the machine does: statistics, dumps of live tables, and why a
//! DMA faulted. On every kind of machine that `kinds` has.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod dump;
mod dump_bounds;
mod dump_busy;
mod explain;
mod explain_words;
mod explain_wrong;
#[path = "../kinds/mod.rs"]
mod kinds;
#[path = "../service/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod kit;
mod look;
mod stats;

/// All of them.
const ON_EVERY_KIND: &str = "";
