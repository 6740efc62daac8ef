//! How long is waited for a unit.

use crate::{
    platform::{Host, UnitError},
    sync::relax,
};

/// An end that was set to a wait.
#[derive(Clone, Copy)]
pub(super) struct Patience<'h> {
    host: &'h dyn Host,
    begin: u64,
    microseconds: u64,
}

impl<'h> Patience<'h> {
    /// So many microseconds from now on.
    pub(super) fn new(host: &'h dyn Host, microseconds: u64) -> Self {
        Self { host, begin: host.now_us(), microseconds }
    }

    /// False once they are over.
    pub(super) fn lasts(&self) -> bool {
        self.host.now_us().saturating_sub(self.begin) < self.microseconds
    }

    /// Waits until it `is_so`. It is looked at once more when time is over: who was kept from running
    /// loses nothing.
    pub(super) fn until(&self, mut is_so: impl FnMut() -> bool) -> Result<(), UnitError> {
        loop {
            let lasts = self.lasts();
            if is_so() {
                return Ok(());
            }
            if !lasts {
                return Err(UnitError);
            }
            relax();
        }
    }
}
