//! How units are told what to do: the words of their commands and entries.

#[cfg(feature = "amdvi")]
pub mod amdvi;
