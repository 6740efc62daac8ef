//! What comes to an end by itself: unmaps that waited, mappings that were kept.

use pviommu_guest::dma::{Deferral, Kernel};

use super::Session;
use crate::replay::dma::handles::When;
use crate::trace::DomainId;

/// How often the driver's timer runs, in microseconds.
const TIMER_US: u64 = 1_000;

/// Most unmaps of a domain that wait at a time.
const MOST_WAITING: u64 = 256;

impl Session<'_, '_, '_, '_> {
    /// The timer of all spaces, if it has run out.
    pub(super) fn poll(&mut self) {
        let now = self.kernel.now_us();
        if now.saturating_sub(self.polled_us) < TIMER_US {
            return;
        }
        self.polled_us = now;
        for domain in self.numbers() {
            let Some(home) = self.domains.get(&domain) else { continue };
            if let Err(error) = home.space.poll() {
                self.mismatch(|| format!("poll domain {domain}: {error}"));
            }
        }
    }

    /// Takes in what the witness has seen go, takes back what the API says is safe, and sees whether
    /// they agree.
    pub(super) fn settle(&mut self) {
        let gone = std::mem::take(&mut self.witness().gone);
        for (context, bus) in gone {
            if let Some(used) = self.ranges.gone(context, bus) {
                self.mismatch(|| format!("{used:x?} was unmapped, and a driver has it"));
            }
        }
        for domain in self.numbers() {
            self.take_back(domain);
            self.bound(domain);
        }
    }

    fn take_back(&mut self, domain: DomainId) {
        loop {
            let Some(home) = self.domains.get_mut(&domain) else { return };
            if !home.pending.front().is_some_and(|waiting| waiting.pending.is_safe()) {
                return;
            }
            let Some(waiting) = home.pending.pop_front() else { return };
            let name = waiting.name;
            match waiting.pending.try_take() {
                Ok(_memory) if self.ranges.is_gone(&name) => {}
                Ok(_memory) => {
                    self.mismatch(|| format!("a buffer came back and {:x?} is mapped", name.bus));
                }
                Err(_pending) => {
                    self.mismatch(|| "a buffer is safe and cannot be taken".to_owned())
                }
            }
        }
    }

    /// What waits, or is kept, is so within bounds.
    fn bound(&self, domain: DomainId) {
        let Some(home) = self.domains.get(&domain) else { return };
        let idle = self.ranges.idle(home.context);
        let most = match home.when {
            When::Strict => 0,
            When::Deferred => MOST_WAITING,
            When::Reusing(kept) => MOST_WAITING + home.devices * kept.get() as u64,
        };
        if idle > most {
            self.mismatch(|| format!("{idle} ranges are mapped that nobody uses, above {most}"));
        }
        let bound = Deferral::default().microseconds;
        let oldest = home.pending.front().map(|waiting| waiting.since_us);
        let waits = oldest.is_some_and(|since| self.polled_us.saturating_sub(since) > bound);
        if waits {
            self.mismatch(|| format!("an unmap waits for more than {bound} microseconds"));
        }
    }

    /// The domains in use, in order.
    pub(super) fn numbers(&self) -> Vec<DomainId> {
        let mut numbers: Vec<DomainId> = self.domains.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }
}
