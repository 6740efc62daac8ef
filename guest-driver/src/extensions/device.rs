//! How a device is isolated from others.

use pviommu_abi::{ContextId, DeviceFlags, DeviceHandle, DomId, QueryDevice, Subop};

use super::{ForDomain, bad};
use crate::client::IommuClient;
use crate::error::Error;
use crate::hypercall::Hypercall;

/// What is known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its properties.
    pub state: DeviceFlags,
    /// Where it stands among others; `None` if the service does not translate its DMA
    /// (`DeviceFlags::BEHIND_IOMMU` is clear), as for emulated devices, which use guest addresses.
    pub place: Option<DevicePlace>,
}

/// Where a device stands that the service translates the DMA of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevicePlace {
    /// The context it is attached to.
    pub context: ContextId,
    /// The smallest set of devices that the IOMMU can isolate from all others, which is given to a
    /// domain whole: those with the same number. Only good for comparing.
    pub group: u64,
    /// Devices with the same number move between contexts together: they can share a requester id,
    /// or the hypervisor wants all of a group in one context. Only good for comparing.
    pub moves_with: u64,
}

impl DeviceInfo {
    /// Whether it is alone with itself: its DMA is translated, no other device can send requests in
    /// its name or reach it untranslated, none of its group is hidden from the caller, and none of
    /// them can raise an interrupt that it was not given.
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        let risks = DeviceFlags::SHARING_RISK.union(DeviceFlags::HIDDEN_MEMBERS);
        let Self { state, place } = self;
        place.is_some()
            && !state.intersects(risks)
            && state.contains(DeviceFlags::INTERRUPTS_ISOLATED)
    }

    /// Whether the IOMMU cannot keep the two apart.
    #[must_use]
    pub fn is_in_group_of(&self, other: &Self) -> bool {
        self.place.zip(other.place).is_some_and(|(own, other)| own.group == other.group)
    }

    /// Whether the two move between contexts together.
    #[must_use]
    pub fn moves_with(&self, other: &Self) -> bool {
        self.place.zip(other.place).is_some_and(|(own, other)| own.moves_with == other.moves_with)
    }
}

impl<H: Hypercall> ForDomain<'_, H> {
    /// How a device is isolated, named as the domain names it.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] with `ENODEV` if it is not the domain's device, and without
    /// `CapabilityFlags::QUERY_DEVICE`; [`Error::Refused`] with `EPERM` or `ESRCH` as for
    /// [`lookup`](Self::lookup); [`BadReply::Field`].
    ///
    /// [`BadReply::Field`]: crate::BadReply::Field
    pub fn query_device(&self, device: DeviceHandle) -> Result<DeviceInfo, Error> {
        let mut arg = QueryDevice { domid: self.domain, device, ..QueryDevice::default() };
        self.client.call(&mut arg)?;
        info(&arg)
    }
}

impl<H: Hypercall> IommuClient<H> {
    /// [`ForDomain::query_device`] of the calling domain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn query_device(&self, device: DeviceHandle) -> Result<DeviceInfo, Error> {
        self.for_domain(DomId::SELF).query_device(device)
    }
}

fn info(reply: &QueryDevice) -> Result<DeviceInfo, Error> {
    let wrong = |field, value: u32| bad(Subop::QUERY_DEVICE, field, value.into());
    let QueryDevice { group, moves_with, state, ctx_id, .. } = *reply;
    // One that is not known could be a risk.
    if DeviceFlags::from_bits(state.bits()).is_none() {
        return Err(wrong("state", state.bits()));
    }
    if !state.contains(DeviceFlags::BEHIND_IOMMU) {
        return Ok(DeviceInfo { state, place: None });
    }
    let context = ContextId::try_from(ctx_id).map_err(|_| wrong("ctx_id", ctx_id))?;
    Ok(DeviceInfo { state, place: Some(DevicePlace { context, group, moves_with }) })
}
