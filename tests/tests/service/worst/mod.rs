//! The most work in one piece: what a guest can buy with one call from one look at whether to give way to
//! the next, and what its own calls cost an embedder.
//!
//! The numbers are those of `docs/worst-case.md`. Each row is measured by the worst that is known: nothing
//! may exceed it, and where much less is measured, the row is not the worst case any more.

mod batches;
mod calls;
mod embedder;
mod held;
mod kit;
mod table;
