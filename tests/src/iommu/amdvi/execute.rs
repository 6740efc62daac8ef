//! A unit carries commands out, as it reads them.

use pviommu_hypervisor::{addr::Mfn, format::FormatKind};

use super::{
    Words,
    command::{self, Command, Illegal},
};
use crate::{
    iommu::{
        invalidate::{Span, Why},
        unit::{State, UnitModel},
    },
    machine::{memory::Memory, violation::Violation},
    sync::lock,
};

impl UnitModel {
    /// Carries out one command of an AMD-Vi unit, and waits for it. One that it does not take is
    /// recorded and does nothing.
    pub fn execute(&self, memory: &Memory, words: Words) {
        self.execute_but(memory, words, Why::Removal, |_| false);
    }

    /// The same, but what leads to a frame that `kept` says stays as it is; counted as what it is for.
    pub(crate) fn execute_but(
        &self,
        memory: &Memory,
        words: Words,
        why: Why,
        kept: impl Fn(Mfn) -> bool,
    ) {
        let known = self.facts.format == FormatKind::AmdV1;
        match if known { command::decode(words) } else { Err(Illegal) } {
            Ok(Command::ForgetDevice { id }) => self.forget_device(id),
            Ok(Command::ForgetPages { tag, first, last, tables }) => {
                let span = Span { first, last, leaves_only: !tables };
                self.forget(memory, tag, span, why, kept);
            }
            Err(Illegal) => {
                let (unit, command) = (self.id, words);
                memory.violations.record(Violation::IllegalCommand { unit, command });
            }
        }
    }

    fn forget_device(&self, id: u16) {
        let State { devices, index, .. } = &mut *lock(&self.state);
        for (root, _) in devices.forget_id(id) {
            index.remove_table(root.frame);
        }
    }
}
