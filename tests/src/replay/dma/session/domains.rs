//! Domains that begin and end, and devices that come and go.

use std::collections::VecDeque;

use pviommu_abi::{ContextId, FreeFlags, PciDevice};
use pviommu_guest::IommuClient;
use pviommu_guest::dma::DmaSpace;

use super::{Domain, Session};
use crate::replay::dma::handles::Attached;
use crate::trace::{Attach, DomainId};

/// What a device can put on the bus that was never given an address above: the kernel gives out those
/// first.
const BITS_32: u64 = u32::MAX as u64;

impl Session<'_, '_, '_, '_> {
    pub(super) fn attach(&mut self, attach: &Attach) {
        let Attach { domain, device, kind } = *attach;
        if !kind.translates() {
            self.block(device);
            return;
        }
        if !self.open_domain(domain) {
            return;
        }
        let Some(home) = self.domains.get_mut(&domain) else { return };
        home.devices += 1;
        let highest = self.highest.get(&device.sbdf()).copied().unwrap_or(0);
        let mask = if highest > BITS_32 { u64::MAX } else { BITS_32 };
        let (space, when) = (home.space, home.when);
        match space.attach(device, mask) {
            Ok(attached) => {
                let attached = self.arena.devices.put(Attached::new(attached, when));
                let attached = attached.expect("as many places as functions come");
                self.places.insert(device.sbdf(), (domain, attached));
            }
            Err(error) => self.mismatch(|| format!("attach {device}: {error}")),
        }
    }

    /// Puts a function into the default context, which blocks all its DMA.
    pub(super) fn block(&mut self, device: PciDevice) {
        if !self.plan.devices.contains_key(&device.sbdf()) {
            return;
        }
        self.places.remove(&device.sbdf());
        if let Err(error) =
            IommuClient::new(self.kernel).reattach_device(device, ContextId::DEFAULT)
        {
            self.mismatch(|| format!("attach {device} to the default context: {error}"));
        }
    }

    /// Makes a space for a domain, if it has none.
    fn open_domain(&mut self, domain: DomainId) -> bool {
        if self.domains.contains_key(&domain) {
            return true;
        }
        let opened = self.domains.len() + self.closed;
        let storage = self.arena.storages.get(opened).expect("as much room as domains");
        match DmaSpace::open(self.kernel, storage) {
            Ok(space) => {
                let space = self.arena.spaces.put(space).expect("as many places as domains");
                let context = u64::from(space.context().0);
                let when = self.modes.of(domain);
                let pending = VecDeque::new();
                self.domains.insert(domain, Domain { space, context, when, devices: 0, pending });
                true
            }
            Err(error) => {
                self.mismatch(|| format!("open a space for domain {domain}: {error}"));
                false
            }
        }
    }

    /// Frees the context of a domain, whatever is mapped in it.
    pub(super) fn free(&mut self, domain: DomainId) {
        let Some(home) = self.domains.get(&domain) else { return };
        if let Err(error) = home.space.flush() {
            self.mismatch(|| format!("flush domain {domain}: {error}"));
        }
        self.settle();
        let Some(home) = self.domains.remove(&domain) else { return };
        self.closed += 1;
        if !home.pending.is_empty() {
            let waiting = home.pending.len();
            self.mismatch(|| format!("{waiting} buffers of domain {domain} wait after a flush"));
        }
        let left: Vec<usize> = self.numbers_of(domain);
        for number in left {
            if let Some(mapped) = self.open.remove(&number) {
                mapped.held.leak();
            }
        }
        self.places.retain(|_, (home, _)| *home != domain);
        let context = home.space.context();
        let client = IommuClient::new(self.kernel);
        if let Err(error) = client.free_context(context, FreeFlags::REATTACH_DEFAULT) {
            self.mismatch(|| format!("free context {}: {error}", context.0));
        }
        self.witness().gone.clear();
        self.ranges.forget(home.context);
    }

    fn numbers_of(&self, domain: DomainId) -> Vec<usize> {
        let of_domain = self.open.iter().filter(|(_, mapped)| mapped.domain == domain);
        let mut numbers: Vec<usize> = of_domain.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }
}
