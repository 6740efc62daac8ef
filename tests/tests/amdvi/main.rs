//! AMD-Vi units: their tables, their device table, their commands, and the machine that has them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod caches;
mod commands;
mod config;
mod device_table;
mod holes;
mod kit;
mod leftovers;
mod machine;
mod np_cache;
mod replay;
mod show;
mod walker;
