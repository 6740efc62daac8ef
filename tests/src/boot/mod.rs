//! The service on a machine that nobody here wrote: images of a hypervisor and its guest, booted in QEMU.
//!
//! ```text
//!  suite ─► images ─► qemu ─► verdict
//!  what     built     one     what it
//!           once      boot    said
//! ```

mod images;
mod qemu;
mod suite;
mod tools;
mod verdict;

pub use images::{Images, build};
pub use qemu::{Boot, End, boot};
pub use suite::{SUITES, Suite, Unit, suite};
pub use tools::{Missing, QEMU, TARGET, look};
pub use verdict::{Check, Found, Verdict};
