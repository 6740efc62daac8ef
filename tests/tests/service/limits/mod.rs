//! What a domain may use: exactly that much, told by `query_limits`, and nothing of it is another's.

mod invalidations;
mod pinned;
mod tags;

use pviommu_abi::{ContextId, DomId, Gfn, PciDevice, QueryLimits, Subop};
use pviommu_hypervisor::addr::GfnRange;
use pviommu_testbed::machine::{Config, DeviceConfig, DomainConfig};

use crate::kit::Vm;

const OTHER: DomId = DomId(2);
const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };

/// The machine of [`Config::one_guest`] with 2048 pages, and a second guest like the first that has the
/// device 00:04.0.
fn two_guests() -> Config {
    let mut config = Config::one_guest(2048);
    let ram = vec![GfnRange::of_pages(Gfn(0), 2048).unwrap()];
    config.domains.push(DomainConfig { id: OTHER, ram, ..DomainConfig::default() });
    let second = DeviceConfig { function: SECOND, owner: OTHER, ..DeviceConfig::default() };
    config.devices.push(second);
    config
}

fn told(vm: &Vm<'_>) -> QueryLimits {
    let ctx_id = u32::from(ContextId::DEFAULT.0);
    let mut query = QueryLimits { ctx_id, ..QueryLimits::default() };
    assert_eq!(vm.op(Subop::QUERY_LIMITS, &mut query), 0);
    query
}
