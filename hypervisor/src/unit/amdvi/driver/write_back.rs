//! Memory of units whose reads do not snoop.

use crate::{platform::Host, sync::AtomicU64};

/// Writes back what such a unit is to see; does nothing for others.
#[derive(Clone, Copy)]
pub(super) struct WriteBack<'h> {
    /// `None`: the unit snoops.
    host: Option<&'h dyn Host>,
}

impl<'h> WriteBack<'h> {
    pub(super) fn new(host: &'h dyn Host, coherent: bool) -> Self {
        Self { host: if coherent { None } else { Some(host) } }
    }

    /// `words` are in memory before anything that is stored later.
    pub(super) fn words(self, words: &[AtomicU64]) {
        if let Some(host) = self.host {
            host.write_back(words);
        }
    }
}
