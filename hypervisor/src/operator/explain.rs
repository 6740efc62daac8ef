//! Why did this DMA fault, or not? The walk of the unit is followed in the live table.

use pviommu_abi::Bfn;

use super::{DeviceStats, Explanation, Reason, Trail};
use crate::{
    addr::PAGE_SHIFT,
    context::{Context, Session},
    domain::DomainIommu,
    format::{Format, with_format},
    machine::{Device, DeviceState, Home, Iommu},
    platform::{Access, Platform, SourceId},
    reserved::Reserved,
    table::Decides,
};

impl<P: Platform> Iommu<'_, P> {
    /// What becomes of an `access` of a device at the bus address `address`, as the tables are now;
    /// the id and the address are those of a unit's fault record. `None`: there is no such CPU.
    ///
    /// ```text
    /// 0000:00:03.0 behind unit 0, of domain 1, in context 2: write at 0x12345678
    /// bus frame 0x12345 leads to frame 0x2f001, but r- (guest): the access faults
    /// walk: 3:00000000001aa003 2:00000000001ab003 1:00f00000001ac003 0:006000002f001001
    /// ```
    ///
    /// An access that is let through although a fault was recorded came before the mapping was there.
    /// Takes no lock but the room of `cpu` and, for an instant, the device's, and asks
    /// [`Domains`](crate::platform::Domains) for the owner. For a hypervisor's own eyes, printed after
    /// the call: frames of the machine are no guest's to know.
    pub fn explain(
        &self,
        cpu: usize,
        source: SourceId,
        address: u64,
        access: Access,
    ) -> Option<Explanation> {
        let own = self.cpu(cpu)?;
        let _claimed = own.claim();
        let mut told = Explanation {
            source,
            address,
            access,
            device: None,
            reason: Reason::UnknownDevice,
            removals_wait: false,
            trail: Trail::default(),
        };
        let Some(device) = self.device_of(source) else { return Some(told) };
        let state = *device.state.lock();
        let mut id = None;
        match state.home {
            Home::Blocked => told.reason = Reason::Blocked,
            Home::Quarantine => {
                told.reason = Reason::Changing;
                if let (Some(context), Some(domain)) =
                    (self.quarantine_of(device), self.quarantine_domain())
                {
                    self.session(domain, own).follow(context, &mut told);
                }
            }
            Home::In(slot) => {
                told.reason = Reason::Changing;
                let mut act = |domain: &DomainIommu<'_>| {
                    id = Some(domain.id_of(slot));
                    if let Some(context) = domain.at(slot) {
                        self.session(domain, own).follow(context, &mut told);
                    }
                };
                let _ = state.owner.map(|owner| self.platform().with_domain(owner, &mut act));
            }
        }
        if *device.state.lock() != state {
            // Moved meanwhile: what was followed is not where it is.
            told.reason = Reason::Changing;
        }
        self.judge(device, state, &mut told);
        told.device = Some(DeviceStats::of(device, state, id));
        Some(told)
    }

    /// What is wrong with the device or its unit comes before what the table says.
    fn judge(&self, device: &Device<'_>, state: DeviceState, told: &mut Explanation) {
        if self.unit(device.unit()).is_none_or(|unit| unit.has_failed()) {
            told.reason = Reason::UnitFailed;
        } else if state.broken {
            told.reason = Reason::Broken;
        } else if device.faults.is_stopped() {
            told.reason = if state.tainted { Reason::CutOff } else { Reason::Stopped };
        }
    }
}

impl<P: Platform> Session<'_, P> {
    /// Follows the walk of a unit in the table of `context`, if that is in use.
    fn follow(&self, context: &Context, told: &mut Explanation) {
        let Some(_inside) = context.look_inside(self.gate) else { return };
        told.removals_wait = context.deferred.is_active();
        told.reason = with_format!(self.iommu.format(), F => self.walk::<F>(context, told));
    }

    fn walk<F: Format>(&self, context: &Context, told: &mut Explanation) -> Reason {
        let bfn = Bfn(told.address >> PAGE_SHIFT);
        let Explanation { access, trail, .. } = told;
        let found = self.table::<F>(context).trail(bfn, |level, raw| trail.push(level, raw));
        let page = context.beside.vacancy.page::<F>();
        match (found.map(|found| found.from(bfn).decides), page) {
            (Some(Decides::Leaf(leaf)), _) => {
                let (frame, allowed, origin) = (leaf.frame, leaf.access, leaf.soft.origin());
                if allowed.contains(*access) {
                    Reason::Allowed { frame, allowed, origin }
                } else {
                    Reason::NotAllowed { frame, allowed, origin }
                }
            }
            (Some(Decides::Vacant), Some(page)) => Reason::Scratch(page),
            _ => self.why_not(context, bfn),
        }
    }

    /// Why there is nothing at `bfn`.
    fn why_not(&self, context: &Context, bfn: Bfn) -> Reason {
        let of_machine = self.iommu.reserved().into_iter().flatten().copied();
        let mut reserved = of_machine.chain(context.reserved.all()).filter(Reserved::enforced);
        let aperture = context.aperture();
        match reserved.find(|reserved| reserved.range.contains(bfn)) {
            Some(reserved) => Reason::Reserved(reserved),
            None if !aperture.contains(bfn) => Reason::OutsideAperture(aperture),
            None => Reason::NotMapped,
        }
    }
}
