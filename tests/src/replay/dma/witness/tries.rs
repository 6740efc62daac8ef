//! What the witness has devices try.

use pviommu_abi::PciDevice;

use super::{Touched, Witness};
use crate::replay::plan;
use crate::replay::shadow::Extent;
use crate::replay::spans::Spans;

impl Witness<'_> {
    /// A page that is about to be mapped is not yet: units may cache that.
    pub(super) fn try_vacant(&mut self, context: u64, devices: &[PciDevice], extent: &Extent) {
        let page = plan::page(extent.bfn + self.chance.below(extent.pages));
        let Some(space) = self.spaces.get(context) else { return };
        if space.vacant(page).pages() == 0 {
            return;
        }
        let Some(part) = extent.part(page) else { return };
        for device in devices {
            self.probe(*device).gone(&part, &mut self.chance, &mut self.sum);
        }
    }

    pub(super) fn try_blocked(&mut self, device: PciDevice, extents: &[Extent]) {
        for extent in extents {
            self.probe(device).one_blocked(extent, &mut self.chance, &mut self.sum);
        }
    }

    /// The functions whose turn it is in a context: one on each unit.
    pub(super) fn devices(&mut self, context: u64) -> Vec<PciDevice> {
        let Some(space) = self.spaces.get(context) else { return Vec::new() };
        let (mut units, mut devices) = (Vec::new(), Vec::new());
        for device in space.next_members() {
            let unit = self.bed.board().device(device).map(|device| device.unit);
            if !units.contains(&unit) {
                units.push(unit);
                devices.push(device);
            }
        }
        devices
    }

    /// Tries all that a call was about, as it is now that all of it is done.
    pub(super) fn try_touched(&mut self, context: u64, touched: &[Touched]) {
        let devices = self.devices(context);
        for Touched { extent, is_mapped } in touched {
            let Some(space) = self.spaces.get(context) else { return };
            let bus = extent.bus();
            let (live, stale, vacant) = if *is_mapped {
                (space.shadow.within(bus), Vec::new(), Spans::default())
            } else {
                (Vec::new(), space.stale.within(bus), space.vacant(bus))
            };
            for device in &devices {
                let probe = self.probe(*device);
                let (chance, sum) = (&mut self.chance, &mut self.sum);
                live.iter().for_each(|part| probe.live(part, chance, sum));
                stale.iter().for_each(|part| probe.stale(part, chance, sum));
                let gone = vacant.iter().filter_map(|span| extent.part(span));
                gone.for_each(|part| probe.gone(&part, chance, sum));
            }
        }
    }
}
