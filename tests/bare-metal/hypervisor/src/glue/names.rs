//! Who is meant, whether a call should give way, and whether it is allowed at all.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::{
    DomainIommu, Role,
    abi::{DomId, PciDevice},
    platform::{AccessPolicy, Devices, Domains, Preempt},
};

use super::Platform;
use crate::domains::Domain;

impl Platform {
    /// The domain with this number, unless it is dying.
    #[must_use]
    pub fn domain(&self, id: DomId) -> Option<&Domain> {
        let domain = self.domains.get(usize::from(id.0))?.get()?;
        (!domain.is_dying()).then_some(domain)
    }
}

impl Devices for Platform {
    /// Guests see the machine's own numbers here, of what they were given.
    fn resolve(&self, domain: DomId, name: PciDevice) -> Option<PciDevice> {
        let domain = self.domain(domain)?;
        (domain.iommu.role() == Role::Hardware || domain.has(name)).then_some(name)
    }
}

impl Domains for Platform {
    fn with_domain(&self, domain: DomId, act: &mut dyn FnMut(&DomainIommu<'_>)) -> bool {
        // A record stays for ever, so nothing has to keep it alive.
        self.domain(domain).map(|domain| act(&domain.iommu)).is_some()
    }
}

impl Preempt for Platform {
    fn should_yield(&self) -> bool {
        self.impatient.load(Ordering::Relaxed)
    }
}

/// Everything that the service allows is allowed.
impl AccessPolicy for Platform {}
