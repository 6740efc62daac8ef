//! Which of the lists that were read is whose.
//!
//! Elements can name one list, and one that failed may have read its or not. So all ways are followed in which
//! the elements, in their order, can have read what was read; if the ways differ in what an element was told,
//! nobody can say what it has mapped.

use zerocopy::FromBytes;

use crate::machine::Seen;

/// An element that may have read a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) is_list: bool,
    /// Where what is left of its list begins.
    pub(super) at: u64,
    /// How long that is.
    pub(super) most: u32,
    /// How many pages of it were mapped.
    pub(super) pages: u32,
}

/// What an element has read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    One(Vec<u64>),
    /// The first entries of this and that: as many as it has mapped are among these.
    Unclear(Vec<u64>),
}

/// What each element has read, of `reads`.
pub(super) fn assign(elements: impl Iterator<Item = Asked>, reads: &[&Seen]) -> Vec<Reading> {
    let elements: Vec<_> = elements.collect();
    // From each element on: after how many reads it may begin, and which ends lead to the end.
    let mut ends = vec![vec![false; reads.len() + 1]; elements.len() + 1];
    ends[elements.len()][reads.len()] = true;
    for (number, element) in elements.iter().enumerate().rev() {
        for from in 0..=reads.len() {
            let to = steps(element, reads, from);
            ends[number][from] = to.into_iter().any(|to| ends[number + 1][to]);
        }
    }
    assert!(ends[0][0], "no element asks for what was read (INV-50): {reads:?} of {elements:?}");
    let mut starts = vec![0];
    let mut readings = Vec::new();
    for (number, element) in elements.iter().enumerate() {
        let mut next: Vec<usize> = Vec::new();
        let mut reading: Option<Reading> = None;
        for from in &starts {
            for to in steps(element, reads, *from) {
                if !ends[number + 1][to] {
                    continue;
                }
                next.push(to);
                let own = entries(&reads[*from..to]);
                reading = Some(match reading {
                    None => Reading::One(own),
                    Some(Reading::One(other)) if other == own || element.pages == 0 => {
                        Reading::One(other)
                    }
                    Some(Reading::One(other) | Reading::Unclear(other)) => {
                        Reading::Unclear([other, own].concat())
                    }
                });
            }
        }
        next.sort_unstable();
        next.dedup();
        starts = next;
        readings.extend(reading);
    }
    readings
}

/// After how many reads `element` may have ended that began after `from`.
fn steps(element: &Asked, reads: &[&Seen], from: usize) -> Vec<usize> {
    // It was refused before, or has no list.
    let mut to = Vec::from_iter((element.pages == 0 || !element.is_list).then_some(from));
    if !element.is_list {
        return to;
    }
    let mut told: u32 = 0;
    for (number, seen) in reads.iter().enumerate().skip(from) {
        // A part is read when all before it is mapped.
        if told > element.pages {
            break;
        }
        let (at, bytes) = (element.at.wrapping_add(u64::from(told) * 8), seen.copied.bytes);
        let more = (bytes / 8) as u32;
        let follows = seen.copied.address == at && bytes.is_multiple_of(8) && bytes > 0;
        if !follows || more > element.most - told {
            break;
        }
        if seen.data.is_none() {
            if told == element.pages {
                to.push(number + 1);
            }
            break;
        }
        told += more;
        if element.pages <= told {
            to.push(number + 1);
        }
    }
    to
}

fn entries(reads: &[&Seen]) -> Vec<u64> {
    let bytes = reads.iter().filter_map(|seen| seen.data.as_deref()).flatten().copied();
    let bytes: Vec<u8> = bytes.collect();
    bytes.chunks(8).map(|entry| u64::read_from_bytes(entry).expect("whole entries")).collect()
}
