//! What is looked at: one line each, in the form in which the suites of the hypervisor tell theirs.

use core::{
    fmt::Debug,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::xen::tell;

static FAILED: AtomicU32 = AtomicU32::new(0);

/// Tells whether `name` holds; why not, if it does not.
pub fn check<T, E: Debug>(name: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(_) => tell(format_args!("check {name}: ok")),
        Err(why) => {
            FAILED.fetch_add(1, Ordering::Relaxed);
            tell(format_args!("check {name}: FAILED ({why:?})"));
        }
    }
}

/// Tells whether two values are the same.
pub fn check_eq<T: PartialEq + Debug>(name: &str, found: T, expected: T) {
    let same = found == expected;
    check(name, if same { Ok(()) } else { Err((found, "instead of", expected)) });
}

/// Whether all held.
pub fn all_held() -> bool {
    FAILED.load(Ordering::Relaxed) == 0
}
