//! A device that is told any bus frame at all does no harm: what nobody mapped leads to a page that is
//! nobody's.

use pviommu_guest::ReservedOf;
use pviommu_hypervisor::{
    Background, DefaultMap,
    abi::{
        AccessFlags, Background as Wire, Bfn, ContextId, FaultRecord, Gfn, MapFlags, OwnershipMode,
        ReservedRange,
    },
    addr::PAGE_SHIFT,
};

use super::{Bench, Guest, Report, walker::Walker};
use crate::{domains::DomainConfig, machine::edu::Edu};

/// Bus frames that are walked, that a device writes to, and of those it reads from.
const WALKED: u64 = 1_000_000;
const WRITTEN: u64 = 208;
const READ: u64 = 24;
/// Bus frames that are refused, with the background `Fault`.
const REFUSED: u64 = 16;

const PATTERN: u64 = 0x5c4a_7c80_0000_0000;
const SECRET: u64 = 0x5ec4_e700_0000_0000;
const BYTES: usize = 64;
const DEFAULT: ContextId = ContextId::DEFAULT;
/// What the guest has mapped.
const MAPPED: Bfn = Bfn(0x77_0000);

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let before = bench.in_use();
    nothing_is_harmed(bench, report);
    what_faults_is_told(bench, report);
    report.equal("nothing is left of the guests", bench.in_use(), before);
}

/// Bus frames spread over the aperture of a guest, from its first to its last part.
struct Spread {
    first: u64,
    pages: u128,
    reserved: [ReservedRange; 16],
}

impl Spread {
    fn of(guest: &Guest<'_>) -> Self {
        let iommu = guest.iommu();
        let limits = iommu.query_limits(DEFAULT).expect("limits are told");
        let (first, last) = (limits.aperture_first.0, limits.aperture_last.0);
        let mut reserved = [ReservedRange::default(); 16];
        let told = iommu.query_reserved(ReservedOf::Context(DEFAULT), &mut reserved);
        told.expect("reserved ranges are told");
        Self { first, pages: u128::from(last - first) + 1, reserved }
    }

    /// Number `turn` of them.
    fn bfn(&self, turn: u64) -> Bfn {
        let spread = u128::from(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Bfn(self.first + ((spread * self.pages) >> 64) as u64)
    }

    /// True if nothing is behind it, whatever the background.
    fn is_reserved(&self, bfn: Bfn) -> bool {
        self.reserved
            .iter()
            .any(|range| range.last.0 > 0 && (range.first..=range.last).contains(&bfn))
    }

    /// As many that are not reserved.
    fn free(&self, count: u64) -> impl Iterator<Item = Bfn> {
        let all = (1..WALKED).map(|turn| self.bfn(turn));
        all.filter(|bfn| !self.is_reserved(*bfn)).take(count as usize)
    }
}

fn guest<'b>(bench: &'b Bench<'_>, edu: &Edu, background: Background) -> Guest<'b> {
    let default_map = DefaultMap::Blocked;
    let config = DomainConfig { background, default_map, pages: 512, ..DomainConfig::default() };
    let guest = bench.guest_with(&config, edu);
    guest.domain.gfns().for_each(|gfn| guest.poke(gfn, 0, SECRET | gfn.0));
    let iommu = guest.iommu();
    iommu.probe().expect("the service is there");
    let background = if background == Background::Scratch { Wire::SCRATCH } else { Wire::FAULT };
    iommu.take_ownership(OwnershipMode::CLEAR, background).expect("the map is its own");
    iommu
        .map(DEFAULT, MAPPED, Gfn(4), 1, MapFlags::READABLE | MapFlags::WRITEABLE)
        .expect("a page");
    guest
}

/// True if no page has changed but the one that is mapped, and those with arguments of calls.
fn is_whole(guest: &Guest<'_>) -> bool {
    let mut others = guest.domain.gfns().filter(|gfn| *gfn != Gfn(4) && gfn.0 < 500);
    others.all(|gfn| guest.peek(gfn, 0) == SECRET | gfn.0)
}

fn nothing_is_harmed(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    let stranger = bench.guest(&DomainConfig { pages: 512, ..DomainConfig::default() });
    stranger.domain.gfns().for_each(|gfn| stranger.poke(gfn, 0, SECRET | gfn.0));
    let guest = guest(bench, edu, Background::Scratch);
    let spread = Spread::of(&guest);
    let walker = Walker::of(bench, edu.function).expect("the device has a table");
    let scratch = walker.walk(Bfn(1)).expect("a bus frame that nobody mapped leads somewhere");
    let own = guest.domain.gfns().any(|gfn| guest.domain.p2m.frame(gfn) == Some(scratch));
    let other = stranger.domain.gfns().any(|gfn| stranger.domain.p2m.frame(gfn) == Some(scratch));
    report.holds("the page behind all is no domain's", !own && !other);
    let should = |bfn| Some(scratch).filter(|_| !spread.is_reserved(bfn));
    let all = (0..WALKED).map(|turn| spread.bfn(turn));
    let wrong = all.filter(|bfn| walker.walk(*bfn) != should(*bfn)).count();
    report.equal(format_args!("{WALKED} bus frames lead to it, or are reserved"), wrong, 0);
    let reserved = spread.reserved.iter().filter(|range| range.last.0 > 0);
    let reached =
        reserved.flat_map(|range| [range.first, range.last]).filter_map(|it| walker.walk(it));
    report.equal("behind those there is nothing", reached.count(), 0);
    report.equal("but not what is mapped", walker.walk(MAPPED), guest.domain.p2m.frame(Gfn(4)));

    guest.fill(Gfn(4), PATTERN);
    bench.dma_read(edu, MAPPED.0 << PAGE_SHIFT, BYTES);
    for bfn in spread.free(WRITTEN) {
        bench.dma_write(edu, bfn.0 << PAGE_SHIFT, BYTES);
    }
    report.equal(format_args!("{WRITTEN} writes fault nowhere"), bench.hypervisor.tell_faults(), 0);
    report.holds("and reach no page of a domain", is_whole(&guest) && is_whole(&stranger));
    let mut secrets = 0;
    for bfn in spread.free(READ) {
        bench.dma_read(edu, bfn.0 << PAGE_SHIFT, BYTES);
        bench.dma_write(edu, MAPPED.0 << PAGE_SHIFT, BYTES);
        secrets += usize::from(guest.peek(Gfn(4), 0) >> 32 == SECRET >> 32);
    }
    report.equal(format_args!("{READ} reads tell of no page of a domain"), secrets, 0);
    let told = bench.hypervisor.iommu.scratch_written(&guest.domain.iommu, 0);
    report.equal("that the page was written is told", told, Some(DEFAULT));
    bench.end(guest.domain);
    bench.end(stranger.domain);
}

fn what_faults_is_told(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    let guest = guest(bench, edu, Background::Fault);
    let spread = Spread::of(&guest);
    let walker = Walker::of(bench, edu.function).expect("the device has a table");
    let all = (0..WALKED / 10).map(|turn| spread.bfn(turn));
    let reached = all.filter(|bfn| walker.walk(*bfn).is_some()).count();
    report.equal("with the background fault they lead nowhere", reached, 0);
    let name = "each access is recorded and told, by device, address and access";
    let iommu = guest.iommu();
    let mut wrong = 0;
    for (turn, bfn) in spread.free(REFUSED).enumerate() {
        let bus = bfn.0 << PAGE_SHIFT;
        let (access, reads) = match turn % 2 {
            0 => (AccessFlags::READ, true),
            _ => (AccessFlags::WRITE, false),
        };
        if reads {
            bench.dma_read(edu, bus, BYTES);
        } else {
            bench.dma_write(edu, bus, BYTES);
        }
        bench.hypervisor.tell_faults();
        let mut room = [FaultRecord::default(); 2];
        let faults = iommu.read_faults(&mut room).expect("faults can be read");
        let told =
            faults.records.first().map(|it| (it.device.id, it.address >> PAGE_SHIFT, it.access));
        let should = (u64::from(edu.function.sbdf()), bus >> PAGE_SHIFT, access);
        wrong += u64::from(told != Some(should));
    }
    if bench.tells_faults() {
        report.equal(name, wrong, 0);
    } else {
        report.leave_out(name, "the event log of QEMU's unit stays empty");
    }
    report.holds("and reaches no page of the guest", is_whole(&guest));
    bench.end(guest.domain);
}
