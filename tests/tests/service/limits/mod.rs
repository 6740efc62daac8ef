//! What a domain may use: exactly that much, told by `query_limits`, and nothing of it is another's.

mod invalidations;
#[cfg(feature = "log")]
mod log_lines;
mod pinned;
mod tables;
mod tags;

use pviommu_abi::{ContextId, QueryLimits, Subop};

use crate::kit::Vm;

fn told(vm: &Vm<'_>) -> QueryLimits {
    let ctx_id = u32::from(ContextId::DEFAULT.0);
    let mut query = QueryLimits { ctx_id, ..QueryLimits::default() };
    assert_eq!(vm.op(Subop::QUERY_LIMITS, &mut query), 0);
    query
}
