//! What a hypercall asks for and what was done of it, read off its bytes as the ABI lays them out:
//! nothing of the driver's own view of it.

use pviommu_abi::{
    AllocContext, Batch, BatchElement, BatchOp, ElementFlags, FlushPages, FreeContext, MapFlags,
    MapPages, PciDevice, ReattachDevice, Subop, UnmapPages,
};
use pviommu_hypervisor::platform::Access;
use zerocopy::FromBytes;

use crate::replay::shadow::Extent;
use crate::replay::spans::Span;

/// Pages of a part that was done and has no number of pages.
const WHOLE: u64 = u64::MAX;

/// What one hypercall is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// The translations of a context.
    Translations { context: u64, parts: Vec<Part> },
    /// A new context.
    Allocate,
    /// The end of a context.
    Free { context: u64 },
    /// A device goes to a context.
    Move { device: PciDevice, context: u64 },
    /// Anything else; it changes nothing.
    Other,
}

/// A part of a call that is done after those before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Maps extents, whose bus frames follow each other.
    Map(Vec<Extent>),
    /// Maps pages of somebody else, from a bus frame on.
    MapOthers { bus: Span, access: Access },
    /// Unmaps bus frames; the flush may come in another call.
    Unmap { bus: Span, later: bool },
    /// Flushes bus frames, or the whole context.
    Flush(Option<Span>),
    /// Changes nothing.
    Nothing,
}

impl Part {
    /// Pages that it is about.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Self::Map(extents) => extents.iter().map(|extent| extent.pages).sum(),
            Self::MapOthers { bus, .. } | Self::Unmap { bus, .. } | Self::Flush(Some(bus)) => {
                bus.pages()
            }
            Self::Flush(None) | Self::Nothing => 0,
        }
    }

    /// True for what maps.
    pub(super) fn maps(&self) -> bool {
        matches!(self, Self::Map(_) | Self::MapOthers { .. })
    }

    /// Its first `pages` pages; `None` if that is nothing. A flush is done as a whole.
    pub(super) fn first(self, pages: u64) -> Option<Self> {
        if pages == WHOLE || (pages >= self.pages() && pages > 0) {
            return Some(self);
        }
        if pages == 0 || matches!(self, Self::Flush(_)) {
            return None;
        }
        let cut = |bus: Span| Span::of_pages(bus.first, pages);
        Some(match self {
            Self::Map(extents) => {
                let first = extents.first()?.bfn;
                let part = Span::of_pages(first, pages);
                Self::Map(extents.iter().filter_map(|extent| extent.part(part)).collect())
            }
            Self::MapOthers { bus, access } => Self::MapOthers { bus: cut(bus), access },
            Self::Unmap { bus, later } => Self::Unmap { bus: cut(bus), later },
            Self::Flush(_) | Self::Nothing => self,
        })
    }
}

/// What a hypercall asks for, before it is made.
pub(super) fn asked(subop: Subop, arg: &[u8], buffer: Option<&[u8]>) -> Call {
    let call = match subop {
        Subop::MAP_PAGES => map_pages(arg),
        Subop::UNMAP_PAGES => unmap_pages(arg),
        Subop::FLUSH_PAGES => flush_pages(arg),
        Subop::BATCH => batch(arg, buffer.unwrap_or_default()),
        Subop::ALLOC_CONTEXT => Some(Call::Allocate),
        Subop::FREE_CONTEXT => {
            read::<FreeContext>(arg).map(|call| Call::Free { context: call.ctx_no.0.into() })
        }
        Subop::REATTACH_DEVICE => read::<ReattachDevice>(arg)
            .map(|call| Call::Move { device: call.dev, context: call.ctx_no.0.into() }),
        _ => None,
    };
    call.unwrap_or(Call::Other)
}

/// How many pages of each part were done, for the parts that were begun.
pub(super) fn done(subop: Subop, arg: &[u8], buffer: Option<&[u8]>, status: i64) -> Vec<u64> {
    match subop {
        Subop::MAP_PAGES => {
            read::<MapPages>(arg).map(|call| call.mapped.into()).into_iter().collect()
        }
        Subop::UNMAP_PAGES => {
            read::<UnmapPages>(arg).map(|call| call.unmapped.into()).into_iter().collect()
        }
        Subop::FLUSH_PAGES if status == 0 => vec![WHOLE],
        Subop::BATCH => {
            let Some(call) = read::<Batch>(arg) else { return Vec::new() };
            let finished = usize::try_from(call.nr_done).unwrap_or(usize::MAX);
            let elements = elements(&call, buffer.unwrap_or_default());
            let pages = |(index, element): (usize, BatchElement)| match element.op {
                BatchOp::FLUSH if index < finished && element.status == 0 => WHOLE,
                _ => element.done.into(),
            };
            // The one behind the last may have been done in part.
            elements.enumerate().take(finished.saturating_add(1)).map(pages).collect()
        }
        _ => Vec::new(),
    }
}

/// The context that a call has allocated.
pub(super) fn allocated(arg: &[u8]) -> Option<u64> {
    read::<AllocContext>(arg).map(|call| call.ctx_no.0.into())
}

fn read<T: FromBytes>(arg: &[u8]) -> Option<T> {
    T::read_from_bytes(arg).ok()
}

fn of_one(context: u64, part: Part) -> Option<Call> {
    Some(Call::Translations { context, parts: vec![part] })
}

fn span(first: u64, pages: u32) -> Option<Span> {
    (pages > 0).then(|| Span::of_pages(first, pages.into()))
}

fn map_pages(arg: &[u8]) -> Option<Call> {
    let call: MapPages = read(arg)?;
    let mut access = Access::empty();
    access.set(Access::READ, call.map_flags.contains(MapFlags::READABLE));
    access.set(Access::WRITE, call.map_flags.contains(MapFlags::WRITEABLE));
    let bus = span(call.dfn.0, call.nr_pages)?;
    let extent = Extent { bfn: bus.first, gfn: call.gfn.0, pages: bus.pages(), access };
    of_one(call.ctx_no.0.into(), Part::Map(vec![extent]))
}

fn unmap_pages(arg: &[u8]) -> Option<Call> {
    let call: UnmapPages = read(arg)?;
    let bus = span(call.dfn.0, call.nr_pages)?;
    of_one(call.ctx_no.0.into(), Part::Unmap { bus, later: false })
}

fn flush_pages(arg: &[u8]) -> Option<Call> {
    let call: FlushPages = read(arg)?;
    of_one(call.ctx_no.0.into(), Part::Flush(Some(span(call.dfn.0, call.nr_pages)?)))
}

fn elements(call: &Batch, buffer: &[u8]) -> impl Iterator<Item = BatchElement> {
    let (chunks, _) = buffer.as_chunks::<{ size_of::<BatchElement>() }>();
    let most = usize::try_from(call.nr_ops).unwrap_or(usize::MAX);
    chunks.iter().take(most).map(|chunk| zerocopy::transmute!(*chunk))
}

fn batch(arg: &[u8], buffer: &[u8]) -> Option<Call> {
    let call: Batch = read(arg)?;
    let is_others = call.owner != call.domid;
    // As many parts as elements, so that both have the same numbers.
    let part = |element: BatchElement| part(&element, buffer, is_others);
    let parts = elements(&call, buffer).map(|element| part(element).unwrap_or(Part::Nothing));
    Some(Call::Translations { context: call.ctx_id.into(), parts: parts.collect() })
}

fn part(element: &BatchElement, buffer: &[u8], is_others: bool) -> Option<Part> {
    let mut access = Access::empty();
    access.set(Access::READ, element.flags.contains(ElementFlags::READ));
    access.set(Access::WRITE, element.flags.contains(ElementFlags::WRITE));
    let bus = span(element.bfn.0, element.nr);
    Some(match element.op {
        BatchOp::MAP | BatchOp::MAP_LIST if is_others => Part::MapOthers { bus: bus?, access },
        BatchOp::MAP_GRANT => Part::MapOthers { bus: bus?, access },
        BatchOp::MAP => {
            let Span { first: bfn, .. } = bus?;
            Part::Map(vec![Extent { bfn, gfn: element.page, pages: element.nr.into(), access }])
        }
        BatchOp::MAP_LIST => Part::Map(listed(element, buffer, access)?),
        BatchOp::UNMAP => {
            let later = element.flags.contains(ElementFlags::NO_FLUSH);
            Part::Unmap { bus: bus?, later }
        }
        BatchOp::FLUSH => Part::Flush(bus),
        _ => return None,
    })
}

/// The frames of a list: `page` is where it begins in the buffer. Frames that follow each other are
/// one extent.
fn listed(element: &BatchElement, buffer: &[u8], access: Access) -> Option<Vec<Extent>> {
    let start = usize::try_from(element.page).ok()?;
    let (frames, _) = buffer.get(start..)?.as_chunks::<{ size_of::<u64>() }>();
    let count = usize::try_from(element.nr).ok()?;
    let frames = frames.get(..count)?.iter().map(|frame| u64::from_le_bytes(*frame));
    let mut extents: Vec<Extent> = Vec::new();
    for (bfn, gfn) in (element.bfn.0..).zip(frames) {
        match extents.last_mut() {
            Some(last) if last.gfn + last.pages == gfn => last.pages += 1,
            _ => extents.push(Extent { bfn, gfn, pages: 1, access }),
        }
    }
    Some(extents)
}

#[cfg(test)]
mod tests;
