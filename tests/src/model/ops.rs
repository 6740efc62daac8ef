//! What can happen, chosen at random: by guests, by the embedder, by other domains.

use pviommu_abi::{Background as Wire, OwnershipMode};
use pviommu_hypervisor::platform::Access;

use super::{
    choices::OP,
    field::{Bytes, Field},
};

/// Domains, devices and contexts by their place in the model.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Op {
    Map {
        dom: usize,
        ctx: u16,
        at: Place,
        pages: u32,
        gfn: u64,
        access: Access,
        by: By,
    },
    Unmap {
        dom: usize,
        ctx: u16,
        at: Place,
        pages: u32,
        skip_holes: bool,
        alone: bool,
    },
    /// Elements in one call; after one that fails, the others are run, or they are not.
    Batch {
        dom: usize,
        ctx: u16,
        run_all: bool,
        items: Vec<Item>,
    },
    /// By who it was granted to, or by another.
    MapGrant {
        other: Option<usize>,
        ctx: u16,
        at: Place,
        grant: usize,
        access: Access,
    },
    Alloc {
        dom: usize,
        background: Wire,
        aperture: (u64, u64),
    },
    Free {
        dom: usize,
        ctx: u16,
        reattach: bool,
    },
    Attach {
        dom: usize,
        device: usize,
        ctx: u16,
    },
    Take {
        dom: usize,
        mode: OwnershipMode,
        background: Wire,
    },
    Change {
        dom: usize,
        gfn: u64,
        pages: u64,
        change: Change,
    },
    Grant {
        dom: usize,
        gfn: u64,
        to: usize,
        read_only: bool,
    },
    CloseGrant {
        grant: usize,
    },
    EndGrant {
        grant: usize,
    },
    MapForeign {
        dom: usize,
        gfn: u64,
        of: usize,
        of_gfn: u64,
        read_only: bool,
    },
    /// One of those there are, or what is none.
    UnmapForeign {
        number: usize,
        none: Option<(usize, u64)>,
    },
    /// Two removals in one: the flush of the first comes with the other, or after it.
    Later {
        dom: usize,
        ctx: u16,
        at: Place,
        pages: u32,
        then: Box<Op>,
    },
    /// Registers that are mapped somewhere, or those of another domain.
    Revoke {
        number: usize,
        other: Option<(usize, usize, u64)>,
    },
    Retarget {
        dom: usize,
        of: usize,
        gfn: u64,
        what_left: bool,
    },
    Assign {
        dom: usize,
        device: usize,
    },
    Unassign {
        dom: usize,
        device: usize,
    },
    Trim {
        dom: usize,
    },
    Kill {
        dom: usize,
    },
}

/// A bus frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum Place {
    Number(u64),
    /// The one with the number of the machine frame behind a guest frame.
    FrameOf(usize, u64),
}

/// Elements of a batch that are alike: so many, of so many pages each, one behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Item {
    Map { times: u32, at: Place, pages: u32, gfn: u64, access: Access },
    Unmap { times: u32, at: Place, pages: u32, skip_holes: bool },
}

/// Which call maps, and whose pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum By {
    Alone,
    Batch,
    List,
    BatchOf(usize),
}

/// A change of a P2M.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum Change {
    Balloon,
    Populate,
    Exchange,
    Access(Access),
}

impl Op {
    /// The operation that bytes stand for.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        OP.get(&mut Bytes::new(bytes))
    }
}
