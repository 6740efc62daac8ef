//! Units as their drivers see them: registers, and memory that both share.
//!
//! Beside [`iommu`](crate::iommu), which models what units do with page tables, these model what drivers can
//! do wrong: the order of things, what is cached, hardware that is late or never answers.

#[cfg(all(feature = "amdvi", target_arch = "x86_64"))]
pub mod amdvi;
#[cfg(all(feature = "vtd", target_arch = "x86_64"))]
pub mod vtd;

#[cfg(all(any(feature = "amdvi", feature = "vtd"), target_arch = "x86_64"))]
mod ram;
#[cfg(all(any(feature = "amdvi", feature = "vtd"), target_arch = "x86_64"))]
pub use ram::Ram;
