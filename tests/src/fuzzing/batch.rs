//! A batch in guest memory, from a few numbers, and what must hold after it.

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, DomId, ElementFlags, Errno, GuestPtr,
    Subop,
};
use pviommu_hypervisor::{Caller, Outcome, Width};
use zerocopy::{FromZeros, IntoBytes};

use super::{
    copies,
    entry::{CONTINUATIONS, Range, check_mapped, check_unmapped},
    input,
    world::{DOMAINS, World},
};
use crate::machine::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;

/// Where the parts lie: the header over the end of a page, the elements at the start of one, and
/// the list, as other operations left it.
const HEADER: u64 = 5 * PAGE - 20;
pub(super) const ELEMENTS: u64 = 6 * PAGE;
pub(super) const LIST: u64 = 8 * PAGE;

/// What the results hold before.
const UNTOUCHED: u32 = 0x5a5a_5a5a;

/// Bus frames to choose from: usual, next to what is reserved, at the ends of what can be counted.
const BFNS: [u64; 8] =
    [0, 0x1_0000, 0x200, 0x8000 - 16, 0xfee00 - 16, (1 << 36) - 64, u64::MAX - 64, 1 << 30];

/// Guest frames: scattered, in a row, registers, at the end.
pub(super) const GFNS: [u64; 4] = [0, 0x200, 0xf_0000, u64::MAX - 8];

/// The bus frame that a number stands for.
pub(super) fn bus_frame(number: u16) -> u64 {
    BFNS[usize::from(number >> 13)].wrapping_add(u64::from(number & 0x1fff))
}

/// The count of pages that a number stands for: mostly small, sometimes at the ends of what can be counted.
pub(super) fn pages(number: u16) -> u32 {
    let low = u32::from(number & 0x3ff);
    match number >> 10 {
        0..32 => low,
        32..48 => low & 7,
        48..60 => 1,
        60 => low << 8,
        61 => low << 22,
        _ => u32::MAX - low,
    }
}

/// The element that the numbers stand for.
pub(super) fn element(asked: &input::Element) -> BatchElement {
    let op = BatchOp(u16::from(asked.op % 9));
    let bfn = bus_frame(asked.bfn);
    let (base, offset) = (usize::from(asked.page >> 6), u64::from(asked.page & 0x3f));
    let page = match op {
        BatchOp::MAP_LIST if base == 3 => u64::MAX - offset,
        BatchOp::MAP_LIST => LIST + (u64::from(asked.page) << 4),
        BatchOp::MAP => GFNS[base].wrapping_add(offset),
        // Must be zero, so nearly always it is.
        _ => u64::from(asked.page == u8::MAX),
    };
    BatchElement {
        op,
        flags: ElementFlags::from_bits_retain(u16::from(asked.flags)),
        status: UNTOUCHED as i32,
        bfn: Bfn(bfn),
        page,
        nr: pages(asked.nr),
        done: UNTOUCHED,
    }
}

/// Makes the call, continues it to its end, and checks it; the status.
pub(super) fn call(world: &World<'_>, asked: &input::Batch) -> i64 {
    let bed = world.bed;
    let board = bed.board();
    let index = usize::from(asked.caller & 1);
    let (domain, other) = (DOMAINS[index], DOMAINS[1 - index]);
    let for_other = asked.caller & 16 != 0;
    let target = if for_other { other } else { domain };
    let mut elements: Vec<_> = asked.elements.iter().map(element).collect();
    let nr_done = u32::from(asked.flags & 2 != 0).min(elements.len() as u32);
    if let Some(first) = elements.get_mut(nr_done as usize) {
        first.done = 0;
    }
    let header = Batch {
        ctx_id: u32::from(asked.context & 7),
        flags: BatchFlags::from_bits_retain(u32::from(asked.flags & 1)),
        domid: if for_other { other } else { DomId::SELF },
        owner: match asked.flags >> 2 & 3 {
            0 => DomId::SELF,
            1 => DOMAINS[0],
            _ => DOMAINS[1],
        },
        nr_ops: elements.len() as u32,
        nr_done,
        ops: GuestPtr(ELEMENTS),
        ..Batch::default()
    };
    // Pages may have left the domain; the call must cope with that, too.
    let _ = board.guest_write(domain, HEADER, header.as_bytes());
    let _ = board.guest_write(domain, ELEMENTS, elements.as_bytes());
    let caller = Caller { cpu: usize::from(asked.caller >> 1 & 3), width: Width::Bits64 };
    for _ in 0..CONTINUATIONS {
        let before = look(world, domain, &header);
        board.record_copies(true);
        let subop = u64::from(Subop::BATCH.0);
        let outcome = bed.iommu().iommu_op(bed.domain(domain), caller, subop, HEADER);
        board.record_copies(false);
        let after = look(world, domain, &header);
        let copies = board.take_copies();
        if let Some((batch, _)) = &before {
            copies::check_batch(&copies, batch, domain, HEADER);
        }
        if let Outcome::Done(status) = outcome {
            assert!(status == 0 || Errno::from_ret(status).is_some(), "returned {status}");
            if let Some((batch, elements)) = &after {
                check(world, target, batch, elements, status);
            }
            return status;
        }
    }
    unreachable!("a batch makes no progress");
}

/// Header and elements as they lie in memory, if they do.
fn look(world: &World<'_>, domain: DomId, header: &Batch) -> Option<(Batch, Vec<BatchElement>)> {
    let board = world.bed.board();
    let mut batch = *header;
    let mut elements = vec![BatchElement::new_zeroed(); header.nr_ops as usize];
    board.guest_read(domain, HEADER, batch.as_mut_bytes()).ok()?;
    board.guest_read(domain, ELEMENTS, elements.as_mut_bytes()).ok()?;
    Some((batch, elements))
}

/// What is finished has a status of the ABI and a count; the last one that changed something has
/// done it.
fn check(world: &World<'_>, target: DomId, batch: &Batch, elements: &[BatchElement], status: i64) {
    let done = batch.nr_done as usize;
    let ran = status == 0 || Errno::from_ret(status) == Some(Errno::EIO);
    for element in elements.iter().take(done).filter(|element| element.status != UNTOUCHED as i32) {
        let known = Errno::from_ret(i64::from(element.status)).is_some();
        assert!(element.status == 0 || known, "{element:?}");
        let begun_by_guest = element.done == UNTOUCHED;
        assert!(element.done <= element.nr || begun_by_guest, "{element:?}");
    }
    let last = elements[..done.min(elements.len())].last().filter(|_| ran && status == 0);
    let Some(element) = last.filter(|element| element.status == 0) else { return };
    let edited = batch.ctx_id != 0 || world.has_taken(target);
    assert!(edited, "the default context was edited (INV-70)");
    let later = element.flags.contains(ElementFlags::NO_FLUSH);
    let Some(pages) = Some(element.nr).filter(|_| !later) else { return };
    let context = ContextId(u16::try_from(batch.ctx_id).unwrap());
    let range = Range { target, context, first: element.bfn, pages };
    match element.op {
        BatchOp::MAP | BatchOp::MAP_LIST | BatchOp::MAP_GRANT => {
            check_mapped(world, &range, element.flags.contains(ElementFlags::READ));
        }
        BatchOp::UNMAP => check_unmapped(world, &range),
        _ => {}
    }
}
