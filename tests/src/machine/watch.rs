//! Guest memory that changes while the service reads it: what is written after which copy, and what
//! the service saw.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use pviommu_abi::DomId;

use super::{
    board::{Board, Copied},
    frames::lock,
};

/// A copy, and the bytes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Where, and in which direction.
    pub copied: Copied,
    /// What was read or written; `None` if the copy faulted.
    pub data: Option<Vec<u8>>,
}

/// What a guest writes, by another CPU or a device, while one of its CPUs is in the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewrite {
    /// After which copy, counted from one and from when the watch began: before the next, if there is one.
    pub after: u32,
    /// Whose memory.
    pub domain: DomId,
    /// Guest physical address of the first byte. Where no memory is, nothing happens.
    pub address: u64,
    /// The bytes, of a number of as many bytes if it is added.
    pub bytes: Vec<u8>,
    /// Add them, as a little-endian number that wraps, to what is there.
    pub adds: bool,
}

#[derive(Debug, Default)]
struct State {
    copies: u32,
    seen: Vec<Seen>,
    rewrites: Vec<Rewrite>,
}

/// The watch on the memory of guests.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    on: AtomicBool,
    state: Mutex<State>,
}

impl Board {
    /// From now on keeps what the service copies, and has guests change their memory meanwhile.
    pub fn watch(&self, rewrites: Vec<Rewrite>) {
        *lock(&self.watch.state) = State { rewrites, ..State::default() };
        self.watch.on.store(true, Ordering::Relaxed);
    }

    /// Takes what was copied since the watch began, or since it was taken.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.watch.state).seen)
    }

    /// Ends the watch.
    pub fn end_watch(&self) {
        self.watch.on.store(false, Ordering::Relaxed);
        *lock(&self.watch.state) = State::default();
    }

    /// The service has copied, or tried to.
    pub(crate) fn note_seen(&self, copied: Copied, data: Option<&[u8]>) {
        if !self.watch.on.load(Ordering::Relaxed) {
            return;
        }
        let mut state = lock(&self.watch.state);
        state.copies += 1;
        state.seen.push(Seen { copied, data: data.map(<[u8]>::to_vec) });
        let now = state.copies;
        for rewrite in state.rewrites.iter().filter(|rewrite| rewrite.after == now) {
            self.rewrite(rewrite);
        }
    }

    fn rewrite(&self, rewrite: &Rewrite) {
        let Rewrite { domain, address, .. } = *rewrite;
        let mut bytes = rewrite.bytes.clone();
        if rewrite.adds {
            let mut old = vec![0; bytes.len()];
            if self.guest_read(domain, address, &mut old).is_err() {
                return;
            }
            let mut carry = 0;
            for (byte, old) in bytes.iter_mut().zip(old) {
                let sum = u16::from(*byte) + u16::from(old) + carry;
                (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
            }
        }
        // Where no memory is, a guest writes nothing.
        let _ = self.guest_write(domain, address, &bytes);
    }
}
