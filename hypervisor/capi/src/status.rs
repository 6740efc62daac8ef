//! What C gets back: 0, a negative errno, or "again".

use core::{
    ffi::{c_char, c_int},
    fmt::{self, Write},
};

use pviommu_abi::Errno;
use pviommu_hypervisor::Outcome;

use crate::pointers::Out;

/// `PVIOMMU_CONTINUE`: the call is to be made again.
pub(crate) const CONTINUE: c_int = 1;

/// Something that a function of the interface returns.
pub(crate) trait Status {
    fn status(self) -> c_int;
}

impl Status for () {
    fn status(self) -> c_int {
        0
    }
}

impl Status for c_int {
    fn status(self) -> c_int {
        self
    }
}

impl Status for Outcome {
    fn status(self) -> c_int {
        match self {
            // Every errno fits.
            Self::Done(status) => c_int::try_from(status).unwrap_or(Errno::EIO.to_status()),
            Self::Continue => CONTINUE,
        }
    }
}

/// Runs `call`, and makes its end a number.
pub(crate) fn ended<S: Status>(call: impl FnOnce() -> Result<S, Errno>) -> c_int {
    call().map_or_else(Errno::to_status, Status::status)
}

/// Text in memory of C's, as much as fits, and a NUL.
pub(crate) struct Text {
    to: Out<c_char>,
    left: usize,
}

impl Text {
    pub(crate) fn new(to: Out<c_char>, size: usize) -> Self {
        let left = if to.is_null() { 0 } else { size };
        let text = Self { to, left };
        text.end();
        text
    }

    fn end(&self) {
        if self.left > 0 {
            // Not null, and bytes are always aligned.
            let _ = self.to.write(0);
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.left <= 1 {
                return Err(fmt::Error);
            }
            let _ = self.to.write(c_char::from_ne_bytes([byte]));
            self.to = self.to.after();
            self.left = self.left.saturating_sub(1);
        }
        self.end();
        Ok(())
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.end();
    }
}
