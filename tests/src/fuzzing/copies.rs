//! What the service may read and write of guest memory in one entry.

use pviommu_abi::{Batch, DomId, GuestPtr, QueryReserved, ReadFaults, Subop};

use crate::machine::Copied;

/// INV-50: what is read is read once, and what is written is what was read, or was asked for.
pub(super) fn check(copies: &[Copied], subop: Subop, domain: DomId, at: u64) {
    if subop == Subop::BATCH {
        // Its array may lie anywhere; a `Batch` operation knows where.
        return;
    }
    let read: Vec<_> = copies.iter().filter(|copied| !copied.out).collect();
    let written: Vec<_> = copies.iter().filter(|copied| copied.out).collect();
    assert!(written.len() <= 1, "{subop:?} writes guest memory {} times", written.len());
    assert!(copies.iter().all(|copied| copied.domain == domain), "in whose memory? {copies:?}");
    if subop.is_extension() {
        // In parts, each behind the one before.
        let mut next = at;
        for copied in &read {
            assert_eq!(copied.address, next, "{subop:?} reads {copies:?}");
            next = next.wrapping_add(copied.bytes as u64);
        }
        if let [written] = written[..] {
            let end = written.address.wrapping_add(written.bytes as u64);
            let inside = written.address == at && end <= next;
            assert!(inside, "{subop:?} wrote elsewhere: {copies:?}");
        }
        return;
    }
    let most = if subop == Subop::REMOTE_CMD { 2 } else { 1 };
    assert!(read.len() <= most, "{subop:?} reads guest memory {} times", read.len());
    if let [written] = written[..] {
        let same = |read: &&Copied| (read.address, read.bytes) == (written.address, written.bytes);
        let asked = (subop == Subop::QUERY_CAPABILITIES && written.address == at)
            || subop == Subop::REMOTE_CMD;
        assert!(asked || read.iter().any(same), "{subop:?} wrote elsewhere: {copies:?}");
    }
}

/// A question whose answer is an array: where that is, and how long the argument.
#[derive(Debug)]
pub(super) struct Listing {
    array: std::ops::Range<u64>,
    argument: u32,
}

impl Listing {
    pub(super) fn reserved(asked: &QueryReserved) -> Self {
        Self::new(asked.entries, asked.nr_entries, QueryReserved::ELEM_SIZE, QueryReserved::SIZE)
    }

    pub(super) fn faults(asked: &ReadFaults) -> Self {
        Self::new(asked.records, asked.nr_records, ReadFaults::ELEM_SIZE, ReadFaults::SIZE)
    }

    fn new(first: GuestPtr, count: u32, size: u32, argument: u32) -> Self {
        let bytes = u64::from(count) * u64::from(size);
        Self { array: first.0..first.0.saturating_add(bytes), argument }
    }
}

/// The same for such a question: what is written is the argument and the array.
pub(super) fn check_listing(copies: &[Copied], asked: &Listing, domain: DomId, at: u64) {
    let Listing { array, argument } = asked;
    let argument = at..at.wrapping_add(u64::from(*argument));
    let mut next = at;
    for copied in copies {
        let end = copied.address.wrapping_add(copied.bytes as u64);
        let inside =
            |outer: &std::ops::Range<u64>| outer.start <= copied.address && end <= outer.end;
        assert_eq!(copied.domain, domain, "in whose memory? {copied:?}");
        if copied.out {
            let may = inside(array) || inside(&argument) || copied.bytes == 0;
            assert!(may, "a query wrote elsewhere: {copied:?}");
        } else {
            assert_eq!(copied.address, next, "a query reads {copies:?}");
            next = end;
        }
    }
}

/// The same for a batch that begins as `batch`: of the header `nr_done` is written, of the array
/// what is not finished yet; header and elements are read once.
pub(super) fn check_batch(copies: &[Copied], batch: &Batch, domain: DomId, at: u64) {
    let bytes = |elements: u32| u64::from(elements) * u64::from(Batch::ELEM_SIZE);
    let array = batch.ops.0 + bytes(batch.nr_done)..batch.ops.0 + bytes(batch.nr_ops);
    let (header, nr_done) = (at..at + u64::from(Batch::SIZE), at + 20..at + 24);
    let mut spans = Vec::new();
    for copied in copies {
        let span = copied.address..copied.address.wrapping_add(copied.bytes as u64);
        let inside =
            |outer: &std::ops::Range<u64>| outer.start <= span.start && span.end <= outer.end;
        assert_eq!(copied.domain, domain, "in whose memory? {copied:?}");
        if copied.out {
            let may = inside(&array) || inside(&nr_done) || span.is_empty();
            assert!(may, "a batch wrote elsewhere: {copied:?}");
        } else if inside(&array) || inside(&header) {
            spans.push(span);
        }
    }
    spans.sort_by_key(|span| span.start);
    for pair in spans.windows(2) {
        assert!(pair[0].end <= pair[1].start, "a batch reads {pair:x?}");
    }
}
