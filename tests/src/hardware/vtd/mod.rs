//! A VT-d unit, as its specification describes it: Revision 4.1, legacy mode.
//!
//! ```text
//!  driver ─► registers ─► global command ─► root table ┐
//!                      └► queue ─► descriptors ─► caches ◄── request of a device
//!                                                  │             └─► landing, or fault ─► records
//!                                                  └ what is in flight drains
//! ```
//!
//! It keeps what it has looked up until it is told to forget that (`caches`), and devices that are busy
//! make a request at every access of a register, so what is stale for a moment is found. Page tables are not
//! walked: that a table was reached is what a request tells.

pub mod act;
mod bench;
mod caches;
mod command;
pub mod config;
mod descriptor;
mod fault;
pub mod manner;
mod queue;
mod register;
mod request;
mod state;
mod unit;

pub use act::{Act, Violation};
pub use bench::Bench;
pub use config::Config;
pub use manner::{Manner, Waits};
pub use register::global;
pub use request::{Landing, Outcome};
pub use unit::Unit;
