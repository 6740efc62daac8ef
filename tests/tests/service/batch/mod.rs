//! Subop 0x40: an array of operations, each with a status of its own.

mod continued;
mod elements;
mod failures;
mod header;
mod hostile;
pub(crate) mod kit;
mod list;
mod operations;
mod order;
