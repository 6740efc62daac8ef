//! A device's request: how it is translated (chapter 3), and what is cached on the way (chapter 6).

use super::{
    act::Violation,
    caches::{Absent, Context, InFlight},
    register::global::TE,
    state::State,
};
use crate::hardware::Ram;

/// Where a request went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Landing {
    /// The table that it was translated by, when it was looked up.
    pub root: u64,
    /// The domain id that it is cached under.
    pub domain: u16,
}

/// What has become of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was translated.
    Landed(Landing),
    /// It was refused, for this reason.
    Refused(u8),
    /// It passed as it was: nothing translates.
    Untranslated,
}

impl State {
    /// A request of `source` for a byte at `address`.
    pub(super) fn request(&mut self, ram: &Ram, source: u16, address: u64, write: bool) -> Outcome {
        if !self.is(TE) {
            if self.guarded {
                self.violations.push(Violation::Window);
            }
            return Outcome::Untranslated;
        }
        match self.translate(ram, source, address, write) {
            Ok(landing) => {
                let Landing { root, domain } = landing;
                self.caches.in_flight.insert(InFlight { domain, root, write });
                Outcome::Landed(landing)
            }
            Err(Absent { reason, silent }) => {
                if !silent {
                    self.refuse(source, address, write, reason);
                }
                Outcome::Refused(reason)
            }
        }
    }

    fn translate(
        &mut self,
        ram: &Ram,
        source: u16,
        address: u64,
        write: bool,
    ) -> Result<Landing, Absent> {
        let loud = |reason| Absent { reason, silent: false };
        let found = match self.caches.contexts.get(&source) {
            Some(cached) => *cached,
            None => self.look_up(ram, source),
        };
        let keeps = found.is_ok() || self.config.caches_absent();
        if keeps {
            self.caches.contexts.insert(source, found);
        }
        let Context { domain, root, width } = found?;
        if address >> width.min(self.config.width()) != 0 {
            return Err(loud(4));
        }
        let page = address >> 12;
        let cached = self.caches.translations.get(&(domain, page)).copied();
        let present = !self.holes.contains(&(root, page));
        let table = cached.unwrap_or(present.then_some(root));
        if table.is_some() || self.config.caches_absent() {
            self.caches.translations.insert((domain, page), table);
        }
        self.caches.ways.insert((domain, page >> 9));
        let root = table.ok_or(loud(if write { 5 } else { 6 }))?;
        Ok(Landing { root, domain })
    }

    /// Reads root entry and context entry.
    fn look_up(&mut self, ram: &Ram, source: u16) -> Result<Context, Absent> {
        let loud = |reason| Absent { reason, silent: false };
        let (bus, devfn) = (u64::from(source >> 8), u64::from(source & 0xff));
        let at = self.root.ok_or(loud(8))? + 16 * bus;
        let [low, high] = self.pair(ram, at, 8)?;
        if low & 1 == 0 {
            return Err(loud(1));
        }
        if low & 0xffe != 0 || high != 0 {
            self.violations.push(Violation::IllegalEntry(source));
            return Err(loud(0xa));
        }
        let [low, high] = self.pair(ram, (low & !0xfff) + 16 * devfn, 9)?;
        let silent = low & 2 != 0;
        if low & 1 == 0 {
            return Err(Absent { reason: 2, silent });
        }
        let (aw, tt, domain) = (high & 7, low >> 2 & 3, high >> 8 & 0xffff);
        let reserved = low & 0xff0 != 0 || high & !0x00ff_ff7f != 0;
        if reserved || tt != 0 || !self.config.walks(aw) || domain & !self.config.domain_mask() != 0
        {
            self.violations.push(Violation::IllegalEntry(source));
            return Err(Absent { reason: if reserved { 0xb } else { 3 }, silent });
        }
        let width = 30 + 9 * aw as u32;
        Ok(Context { domain: domain as u16, root: low & !0xfff, width })
    }

    fn pair(&mut self, ram: &Ram, address: u64, reason: u8) -> Result<[u64; 2], Absent> {
        if let Some(words) = self.walked(ram, address) {
            return Ok(words);
        }
        // With a write buffer it may be that nothing was ever seen.
        if self.view.is_none() {
            self.violations.push(Violation::NoMemory(address));
        }
        Err(Absent { reason, silent: false })
    }
}
