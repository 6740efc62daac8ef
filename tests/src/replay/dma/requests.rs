//! The first pass over a trace: what a driver asks its DMA API for, in order, and with which memory.
//!
//! The lines of the DMA API do not tell it all. Where coherent memory lies, and how long the pieces
//! of a scatter list are, is read from the maps of the trace, which come before. An unmap names the
//! trace's bus address, or the first piece of a list: here it becomes the number of its map, since
//! other addresses are used when this is replayed.

use pviommu_abi::PciDevice;
use rustc_hash::FxHashMap;

use super::open::{Open, Opened};
use super::pieces;
use crate::replay::plan;
use crate::replay::shadow::Shadow;
use crate::replay::spans::Span;
use crate::trace::{
    Attach, DmaBuffer, DmaDirection, DmaEvent, DmaOp, DmaRange, DomainId, Event, Op,
};

/// Bytes that follow each other in the guest's memory.
pub(super) use pieces::Piece;

/// One thing that happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) line: u64,
    pub(super) ns: u64,
    pub(super) cpu: u32,
    pub(super) what: What,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// A function comes to a domain.
    Attach(Attach),
    /// A function goes.
    Leave(PciDevice),
    /// A domain ends.
    Free(DomainId),
    /// A driver maps something. The maps are numbered from 0 on.
    Map(Wanted),
    /// A driver unmaps what the map of that number mapped.
    Unmap(usize),
}

/// What a driver wants mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// The domain of the trace that its function is in.
    pub(super) domain: DomainId,
    pub(super) device: PciDevice,
    pub(super) direction: DmaDirection,
    /// Shared by driver and device for long.
    pub(super) is_coherent: bool,
    /// At least one, none of them empty.
    pub(super) pieces: Vec<Piece>,
}

/// All that happens in a trace, as far as drivers have to do with it.
#[derive(Default, Debug)]
pub(super) struct Requests {
    pub(super) list: Vec<Request>,
    /// Maps among them.
    pub(super) maps: usize,
    /// `M` lines of the trace.
    pub(super) trace_maps: u64,
    /// `P` lines of the trace.
    pub(super) map_batches: u64,
    /// `U` lines of the trace.
    pub(super) unmaps: u64,
    /// Lines that contradict others.
    pub(super) oddities: u64,
    /// The greatest bus address that each function was told, by segment, bus and function as one
    /// number.
    pub(super) highest: FxHashMap<u32, u64>,
}

impl Requests {
    /// Reads both lists of a trace, which are in the order of their lines.
    pub(super) fn of(events: &[Event], calls: &[DmaEvent]) -> Self {
        let mut reading = Reading::default();
        let mut calls = calls.iter().peekable();
        for event in events {
            while let Some(call) = calls.next_if(|call| call.line < event.line) {
                reading.call(call);
            }
            reading.event(event);
        }
        // A trace that is replayed in part ends with an event; what follows it is its own.
        calls.for_each(|call| reading.call(call));
        reading.found
    }

    /// The guest frames of all that drivers want mapped.
    pub(super) fn memory(&self) -> Vec<Span> {
        let wanted = self.list.iter().filter_map(|request| match &request.what {
            What::Map(wanted) => Some(&wanted.pieces),
            _ => None,
        });
        let pieces = wanted.flatten();
        pieces
            .map(|piece| Span::of_bytes(piece.address, piece.address + (piece.length - 1)))
            .collect()
    }
}

/// What is known while the trace is read.
#[derive(Default)]
struct Reading {
    found: Requests,
    /// The domain each function is in, if it translates.
    places: FxHashMap<u32, DomainId>,
    /// What each domain maps in the trace.
    mapped: FxHashMap<DomainId, Shadow>,
    /// Maps of drivers that were not unmapped yet.
    open: Open,
}

impl Reading {
    fn event(&mut self, event: &Event) {
        let what = match event.op {
            Op::Map(map) => {
                self.found.trace_maps += 1;
                let (extent, mapped) =
                    (plan::extent(&map), self.mapped.entry(map.domain).or_default());
                if mapped.first_mapped(extent.bus()).is_none() {
                    mapped.insert(extent);
                }
                return;
            }
            Op::Unmap(unmap) => {
                self.found.unmaps += 1;
                if let Some(mapped) = self.mapped.get_mut(&unmap.domain)
                    && unmap.unmapped > 0
                {
                    mapped.remove(Span::of_pages(unmap.iova >> 12, unmap.unmapped >> 12));
                }
                return;
            }
            Op::MapBatch(_) => {
                self.found.map_batches += 1;
                return;
            }
            Op::Sync(_) | Op::FlushAll(_) | Op::Arrive(_) => return,
            Op::Attach(attach) => {
                if attach.kind.translates() {
                    self.places.insert(attach.device.sbdf(), attach.domain);
                } else {
                    self.places.remove(&attach.device.sbdf());
                }
                What::Attach(attach)
            }
            Op::Leave(device) => {
                self.places.remove(&device.sbdf());
                What::Leave(device)
            }
            Op::Free(domain) => {
                self.mapped.remove(&domain);
                What::Free(domain)
            }
        };
        let Event { line, ns, cpu, .. } = *event;
        self.found.list.push(Request { line, ns, cpu, what });
    }

    fn call(&mut self, event: &DmaEvent) {
        let (device, direction) = (event.call.device, event.call.direction);
        let opened = |bus| Opened { device, direction, bus };
        let what = match &event.call.what {
            DmaOp::Map(DmaBuffer { bus, memory }) => {
                let piece = Piece { address: *memory, length: bus.size };
                self.map(opened(bus.bus), vec![piece], false, &[*bus])
            }
            DmaOp::MapList(list) => {
                let first = list.memory.first().copied().unwrap_or_default();
                let pieces = self.pieces(device, &list.bus, &list.memory);
                let name = Opened { device, direction, bus: first };
                self.map_list(name, list.pieces, pieces, &list.bus)
            }
            DmaOp::Allocate(bus) => {
                let pieces = self.pieces(device, &[*bus], &[]);
                self.map(opened(bus.bus), pieces, true, &[*bus])
            }
            DmaOp::Unmap(bus) => self.open.take(&opened(bus.bus), bus.size).map(What::Unmap),
            DmaOp::UnmapList(end) => {
                self.open.take_list(&opened(end.memory), end.pieces).map(What::Unmap)
            }
            // The kernel's API is asked to free nothing now and then.
            DmaOp::Free(DmaRange { size: 0, .. }) => return,
            DmaOp::Free(bus) => self.open.take(&opened(bus.bus), bus.size).map(What::Unmap),
        };
        let DmaEvent { line, ns, cpu, .. } = *event;
        match what {
            Some(what) => self.found.list.push(Request { line, ns, cpu, what }),
            // Without translation there is nothing to map.
            None if !self.places.contains_key(&device.sbdf()) => {}
            None => self.found.oddities += 1,
        }
    }

    /// The memory behind bus addresses of a function, as the trace has it mapped.
    fn pieces(&self, device: PciDevice, bus: &[DmaRange], starts: &[u64]) -> Vec<Piece> {
        let domain = self.places.get(&device.sbdf());
        let mapped = domain.and_then(|domain| self.mapped.get(domain));
        mapped.and_then(|mapped| pieces::behind(mapped, bus, starts)).unwrap_or_default()
    }

    fn map(
        &mut self,
        name: Opened,
        pieces: Vec<Piece>,
        is_coherent: bool,
        bus: &[DmaRange],
    ) -> Option<What> {
        let size = bus.iter().map(|range| range.size).sum();
        let number = self.found.maps;
        let wanted = self.wanted(&name, pieces, is_coherent, bus)?;
        self.open.put(name, size, number);
        Some(What::Map(wanted))
    }

    fn map_list(
        &mut self,
        name: Opened,
        count: u64,
        pieces: Vec<Piece>,
        bus: &[DmaRange],
    ) -> Option<What> {
        let number = self.found.maps;
        let wanted = self.wanted(&name, pieces, false, bus)?;
        self.open.put_list(name, count, number);
        Some(What::Map(wanted))
    }

    fn wanted(
        &mut self,
        name: &Opened,
        pieces: Vec<Piece>,
        is_coherent: bool,
        bus: &[DmaRange],
    ) -> Option<Wanted> {
        let Opened { device, direction, .. } = *name;
        let domain = *self.places.get(&device.sbdf())?;
        if pieces.is_empty() || pieces.iter().any(|piece| piece.length == 0) {
            return None;
        }
        let last = bus.iter().map(|range| range.bus + range.size.saturating_sub(1)).max()?;
        let highest = self.found.highest.entry(device.sbdf()).or_default();
        *highest = (*highest).max(last);
        self.found.maps += 1;
        Some(Wanted { domain, device, direction, is_coherent, pieces })
    }
}
