//! The device: it copies bytes from one bus address to another, and reaches what its context maps.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use pviommu_abi::{Bfn, ContextId, MapFlags};
use pviommu_guest::dma::{Buffer, Piece};

use crate::fake::{DEVICE, Page, machine};

const PAGE: u64 = 4096;

/// The guest's memory, by the numbers of its frames.
pub(crate) type Memory = Rc<RefCell<BTreeMap<u64, Vec<u8>>>>;

/// The device was refused an access.
#[derive(Debug)]
pub(crate) struct Fault {
    address: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused at {:#x}", self.address)
    }
}

/// A device that copies.
#[derive(Debug)]
pub(crate) struct Copier(pub(crate) Memory);

impl Copier {
    /// Copies `length` bytes.
    pub(crate) fn copy(&self, from: u64, to: u64, length: u64) -> Result<(), Fault> {
        for at in 0..length {
            let byte = {
                let (frame, offset) = place(from + at, MapFlags::READABLE)?;
                self.0.borrow().get(&frame).map_or(0, |page| page[offset])
            };
            let (frame, offset) = place(to + at, MapFlags::WRITEABLE)?;
            if let Some(page) = self.0.borrow_mut().get_mut(&frame) {
                page[offset] = byte;
            }
        }
        Ok(())
    }
}

/// The guest frame and the offset that a bus address leads to, if the device may access it so.
fn place(address: u64, access: MapFlags) -> Result<(u64, usize), Fault> {
    let context = context();
    let entry = machine(|machine| machine.context(context).reach(Bfn::containing(address)));
    match entry.filter(|entry| entry.access.contains(access)).map(|entry| entry.page) {
        Some(Page::Own(gfn)) => Ok((gfn.0, (address % PAGE) as usize)),
        _ => Err(Fault { address }),
    }
}

/// The context that the device is in.
fn context() -> ContextId {
    machine(|machine| {
        let mut devices = machine.devices.iter().filter(|peer| peer.name == DEVICE);
        devices.next().map_or(ContextId::DEFAULT, |peer| peer.context)
    })
}

/// Pages that are whoever has this.
#[derive(Debug)]
pub(crate) struct Pages {
    memory: Memory,
    frames: Vec<u64>,
}

impl Pages {
    /// Takes these frames.
    pub(crate) fn take(memory: &Memory, frames: &[u64]) -> Self {
        let mut pages = memory.borrow_mut();
        for frame in frames {
            pages.insert(*frame, vec![0; PAGE as usize]);
        }
        drop(pages);
        Self { memory: Rc::clone(memory), frames: frames.to_vec() }
    }

    /// Fills them with a byte.
    pub(crate) fn fill(&mut self, byte: u8) {
        for frame in &self.frames {
            self.memory.borrow_mut().insert(*frame, vec![byte; PAGE as usize]);
        }
    }

    /// Whether all their bytes are this one.
    pub(crate) fn are(&self, byte: u8) -> bool {
        let memory = self.memory.borrow();
        let mut bytes = self.frames.iter().filter_map(|frame| memory.get(frame)).flatten();
        bytes.all(|found| *found == byte)
    }

    /// How many bytes they have.
    pub(crate) fn length(&self) -> u64 {
        self.frames.len() as u64 * PAGE
    }
}

impl Buffer for Pages {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        self.frames.iter().map(|frame| Piece { address: frame * PAGE, length: PAGE })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for frame in &self.frames {
            self.memory.borrow_mut().remove(frame);
        }
    }
}
