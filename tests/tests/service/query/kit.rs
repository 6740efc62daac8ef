//! Questions, as the tests ask them.

use pviommu_abi::{Bfn, ContextId, Errno, Lookup, QueryLimits, Subop};
use zerocopy::{FromBytes, IntoBytes};

use crate::kit::{Vm, err};

pub(crate) fn question(context: ContextId, bfn: u64) -> Lookup {
    Lookup { ctx_id: u32::from(context.0), bfn: Bfn(bfn), ..Lookup::default() }
}

pub(crate) fn limits(vm: &Vm<'_>, context: ContextId) -> QueryLimits {
    let mut query = QueryLimits { ctx_id: u32::from(context.0), ..QueryLimits::default() };
    assert_eq!(vm.op(Subop::QUERY_LIMITS, &mut query), 0);
    query
}

/// An argument that fails, and is left as it was.
pub(crate) fn is_refused<T: IntoBytes + FromBytes + Copy + zerocopy::Immutable>(
    vm: &Vm<'_>,
    subop: Subop,
    argument: T,
    errno: Errno,
) {
    let mut after = argument;
    assert_eq!(vm.op(subop, &mut after), err(errno), "{subop:?}");
    assert_eq!(after.as_bytes(), argument.as_bytes(), "{subop:?}");
}
