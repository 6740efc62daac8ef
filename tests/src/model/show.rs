//! Machines and steps in words.

use std::fmt;

use pviommu_hypervisor::platform::Access;

use super::{
    chaos::{Event, Fault},
    ops::{By, Change, Item, Op, Place},
};

/// A range of bus frames of a context of a domain.
struct At<'o>(&'o Place, u32, u16, usize);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(place, pages, ctx, dom) = self;
        write!(f, "{pages:#x} pages at {place} in context {ctx} of domain {dom}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(bfn) => write!(f, "bfn {bfn:#x}"),
            Self::FrameOf(dom, gfn) => {
                write!(f, "the bfn of the frame of gfn {gfn:#x} of domain {dom}")
            }
        }
    }
}

struct Right(Access);

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.0.contains(Access::READ), self.0.contains(Access::WRITE)) {
            (true, true) => "read and write",
            (true, false) => "read",
            (false, true) => "write",
            (false, false) => "nothing",
        })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { times, at, pages, gfn, access } => {
                let access = Right(*access);
                write!(f, "{times} times map {pages:#x} pages at {at} to gfn {gfn:#x}, to {access}")
            }
            Self::Unmap { times, at, pages, skip_holes } => {
                let how = if *skip_holes { ", skip holes" } else { "" };
                write!(f, "{times} times unmap {pages:#x} pages at {at}{how}")
            }
        }
    }
}

struct ReadOnly(bool);

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { ", read only" } else { "" })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { dom, ctx, at, pages, gfn, access, by } => {
                let (at, access) = (At(at, *pages, *ctx, *dom), Right(*access));
                let (whose, how) = match by {
                    By::Alone => (String::new(), "by its own call"),
                    By::Batch => (String::new(), "by a batch"),
                    By::List => (String::new(), "by a list"),
                    By::BatchOf(owner) => (format!(" of domain {owner}"), "by a batch"),
                };
                write!(f, "map {at} to gfn {gfn:#x}{whose}, to {access}, {how}")
            }
            Self::Unmap { dom, ctx, at, pages, skip_holes, alone } => {
                let how = match (alone, skip_holes) {
                    (true, _) => "by its own call",
                    (false, true) => "by a batch that skips holes",
                    (false, false) => "by a batch",
                };
                write!(f, "unmap {}, {how}", At(at, *pages, *ctx, *dom))
            }
            Self::Batch { dom, ctx, run_all, items } => {
                let how = if *run_all { "all elements" } else { "elements until one fails" };
                write!(f, "batch in context {ctx} of domain {dom}, {how}:")?;
                items.iter().try_for_each(|item| write!(f, " {item};"))
            }
            Self::MapGrant { other, ctx, at, grant, access } => {
                write!(f, "map grant {grant} at {at} in context {ctx} to {}", Right(*access))?;
                other.map_or(Ok(()), |dom| write!(f, ", by domain {dom} whoever has it"))
            }
            Self::Alloc { dom, background, aperture: (first, last) } => {
                write!(f, "domain {dom} opens a context over {background:?}, ")?;
                write!(f, "aperture {first:#x} to {last:#x}")
            }
            Self::Free { dom, ctx, reattach } => {
                let how = if *reattach { ", its devices go to the default one" } else { "" };
                write!(f, "domain {dom} frees context {ctx}{how}")
            }
            Self::Attach { dom, device, ctx } => {
                write!(f, "domain {dom} moves device {device} to context {ctx}")
            }
            Self::Take { dom, mode, background } => {
                write!(f, "domain {dom} switches its default context: {mode:?}, {background:?}")
            }
            Self::Change { dom, gfn, pages, change } => {
                let what = match change {
                    Change::Balloon => "are given up".into(),
                    Change::Populate => "come".into(),
                    Change::Exchange => "are exchanged".into(),
                    Change::Access(access) => format!("are left for {}", Right(*access)),
                };
                write!(f, "{pages:#x} pages at gfn {gfn:#x} of domain {dom} {what}")
            }
            Self::Grant { dom, gfn, to, read_only } => {
                write!(f, "domain {dom} grants gfn {gfn:#x} to domain {to}{}", ReadOnly(*read_only))
            }
            Self::CloseGrant { grant } => write!(f, "grant {grant} takes no more maps"),
            Self::EndGrant { grant } => write!(f, "grant {grant} ends"),
            Self::MapForeign { dom, gfn, of, of_gfn, read_only } => {
                let read_only = ReadOnly(*read_only);
                write!(
                    f,
                    "gfn {of_gfn:#x} of domain {of} is put at gfn {gfn:#x} of domain {dom}{read_only}"
                )
            }
            Self::UnmapForeign { none: Some((dom, gfn)), .. } => {
                write!(f, "gfn {gfn:#x} of domain {dom} is taken away as if it were another's")
            }
            Self::UnmapForeign { number, none: None } => {
                write!(f, "page {number} of those of others is taken away")
            }
            Self::Later { dom, ctx, at, pages, then } => {
                write!(f, "unmap {} without a flush; then {then}", At(at, *pages, *ctx, *dom))
            }
            Self::Revoke { number, other: None } => {
                write!(f, "mapped registers {number} are revoked")
            }
            Self::Revoke { other: Some((dom, of, gfn)), .. } => {
                write!(f, "registers at gfn {gfn:#x} of domain {of} are taken from domain {dom}")
            }
            Self::Retarget { dom, of, gfn, what_left } => {
                write!(f, "gfn {gfn:#x} of domain {of}")?;
                f.write_str(if *what_left { ", or what was given up first," } else { "" })?;
                write!(f, " is taken out of the contexts of domain {dom}")
            }
            Self::Assign { dom, device } => write!(f, "device {device} is given to domain {dom}"),
            Self::Unassign { dom, device } => {
                write!(f, "device {device} is taken from domain {dom}")
            }
            Self::Trim { dom } => write!(f, "empty tables of domain {dom} go"),
            Self::Kill { dom } => write!(f, "domain {dom} ends"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, nth, reason, half, yields, patience } = self;
        write!(f, "call {nth} of {step:?} fails ({reason:?}, {half:?}), it gives way {yields:?}")?;
        patience.map_or(Ok(()), |entries| write!(f, ", and is forgotten after entry {entries}"))
    }
}

struct Meanwhile<'f>(&'f Option<Fault>);

impl fmt::Display for Meanwhile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |fault| write!(f, "; meanwhile {fault}"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(op) => write!(f, "{op}"),
            Self::Failing(op, fault, dies) => {
                write!(f, "{op}; meanwhile {fault}")?;
                f.write_str(if *dies { ", and its domain dies of it" } else { "" })
            }
            Self::Ask(dom, ask, fault) => {
                write!(f, "domain {dom} asks: {ask:?}{}", Meanwhile(fault))
            }
            Self::Begin { op, cpu, entries } => {
                write!(f, "on CPU {cpu}, left standing after entry {entries}: {op}")
            }
            Self::GoOn { number, entries, fault } => {
                let fault = Meanwhile(fault);
                write!(f, "call {number} of those that stand goes on for {entries} entries{fault}")
            }
            Self::Dma { device, at, pages } => {
                write!(f, "device {device} reads and writes {pages} pages at {at}")
            }
        }
    }
}
