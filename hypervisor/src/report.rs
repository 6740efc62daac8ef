//! What the embedder's log is told: by the `log` crate, or nothing without the feature of that name.

#[cfg(feature = "log")]
pub(crate) use log::{error, warn};

/// Says nothing. What would have been said is still looked at by the compiler.
#[cfg(not(feature = "log"))]
macro_rules! nothing {
    ($($said:tt)*) => {{
        let _ = format_args!($($said)*);
    }};
}
#[cfg(not(feature = "log"))]
pub(crate) use {nothing as error, nothing as warn};
