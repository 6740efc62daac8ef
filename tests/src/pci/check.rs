//! What must hold in a capture of any form, before anybody draws conclusions from it.

use std::collections::BTreeSet;

use super::capture::Capture;
use super::error::{Fault, PciError, Place};

impl Capture {
    /// Checks that no function is there twice, and that groups hold functions that are there, each
    /// once.
    ///
    /// # Errors
    /// [`PciError`] that names `file`, the topology and the function.
    pub fn check(&self, file: &str) -> Result<(), PciError> {
        let at = |name| Place::Function(self.name.clone(), name);
        if self.functions.is_empty() {
            let fault = Fault::new("no functions", "at least one");
            return Err(fault.at(file, Place::Topology(self.name.clone())));
        }
        let mut names = BTreeSet::new();
        for function in &self.functions {
            if !names.insert(function.name) {
                return Err(
                    Fault::new("it twice", "each function once").at(file, at(function.name))
                );
            }
        }
        let mut grouped = BTreeSet::new();
        for name in self.linux_groups.iter().flatten() {
            if !names.contains(name) {
                let fault = Fault::new("it in linux_groups only", "each of them in functions");
                return Err(fault.at(file, at(*name)));
            }
            if !grouped.insert(*name) {
                let fault = Fault::new("it twice in linux_groups", "each function once");
                return Err(fault.at(file, at(*name)));
            }
        }
        Ok(())
    }
}
