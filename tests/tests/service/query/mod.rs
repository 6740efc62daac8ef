//! Subops 0x43, 0x46 and 0x47: questions, and contexts with chosen properties.

mod alloc;
pub(crate) mod answers;
mod rules;
