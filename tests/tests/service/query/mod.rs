//! Subops 0x41, 0x43, 0x44, 0x46 and 0x47: questions, and contexts with chosen properties.

mod alloc;
mod answers;
pub(crate) mod kit;
mod rules;
