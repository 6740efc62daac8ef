//! A platform that costs next to nothing: what is measured on it is the service.
//!
//! ```text
//!  World ──► Iommu (service) ──► Cheap: Arena (table frames), Pages (P2M, owners, references), Buffers
//! ```
//!
//! Nothing is checked here but what every embedder has to check: whose a page is, what it may be used for, and
//! that its count does not overflow, in one locked operation for a page or for a range. Units accept everything.
//! What is right is tested on the [simulated machine](crate::machine), which forgives nothing.

mod arena;
mod buffers;
mod pages;
mod platform;
#[cfg(test)]
mod stress;
mod world;

pub use arena::Arena;
pub use buffers::Buffers;
pub use pages::{Pages, Pin};
pub use platform::Cheap;
pub use world::{GUEST, Options, RAM_PAGES, World, device};
