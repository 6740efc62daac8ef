//! How long the slowest steps take.
//!
//! The same steps are done several times. What a step took at its best says how much it had to do; what all
//! of them took says what else the machine did.

use serde::Serialize;

/// What 99.9 % of the steps stay below, in nanoseconds, the timer's own included.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Tail {
    /// Each step at its best.
    pub(crate) p999_ns: f64,
    /// All of them.
    pub(crate) p999_all_ns: f64,
}

/// Has so many steps done, each so many times; `run` does all once and tells what each took.
pub(crate) fn of(steps: usize, times: usize, mut run: impl FnMut(&mut dyn FnMut(f64))) -> Tail {
    let mut best = vec![f64::INFINITY; steps];
    let mut all = Vec::with_capacity(steps * times);
    for _ in 0..times {
        let mut each = best.iter_mut();
        run(&mut |took| {
            all.push(took);
            if let Some(best) = each.next() {
                *best = best.min(took);
            }
        });
    }
    Tail { p999_ns: p999(best), p999_all_ns: p999(all) }
}

fn p999(mut times: Vec<f64>) -> f64 {
    let index = times.len() * 999 / 1000;
    let (_, found, _) = times.select_nth_unstable_by(index, f64::total_cmp);
    *found
}
