//! One function's ACS registers, changed.

use crate::pci::{Capture, Captured, Kind};
use crate::replay::sample::Chance;

/// Source validation, request and completion redirect, upstream forwarding.
const FULL: u16 = 0x1d;

/// One function that did not have all of ACS has it, and on. `None` if there is none.
#[must_use]
pub fn with_isolation_added(capture: &Capture, seed: u64) -> Option<Capture> {
    let open = |f: &Captured| f.acs.is_none_or(|(_, control)| control & FULL != FULL);
    change(capture, seed, open, |function, _| {
        function.acs_is_known = true;
        function.acs = Some((FULL, FULL));
    })
}

/// One function that had something of ACS has less: a bit or all of them off, or no capability.
/// `None` if there is none.
#[must_use]
pub fn with_isolation_removed(capture: &Capture, seed: u64) -> Option<Capture> {
    change(
        capture,
        seed,
        |f| f.acs.is_some(),
        |function, chance| {
            let (capability, control) = function.acs.unwrap_or_default();
            let on: Vec<u16> = (0..5)
                .map(|bit| 1 << bit)
                .filter(|bit| capability & control & FULL & bit != 0)
                .collect();
            function.acs = match chance.below(3) {
                0 if !on.is_empty() => {
                    let bit = on[chance.below(on.len() as u64) as usize];
                    Some((capability, control & !bit))
                }
                1 if !on.is_empty() => Some((capability, 0)),
                _ => None,
            };
        },
    )
}

fn change(
    capture: &Capture,
    seed: u64,
    may: impl Fn(&Captured) -> bool,
    how: impl FnOnce(&mut Captured, &mut Chance),
) -> Option<Capture> {
    let mut chance = Chance::new(seed);
    let mut changed = capture.clone();
    let mut candidates: Vec<&mut Captured> =
        changed.functions.iter_mut().filter(|f| has_use_for_acs(f) && may(f)).collect();
    if candidates.is_empty() {
        return None;
    }
    let at = chance.below(candidates.len() as u64) as usize;
    how(candidates.swap_remove(at), &mut chance);
    Some(changed)
}

/// PCI Express functions, those aside whose capability says nothing.
fn has_use_for_acs(function: &Captured) -> bool {
    matches!(
        function.kind,
        Some(
            Kind::Endpoint
                | Kind::LegacyEndpoint
                | Kind::RootPort
                | Kind::Upstream
                | Kind::Downstream
                | Kind::RootComplexEndpoint
        )
    )
}
