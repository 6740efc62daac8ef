//! A look at a live table, line by line, for a hypervisor's debug key.

use core::fmt;

use pviommu_abi::{Bfn, ContextId};

use super::words::{Frames, origin, rights};
use crate::{
    addr::{BfnRange, Mfn},
    context::{Context, State},
    domain::DomainIommu,
    format::{Format, Leaf, Origin, pages_at, with_format},
    machine::{Gate, Inside, Iommu},
    platform::{Access, Platform},
    table::{Decides, Stretch, Table},
};

/// Entries that one call looks at, at most.
const LOOKS: u32 = 4096;

/// Bus frames that follow each other and are alike: one line of a dump.
///
/// ```text
/// 00000100-000001ff -> 00023400 rw guest 4K
/// 00000200-000003ff -> 00041200 r- guest 2M foreign
/// 000fee00-000feeff blocked
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DumpLine {
    /// The bus frames.
    pub bfns: BfnRange,
    /// What they lead to.
    pub shown: Shown,
}

/// What bus frames lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Shown {
    /// Frames that follow each other as the bus frames do.
    #[non_exhaustive]
    Pages {
        /// The frame of the first.
        first: Mfn,
        /// What a device may do there.
        access: Access,
        /// Who made the mapping.
        origin: Origin,
        /// It is of device registers.
        mmio: bool,
        /// It is of another domain's memory.
        foreign: bool,
        /// log2 of the pages that one entry maps: 0, 9 or 18.
        order: u32,
    },
    /// Nothing, although the background is a scratch page: a reserved range, or beyond the aperture.
    Blocked,
}

impl DumpLine {
    /// A line to fill in.
    pub const EMPTY: Self = Self { bfns: BfnRange::fixed(Bfn(0), Bfn(0)), shown: Shown::Blocked };

    fn of<F: Format>(stretch: &Stretch) -> Self {
        let order = pages_at::<F>(stretch.level).trailing_zeros();
        let shown = match stretch.decides {
            Decides::Leaf(Leaf { frame: first, access, soft }) => Shown::Pages {
                first,
                access,
                origin: soft.origin(),
                mmio: soft.mmio(),
                foreign: soft.foreign(),
                order,
            },
            Decides::Blocked | Decides::Vacant => Shown::Blocked,
        };
        Self { bfns: stretch.bfns, shown }
    }

    /// Joins `next` to the end of this line, if it goes on there with the same.
    fn join(&mut self, next: &Self) -> bool {
        let pages = self.bfns.pages();
        let mut goes_on = self.shown;
        if let Shown::Pages { first, .. } = &mut goes_on {
            *first = Mfn(first.0.saturating_add(pages));
        }
        let follows = self.bfns.last().checked_add(1) == Some(next.bfns.first());
        let joined = follows && goes_on == next.shown;
        if joined {
            self.bfns = self.bfns.union(next.bfns);
        }
        joined
    }
}

impl fmt::Display for DumpLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = Frames(self.bfns);
        let Shown::Pages { first, access, origin: by, mmio, foreign, order } = self.shown else {
            return write!(f, "{frames} blocked");
        };
        write!(f, "{frames} -> {:08x} {} {} ", first.0, rights(access), origin(by))?;
        match order {
            0 => f.write_str("4K")?,
            9 => f.write_str("2M")?,
            18 => f.write_str("1G")?,
            order => write!(f, "2^{order} pages")?,
        }
        f.write_str(if mmio { " mmio" } else { "" })?;
        f.write_str(if foreign { " foreign" } else { "" })
    }
}

/// How far a dump came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Dumped {
    /// Lines written, the others are as they were.
    pub lines: usize,
    /// Where to go on; `None`: that was all.
    pub next: Option<Bfn>,
}

impl<P: Platform> Iommu<'_, P> {
    /// What is mapped in a context of `domain` from bus frame `from` on, in `lines` as far as they
    /// reach; call it again with [`Dumped::next`] for the rest. `None`: the domain has no such context
    /// in use, or there is no such CPU.
    ///
    /// A call looks at no more than 4096 entries, and takes no lock but the room of `cpu`: that CPU is
    /// not in a call meanwhile. What is vacant is skipped, whole tables at a time, and a line that
    /// needs more looks goes on in the next call. Other CPUs may edit the table: each entry is told as
    /// it was at some instant. What is reserved is told where the table tells it apart, over a scratch
    /// page; over the background `Fault` [`context_stats`](Self::context_stats) says it.
    ///
    /// For a hypervisor's own eyes, and printed after the call: frames of the machine are no guest's to
    /// know.
    pub fn dump(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        id: ContextId,
        from: Bfn,
        lines: &mut [DumpLine],
    ) -> Option<Dumped> {
        let own = self.cpu(cpu)?;
        let _claimed = own.claim();
        let session = self.session(domain, own);
        let context = domain.context(id)?;
        let _inside = context.look_inside(session.gate)?;
        with_format!(self.format(), F => {
            Some(write_lines(&session.table::<F>(context), from, lines))
        })
    }
}

fn write_lines<F: Format, P: Platform>(
    table: &Table<'_, F, P>,
    from: Bfn,
    lines: &mut [DumpLine],
) -> Dumped {
    let mut used = 0usize;
    let next = table.survey(from, LOOKS, |stretch| {
        let line = DumpLine::of::<F>(stretch);
        let last = used.checked_sub(1).and_then(|last| lines.get_mut(last));
        if last.is_some_and(|last| last.join(&line)) {
            return true;
        }
        let free = lines.get_mut(used).map(|free| *free = line);
        used = used.saturating_add(usize::from(free.is_some()));
        free.is_some()
    });
    Dumped { lines: used, next }
}

impl Context {
    /// Goes inside, if the context is in use, whatever changes.
    pub(super) fn look_inside<'g>(&self, gate: Gate<'g>) -> Option<Inside<'g>> {
        loop {
            let (epoch, live) = self.snapshot(|epoch| (epoch, self.state() == State::Live));
            if !live {
                return None;
            }
            // Else a change of the context as a whole came between.
            if let Ok(inside) = self.enter(gate, epoch) {
                return Some(inside);
            }
        }
    }
}
