//! What an operator sees: contexts, units and devices as they are, a live table line by line, and why a
//! DMA faulted. For a hypervisor's debug key and its log, never for a guest.
//!
//! All of it tells a snapshot and changes nothing; nothing is printed while inside a table or under a lock.

mod dump;
mod explain;
mod explanation;
mod stats;
mod words;

pub use dump::{DumpLine, Dumped, Shown};
pub use explanation::{Explanation, Reason, Trail};
pub use stats::{
    ContextState, ContextStats, ContextUnit, DeviceHome, DeviceStats, EditedBy, UnitStats,
};
