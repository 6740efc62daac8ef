//! What an image said, taken apart: one line a check, and one at the end that counts them.
//!
//! ```text
//! check a page that is not mapped is out of reach: ok
//! check the record names the device: FAILED (found 00:03.0)
//! check a permission fault is recorded: left out (QEMU's unit records none)
//! suite translation: 2 checks, 1 failed
//! ```

use serde::Serialize;

use super::qemu::{Boot, End};

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// What is said.
    Ok,
    /// Something else.
    Failed,
    /// Nothing: it cannot be seen on this machine.
    LeftOut,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What is said to be so.
    pub name: String,
    /// Whether it is.
    pub found: Found,
    /// Why not, or why that cannot be seen; empty if it is.
    pub why: String,
}

/// What became of a boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The checks, in their order.
    pub checks: Vec<Check>,
    /// Why the boot as a whole is no success although no check failed.
    pub broken: Option<String>,
}

impl Verdict {
    /// What is to be thought of a boot for the suite of this name.
    #[must_use]
    pub fn of(boot: &Boot, suite: &str) -> Self {
        let checks: Vec<Check> = boot.serial.lines().filter_map(check).collect();
        let how_many = |found| checks.iter().filter(|check| check.found == found).count();
        let failed = how_many(Found::Failed);
        let seen = how_many(Found::Ok) + failed;
        let end = format!("suite {suite}: {seen} checks, {failed} failed");
        let ended = boot.serial.lines().any(|line| line.trim_end() == end);
        let broken = match boot.end {
            End::TooLong => Some("it did not end in time".to_owned()),
            End::Status(_) if failed > 0 && ended => None,
            End::Status(Some(code)) => Some(format!("it ended with status {code}")),
            End::Status(None) => Some("it was killed".to_owned()),
            End::Content if seen == 0 => Some("nothing was checked".to_owned()),
            // Some of what it said may be lost.
            End::Content if !ended => {
                Some("its last line does not count the checks seen".to_owned())
            }
            End::Content => None,
        };
        Self { checks, broken }
    }

    /// True if all was as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken.is_none() && self.checks.iter().all(|check| check.found != Found::Failed)
    }
}

fn check(line: &str) -> Option<Check> {
    let line = line.trim_end().strip_prefix("check ")?;
    let of = |name: &str, found, why: &str| {
        let why = why.trim();
        let inner = why.strip_prefix('(').and_then(|why| why.strip_suffix(')')).unwrap_or(why);
        Some(Check { name: name.to_owned(), found, why: inner.to_owned() })
    };
    if let Some(name) = line.strip_suffix(": ok") {
        return of(name, Found::Ok, "");
    }
    let (name, rest) = line.split_once(": FAILED").map_or_else(
        || line.split_once(": left out").map(|(name, why)| (name, (Found::LeftOut, why))),
        |(name, why)| Some((name, (Found::Failed, why))),
    )?;
    of(name, rest.0, rest.1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn verdict(end: End, serial: &str) -> Verdict {
        let boot = Boot { end, serial: serial.into(), errors: String::new(), took: Duration::ZERO };
        Verdict::of(&boot, "s")
    }

    fn check(name: &str, found: Found, why: &str) -> Check {
        Check { name: name.into(), found, why: why.into() }
    }

    const GOOD: &str = "noise\ncheck one: two: ok\nsuite s: 1 checks, 0 failed\n";

    #[test]
    fn a_boot_is_good_if_its_checks_are_counted_and_none_failed() {
        let good = verdict(End::Content, GOOD);
        assert!(good.is_good());
        assert_eq!(good.checks, [check("one: two", Found::Ok, "")]);
    }

    #[test]
    fn a_check_that_failed_says_why() {
        let serial = "check a: FAILED (found 1: not (2))\nsuite s: 1 checks, 1 failed\n";
        let bad = verdict(End::Status(Some(35)), serial);
        assert!(!bad.is_good());
        assert_eq!(bad.checks, [check("a", Found::Failed, "found 1: not (2)")]);
        assert_eq!(bad.broken, None);
        assert!(!verdict(End::Content, serial).is_good(), "whatever the status");
    }

    #[test]
    fn what_is_left_out_is_told_and_counts_for_nothing() {
        let serial = "check a: left out (no log)\ncheck b: ok\nsuite s: 1 checks, 0 failed\n";
        let good = verdict(End::Content, serial);
        assert!(good.is_good());
        assert_eq!(good.checks[0], check("a", Found::LeftOut, "no log"));
        let nothing = "check a: left out (no log)\nsuite s: 0 checks, 0 failed\n";
        assert!(!verdict(End::Content, nothing).is_good());
    }

    #[test]
    fn a_boot_that_did_not_end_as_it_should_is_not_good() {
        for (end, serial) in [
            (End::TooLong, GOOD),
            (End::Status(Some(1)), GOOD),
            (End::Status(None), GOOD),
            (End::Content, ""),
            (End::Content, "suite s: 0 checks, 0 failed\n"),
            (End::Content, "check one: ok\n"),
            (End::Content, "check one: ok\nsuite s: 2 checks, 0 failed\n"),
            (End::Content, "check one: ok\nsuite t: 1 checks, 0 failed\n"),
        ] {
            let verdict = verdict(end, serial);
            assert!(!verdict.is_good(), "{end:?} {serial}");
            assert!(verdict.broken.is_some(), "{end:?} {serial}");
        }
    }
}
