//! What the service copied in one entry, taken copy by copy: each must be one that what it has read before
//! asks for (INV-50), and what is written is what was read, but for results (INV-52).

use pviommu_abi::{DomId, Subop};
use zerocopy::FromBytes;

use crate::{
    fuzzing::entry::is_result,
    machine::{Copied, Seen},
};

/// Bytes of `size` and `flags` of an argument that can grow.
const HEAD: usize = 8;

/// The copies of an entry, in their order.
#[derive(Debug)]
pub(super) struct Log<'s> {
    rest: &'s [Seen],
    caller: DomId,
}

/// An argument as it was read.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    at: u64,
    /// The whole structure; zeros behind what the caller has of it.
    bytes: Vec<u8>,
    /// Bytes that the caller has.
    known: usize,
}

impl Argument {
    /// Where it was read.
    pub(super) const fn address(&self) -> u64 {
        self.at
    }

    pub(super) fn value<T: FromBytes>(&self) -> T {
        read(&self.bytes)
    }
}

/// The structure that `bytes` begin with.
pub(super) fn read<T: FromBytes>(bytes: &[u8]) -> T {
    let Ok((value, _)) = T::read_from_prefix(bytes) else { unreachable!("the structure was read") };
    value
}

impl<'s> Log<'s> {
    pub(super) const fn new(seen: &'s [Seen], caller: DomId) -> Self {
        Self { rest: seen, caller }
    }

    /// The next copy, if it goes in this direction.
    pub(super) fn peek(&self, out: bool) -> Option<&'s Seen> {
        self.rest.first().filter(|seen| seen.copied.out == out)
    }

    pub(super) fn next(&mut self) -> Option<&'s Seen> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        assert_eq!(first.copied.domain, self.caller, "in whose memory? {first:?}");
        Some(first)
    }

    /// The next copy reads exactly this, unless it was the last; what was read, if it could be.
    pub(super) fn read(&mut self, address: u64, bytes: usize) -> Option<&'s [u8]> {
        let seen = self.next()?;
        let asked = Copied { domain: self.caller, address, bytes, out: false };
        assert_eq!(seen.copied, asked, "what was read before asks for the second (INV-50)");
        seen.data.as_deref()
    }

    /// The next copy writes exactly this, if it is a write; what.
    pub(super) fn written(&mut self, address: u64, bytes: usize) -> Option<&'s [u8]> {
        self.peek(true)?;
        let seen = self.next()?;
        let asked = Copied { domain: self.caller, address, bytes, out: true };
        assert_eq!(seen.copied, asked, "what was read asks for the second (INV-50)");
        seen.data.as_deref()
    }

    /// Nothing else was copied.
    pub(super) fn end(&self) {
        assert_eq!(self.rest, [], "nothing that was read asks for these copies (INV-50)");
    }

    /// The argument of `subop`, of `size` bytes; `None` if it could not be read, or says what it cannot be.
    pub(super) fn argument(&mut self, subop: Subop, at: u64, size: usize) -> Option<Argument> {
        if !subop.is_extension() {
            let bytes = self.read(at, size)?.to_vec();
            return Some(Argument { at, bytes, known: size });
        }
        let mut bytes = self.read(at, HEAD)?.to_vec();
        let told = read::<u32>(&bytes) as usize;
        if !(HEAD..=4096).contains(&told) {
            return None;
        }
        let known = told.min(size);
        bytes.extend(self.read(at + HEAD as u64, known - HEAD)?);
        bytes.resize(size, 0);
        let mut next = known;
        while next < told {
            let now = (told - next).min(64);
            let behind = self.read(at + next as u64, now)?;
            if behind.iter().any(|byte| *byte != 0) {
                return None;
            }
            next += now;
        }
        Some(Argument { at, bytes, known })
    }

    /// The argument is written back, if it is: where it was read, and only results differ from what was read.
    pub(super) fn result(&mut self, subop: Subop, argument: &Argument) -> Option<Argument> {
        let known = argument.known;
        let written = self.written(argument.at, known)?;
        for (i, (read, written)) in argument.bytes.iter().zip(written).enumerate() {
            let may = is_result(subop, i);
            assert!(may || read == written, "{subop:?} wrote byte {i} as nobody had (INV-52)");
        }
        let mut bytes = written.to_vec();
        bytes.resize(argument.bytes.len(), 0);
        Some(Argument { bytes, ..argument.clone() })
    }
}
