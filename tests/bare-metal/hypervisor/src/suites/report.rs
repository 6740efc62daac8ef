//! What was checked, a line each.

use core::fmt::{Debug, Display};

use crate::machine::serial::print;

/// The checks of one suite.
pub struct Report {
    suite: &'static str,
    checks: u32,
    failed: u32,
}

impl Report {
    pub(super) fn new(suite: &'static str) -> Self {
        Self { suite, checks: 0, failed: 0 }
    }

    /// Notes a check.
    pub fn check(&mut self, name: impl Display, result: Result<(), impl Debug>) {
        self.checks += 1;
        match result {
            Ok(()) => print(format_args!("check {name}: ok")),
            Err(why) => {
                self.failed += 1;
                print(format_args!("check {name}: FAILED ({why:?})"));
            }
        }
    }

    /// Notes a check that something is what it should be.
    pub fn equal<T: PartialEq + Debug>(&mut self, name: impl Display, is: T, should: T) {
        let same = is == should;
        self.check(name, if same { Ok(()) } else { Err((is, "instead of", should)) });
    }

    /// Notes a check that something holds.
    pub fn holds(&mut self, name: impl Display, does: bool) {
        self.check(name, if does { Ok(()) } else { Err("it does not") });
    }

    /// Notes a check that nothing can be seen of on this machine.
    pub fn leave_out(&self, name: impl Display, why: &str) {
        print(format_args!("check {name}: left out ({why})"));
    }

    /// Says how many there were; true if there were some, and none failed.
    pub(super) fn end(self) -> bool {
        let Self { suite, checks, failed } = self;
        print(format_args!("suite {suite}: {checks} checks, {failed} failed"));
        checks > 0 && failed == 0
    }
}
