//! Drivers of units, against registers that a model is behind.

#[cfg(all(feature = "amdvi", target_arch = "x86_64"))]
mod amdvi;
#[cfg(all(feature = "vtd", target_arch = "x86_64"))]
mod vtd;
