//! How a scenario is run: again and again, by schedules that shuttle chooses.

use std::{env, path::Path};

use pviommu_abi::{ContextId, PciDevice};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Config, Step, When},
};
use shuttle::{
    Config as Checker, MaxSteps, Runner,
    rand::Rng,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};

use crate::{
    kinds,
    kit::{GUEST, Vm, with},
};

/// Schedules of each scenario by each scheduler.
const SCHEDULES: &str = "PVIOMMU_RACES";
/// A file with the schedule to run, and no other.
const REPLAY: &str = "PVIOMMU_RACES_REPLAY";

/// Without `PVIOMMU_RACES`: as many as take half a second or so.
const FEW: usize = 60;

/// Changes of priority in a schedule of probabilistic concurrency testing: most races need one or two.
const DEPTH: usize = 3;

/// Where schedules begin; `SHUTTLE_RANDOM_SEED` is another place.
const SEED: u64 = 0x5eed;

/// Runs `scenario` on CPU 0 of the machine of `config`, on a kind of machine and with a preemption that the
/// schedule chooses. It ends the domains, and checks that nothing is left.
pub(crate) fn explore(config: fn() -> Config, scenario: fn(&Vm<'_>)) {
    let execution = move || {
        kinds::choose();
        let mut dice = shuttle::rand::thread_rng();
        let (seed, every) = (dice.r#gen(), dice.gen_range(0..4));
        with(&Config { seed, cpus: 4, ..config() }, |vm| {
            if every > 0 {
                vm.bed.schedule().set(Step::Yield, When::Every(every));
            }
            scenario(vm);
        });
    };
    if let Some(file) = env::var_os(REPLAY) {
        run(ReplayScheduler::new_from_file(Path::new(&file)).unwrap(), execution);
        return;
    }
    let schedules = env::var(SCHEDULES).map_or(FEW, |number| number.parse().unwrap());
    run(RandomScheduler::new_from_seed(SEED, schedules), execution);
    run(PctScheduler::new_from_seed(SEED, DEPTH, schedules), execution);
}

fn run(scheduler: impl Scheduler + 'static, execution: impl Fn() + Send + Sync + 'static) {
    let mut checker = Checker::new();
    checker.stack_size = 1 << 20;
    // A wait that does not end is as wrong as a deadlock, which shuttle sees by itself.
    checker.max_steps = MaxSteps::FailAfter(1 << 20);
    Runner::new(scheduler, checker).run(execution);
}

/// What a CPU does.
pub(crate) type Act<'a> = &'a (dyn Fn(&Vm<'_>) + Sync);

/// Does each of these at the same time, on CPUs 1, 2 and so on.
pub(crate) fn race(vm: &Vm<'_>, acts: &[Act<'_>]) {
    let bed = vm.bed;
    shuttle::thread::scope(|scope| {
        for (act, cpu) in acts.iter().zip(1..) {
            scope.spawn(move || act(&Vm::new(bed, GUEST, cpu)));
        }
    });
}

/// Has `device` read and write at each of these bus frames; the machine judges where it lands.
pub(crate) fn strike(vm: &Vm<'_>, device: PciDevice, bfns: &[u64]) {
    for bfn in bfns {
        let _ = vm.bed.dma_write(device, (bfn << 12) + 8, &[0xdb; 8]);
        let _ = vm.bed.dma_probe(device, bfn << 12, Direction::Read);
    }
}

/// Unmaps what is left of these bus frames, each one page.
pub(crate) fn clear(vm: &Vm<'_>, context: ContextId, bfns: impl IntoIterator<Item = u64>) {
    for bfn in bfns {
        let _ = vm.unmap(context, bfn, 1);
    }
}
