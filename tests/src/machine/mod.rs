//! The simulated machine: memory, who owns it, devices that do DMA, and the service on top.
//!
//! [`run`] builds a [`Board`] from a [`Config`], sets the service up on it and calls a closure
//! with a [`Bed`], through which guests make hypercalls, CPUs touch memory and devices do DMA.
//! The board is of use without the service, too.
//!
//! ```text
//!  Bed ──► Iommu (service) ──► Platform ──► Board
//!   └── dma, guest memory, page changes ──►  ├── Memory: Frames, Tables, Violations
//!                                            ├── P2m of each domain
//!                                            ├── UnitModel of each unit
//!                                            └── Schedule, Sabotage
//! ```
//!
//! The devices of a [`Config`] can be those of a topology ([`Config::with_topology`]), whose registers are a
//! [`ConfigSpace`].
//!
//! Locks, outermost first: a P2M's, the platform's, a unit's, then those of pages and pools. What an
//! access does happens under its unit's lock, so a completed invalidation has drained what was
//! not put off on purpose (`late`).
//!
//! The machine forgives nothing: [`Harshness`] says what it does that it need not do.

mod bed;
mod board;
mod book;
mod busy;
mod bytes;
mod cell;
mod changes;
mod config;
mod config_space;
mod contents;
mod counters;
mod default_map;
mod devices;
mod dma;
pub mod frames;
mod from_topology;
mod giving;
mod guest;
mod hardware;
mod harsh;
mod host;
mod late;
mod layout;
mod leaving;
mod lent;
mod lock;
pub mod memory;
mod orders;
mod ownership;
pub mod p2m;
mod pages;
mod pause;
mod pieces;
mod platform;
mod ram;
mod reach;
mod rules;
mod sabotage;
pub mod schedule;
mod scramble;
mod scratch;
mod share_changes;
mod shares;
#[cfg(test)]
mod short;
mod start;
mod table_frames;
pub mod tables;
mod unit_kind;
pub mod violation;
mod watch;

pub use bed::Bed;
pub use board::{Board, Copied};
pub use busy::Busy;
pub use config::{Config, DeviceConfig, DomainConfig, limits, reserved};
pub use config_space::{ConfigSpace, NoAnswer};
pub use counters::Counters;
pub use dma::{DmaFault, Hit};
pub use frames::{FrameInfo, FrameKind, PAGE_SIZE, Reach, Refused};
pub use from_topology::devices;
pub use guest::{GIVEN_UP, Guest};
pub use harsh::{Dice, Harshness};
pub use pause::Pause;
pub use pieces::{Piece, Work};
pub use platform::{DomainSlot, Platform};
pub use rules::Basis;
pub use sabotage::Break;
pub use schedule::{Half, Schedule, Step, When};
pub use start::{run, try_run};
pub use unit_kind::{UnitKind, amd_facts, poor_amd_facts, poor_facts, vtd_facts};
pub use violation::Violation;
pub use watch::{Rewrite, Seen};

pub use crate::iommu::{Direction, FaultReason, FaultRecord};
