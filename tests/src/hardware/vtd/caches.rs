//! What a unit has looked up and not yet forgotten.

use rustc_hash::{FxHashMap, FxHashSet};

use super::descriptor::{Pages, Scope};

/// An entry of a context table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Context {
    pub(super) domain: u16,
    pub(super) root: u64,
    pub(super) width: u32,
}

/// Why there is none, and if that is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Absent {
    pub(super) reason: u8,
    pub(super) silent: bool,
}

/// A request that was translated and is on its way to memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct InFlight {
    pub(super) domain: u16,
    pub(super) root: u64,
    pub(super) write: bool,
}

/// All that is cached.
#[derive(Default)]
pub(super) struct Caches {
    /// By source. That there is none is cached under domain 0, if at all.
    pub(super) contexts: FxHashMap<u16, Result<Context, Absent>>,
    /// By domain and page: by which table it was found, or that there was nothing.
    pub(super) translations: FxHashMap<(u16, u64), Option<u64>>,
    /// Tables on the way, by domain and 2 MiB.
    pub(super) ways: FxHashSet<(u16, u64)>,
    pub(super) in_flight: FxHashSet<InFlight>,
}

impl Caches {
    pub(super) fn forget_contexts(&mut self, scope: Scope) {
        self.contexts.retain(|source, cached| {
            let domain = cached.map_or(0, |context| context.domain);
            match scope {
                Scope::All => false,
                Scope::Domain(named) => domain != named,
                // Under another domain than the one that is named it is not looked for.
                Scope::Device { domain: named, source: id } => domain != named || *source != id,
            }
        });
    }

    pub(super) fn forget_translations(&mut self, pages: Pages) {
        self.translations.retain(|(domain, page), _| match pages {
            Pages::All => false,
            Pages::Domain(named) => *domain != named,
            Pages::Block { domain: named, first, last, .. } => {
                *domain != named || !(first..=last).contains(page)
            }
        });
        self.ways.retain(|(domain, way)| match pages {
            Pages::All => false,
            Pages::Domain(named) => *domain != named,
            Pages::Block { leaves_only: true, .. } => true,
            Pages::Block { domain: named, first, last, .. } => {
                *domain != named || !(first >> 9..=last >> 9).contains(way)
            }
        });
    }

    /// What was translated before has landed: writes, and reads.
    pub(super) fn drain(&mut self, pages: Pages, (writes, reads): (bool, bool)) {
        self.in_flight.retain(|request| {
            let meant = match pages {
                Pages::All => true,
                Pages::Domain(domain) | Pages::Block { domain, .. } => domain == request.domain,
            };
            !(meant && if request.write { writes } else { reads })
        });
    }
}
