//! Guests in a virtual machine of their own, with real drivers of devices (`../guest`, passed as a module).
//!
//! Each runs one program, whose checks are told as this suite's. Then its domain is ended, and everything that
//! it used has to be back.

use core::{fmt::Debug, sync::atomic::Ordering};

use pviommu_hypervisor::{
    abi::{Gfn, GuestPtr, PciDevice},
    addr::{GfnRange, Mfn, PAGE_SHIFT},
    format::FormatKind,
    platform::{Access, GuestMemory},
};
use spin::Mutex;

use super::{Bench, Report};
use crate::{
    domains::{Domain, DomainConfig},
    glue::Setup,
    machine::{pci, processors, serial::print},
    svm::{
        config::Config,
        image::Image,
        nested::{Nested, Use},
        serve::{End, World},
        switch::Enabled,
        vcpu::{Exit, Start, Vcpu},
        vm::Vm,
    },
};

/// Vendor and device of a virtio disk.
const DISK: u32 = 0x1042_1af4;
/// 16 MiB, as the guest knows.
const PAGES: usize = 4096;
/// The unit tells of faults, so the guest expects to hear of them.
const FAULTS_ARE_TOLD: u64 = 1;
/// From this bit on: how the guest is to break out.
const VARIANT: u32 = 8;

/// What a guest is to do.
#[derive(Clone, Copy)]
struct Program {
    /// The name that the guest has for it.
    name: &'static [u8],
    /// Which one of several; of a program for any number of processors, how many there are.
    variant: u64,
    processors: usize,
    /// Each long call gives way as soon as it may, and the guest executes the instruction again.
    impatient: bool,
}

impl Program {
    const fn named(name: &'static [u8]) -> Self {
        Self { name, variant: 0, processors: 1, impatient: false }
    }
}

pub(super) fn setup() -> Setup {
    Setup { cpus: 2, ..Setup::default() }
}

/// Reads and writes a disk.
pub(super) fn disk(bench: &Bench<'_>, report: &mut Report) {
    leave_out(bench);
    let end = run(bench, report, Program::named(b"blk"), &[a_disk()]);
    report.equal("the guest ends by itself", end, End::Shutdown(0));
}

/// Has a device copy, without and with giving way.
pub(super) fn edu(bench: &Bench<'_>, report: &mut Report) {
    leave_out(bench);
    for impatient in [false, true] {
        let program = Program { impatient, ..Program::named(b"edu") };
        let end = run(bench, report, program, &[bench.edu(0).function]);
        report.equal("the guest ends by itself", end, End::Shutdown(0));
    }
}

/// Calls that no driver makes, without and with giving way.
pub(super) fn hostile(bench: &Bench<'_>, report: &mut Report) {
    for impatient in [false, true] {
        let program = Program { impatient, variant: 1, ..Program::named(b"hostile") };
        let end = run(bench, report, program, &[bench.edu(0).function]);
        report.equal("the guest ends by itself", end, End::Shutdown(0));
    }
}

/// What ends the guest, while its device is about to write to its memory.
pub(super) fn escape(bench: &Bench<'_>, report: &mut Report) {
    let devices = [bench.edu(0).function, a_disk()];
    type IsSo = fn(End) -> bool;
    let fault: IsSo = |end| matches!(end, End::Killed(Exit::NestedFault { .. }));
    let other: IsSo = |end| matches!(end, End::Killed(Exit::Other(_)));
    let shutdown: IsSo = |end| end == End::Killed(Exit::Shutdown);
    let ways = [
        ("who reads where nothing is", fault),
        ("who writes memory that is not its own", fault),
        ("who writes where interrupts go", fault),
        ("who writes a register of the processor", other),
        ("who runs a guest of its own", other),
        ("who can do nothing any longer", shutdown),
    ];
    for (variant, (who, is_so)) in (0..).zip(ways) {
        let program = Program { variant, ..Program::named(b"escape") };
        let end = run(bench, report, program, &devices);
        report.check(format_args!("{who} is ended"), if is_so(end) { Ok(()) } else { Err(end) });
    }
}

/// Two processors at once: in one context, and with calls that no driver makes.
pub(super) fn smp(bench: &Bench<'_>, report: &mut Report) {
    report.equal("there are two processors", processors::start(), 2);
    for name in [&b"smp"[..], b"hostile"] {
        let program = Program { processors: 2, variant: 2, ..Program::named(name) };
        let end = run(bench, report, program, &[bench.edu(0).function]);
        report.equal("the guest ends by itself", end, End::Shutdown(0));
    }
}

/// Whether the unit says what it refused.
fn tells_faults(bench: &Bench<'_>) -> bool {
    bench.unit().facts().format == FormatKind::VtdSecondStage
}

/// Says what a suite cannot show on this unit.
fn leave_out(bench: &Bench<'_>) {
    if !tells_faults(bench) {
        print(format_args!(
            "left out: faults come back to the guest (QEMU's AMD-Vi logs no event)"
        ));
    }
}

fn a_disk() -> PciDevice {
    let disk = pci::functions().find(|function| pci::read(*function, 0) == DISK);
    disk.expect("the suite needs a virtio disk")
}

/// Runs a program in a domain of its own with these devices; how it ended.
fn run(bench: &Bench<'_>, report: &mut Report, program: Program, devices: &[PciDevice]) -> End {
    let before = bench.in_use();
    let config = DomainConfig { pages: PAGES, ..DomainConfig::default() };
    let domain = bench.hypervisor.create(&config).expect("a domain can be made");
    for device in devices {
        bench.hypervisor.give(domain, *device).expect("the device can be given away");
    }
    let image = bench.info.module().and_then(Image::new);
    let image = image.expect("the suite needs the guest's image: -initrd");
    load(bench, domain, &image).expect("the image fits the guest");

    let impatient = &bench.hypervisor.iommu.platform().impatient;
    impatient.store(program.impatient, Ordering::Relaxed);
    let end = play(bench, report, program, domain, &image);
    impatient.store(false, Ordering::Relaxed);

    report.check("the domain can be ended", bench.hypervisor.destroy(domain));
    // What a device had under way ends before somebody else has it: it cannot be reset.
    bench.edus().for_each(|edu| edu.finish().expect("the device ends"));
    report.equal("nothing of it is left", bench.in_use(), before);
    end
}

/// Copies the image into the guest's memory, of which each page is somewhere else.
fn load(bench: &Bench<'_>, domain: &Domain, image: &Image<'_>) -> Result<(), &'static str> {
    let memory = bench.hypervisor.iommu.platform();
    for segment in image.segments() {
        let end = segment.address.checked_add(segment.length);
        if end.is_none_or(|end| end > (PAGES << PAGE_SHIFT) as u64) {
            return Err("it is too large");
        }
        // Zeros follow, because the memory of a new domain has nothing else.
        let copied = memory.copy_out(domain.id, GuestPtr(segment.address), segment.bytes);
        copied.map_err(|_| "its memory is not there")?;
    }
    Ok(())
}

/// Shows the guest its memory and the registers of its devices.
fn show(domain: &Domain, nested: &Nested, config: &Config) -> Option<()> {
    for gfn in domain.gfns() {
        nested.map(gfn, domain.p2m.frame(gfn)?, Use::Memory).then_some(())?;
    }
    for pages in config.pages() {
        let (how, access) = if pages.read_only {
            (Use::RegistersReadOnly, Access::READ)
        } else {
            (Use::Registers, Access::all())
        };
        for page in pages.first..pages.first + pages.pages {
            nested.map(Gfn(page), Mfn(page), how).then_some(())?;
        }
        // Other devices of the guest may be let at them, too, and no further than the guest.
        let gfns = GfnRange::of_pages(Gfn(pages.first), pages.pages)?;
        domain.p2m.show(gfns, Mfn(pages.first), access).then_some(())?;
    }
    Some(())
}

/// Notes what the guest says, a line at a time.
fn hear(report: &mut Report, line: &str) {
    let told = line.strip_prefix("check ");
    let failed = told.and_then(|told| told.split_once(": FAILED "));
    let well = told.and_then(|told| told.strip_suffix(": ok"));
    match (well, failed) {
        (Some(name), _) => report.check(name, Ok::<(), ()>(())),
        (_, Some((name, why))) => report.check(name, Err::<(), _>(Said(why))),
        _ => print(format_args!("guest: {line}")),
    }
}

/// The guest's own words, which are in brackets already.
struct Said<'s>(&'s str);

impl Debug for Said<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0.trim_start_matches('(').trim_end_matches(')'))
    }
}

/// Runs the program; how its first processor ended.
fn play(
    bench: &Bench<'_>,
    report: &mut Report,
    program: Program,
    domain: &Domain,
    image: &Image<'_>,
) -> End {
    let config = Config::new(domain.functions());
    let vm = Vm::new().expect("there is memory");
    show(domain, &vm.nested, &config).expect("there is memory");

    let mut flags = program.variant << VARIANT;
    if tells_faults(bench) {
        flags |= FAULTS_ARE_TOLD;
    }
    let mut name = [0; 8];
    name.iter_mut().zip(program.name).for_each(|(to, from)| *to = *from);
    let name = u64::from_le_bytes(name);

    let report = Mutex::new(report);
    let world = World {
        hypervisor: bench.hypervisor,
        domain,
        config: Mutex::new(config),
        line: &|line| hear(&mut report.lock(), line),
        again: 0.into(),
    };
    let processor = |number: usize| {
        // The image begins with its tables.
        let cr3 = image.segments().next().map_or(0, |segment| segment.address);
        let start = Start { rip: image.entry, cr3, arguments: [number as u64, name, flags] };
        let mut vcpu = Vcpu::new(&vm, start).expect("there is memory");
        let enabled = Enabled::on_this_processor().expect("the processor can run guests");
        world.serve(&mut vcpu, &enabled, number)
    };
    let mut end = End::Halted;
    if program.processors > 1 {
        let other = || match processor(1) {
            End::Halted => {}
            end => log::error!("the other processor: {end:?}"),
        };
        processors::both(1, &other, || end = processor(0));
    } else {
        end = processor(0);
    }
    if program.impatient {
        let again = world.again.load(Ordering::Relaxed);
        report.lock().holds("calls gave way, and were made again", again > 0);
    }
    end
}
