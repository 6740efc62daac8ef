//! VT-d: a unit of Intel's, driven through its registers, its tables and its queue.
//!
//! ```text
//!  registers  offsets and bits                  entry       words of root and context entries
//!  io         one command at a time, bounded    tables      the tables of them, changed in one store
//!  enable     bring-up, take-over, resume       descriptor  words of the queue
//!  shutdown   after a crash, without the queue  blocks      which pages one of them names
//!  faults     records of what was refused       port        the queue's registers, and its errors
//!  remap      the place of interrupt remapping  driver      all of it as a `Driver`
//! ```
//!
//! Legacy mode only, second stage only: scalable mode, ATS, page requests and nesting are off. Nothing here
//! knows of contexts, domains or the format of page tables.
//!
//! **Order.** A table is zeroed, and written back, before an entry leads to it (INV-02). An entry changes in
//! one store; then it is forgotten, and after that what was found through it, drained (INV-09). What
//! returns `Ok` was confirmed by the unit itself, through a cookie of its own (INV-11, INV-12).
//!
//! **Interrupts.** [`Driver::next_event`](super::Driver::next_event) and
//! [`Driver::stop`](super::Driver::stop) wait for nobody. All else may wait for a lock, or for the unit, and
//! must not be called by an interrupt that may have interrupted any of it.
//!
//! Source: Intel Virtualization Technology for Directed I/O, Revision 4.1.

mod blocks;
mod capabilities;
mod descriptor;
mod driver;
mod enable;
mod entry;
mod faults;
mod interrupts;
mod io;
mod message;
mod port;
mod registers;
mod remap;
mod service;
mod settings;
mod shutdown;
mod tables;

pub use capabilities::{Capabilities, Quirks};
pub use driver::Vtd;
pub use interrupts::{IrqTable, IrqTableError};
pub use settings::{BringUpError, Settings, Step, VtdMemory};
