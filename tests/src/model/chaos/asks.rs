//! Calls that change nothing of what the model knows, or hardly anything.

use pviommu_abi::{
    ContextId, DeviceHandle, DomId, Errno, GuestPtr, QueryDevice, QueryReserved, ReadFaults,
    RemoteCmd, Subop,
};
use pviommu_hypervisor::Outcome;
use zerocopy::IntoBytes;

use super::super::{
    check::Seen,
    choices::{DEVICE, DOM},
    field::{In, OneOf, variants},
    run::{CONTEXTS, Run, status},
    world::Domain,
};
use crate::vm::{Vm, err, flush, limits, unmap_argument};

/// How far behind its own argument a call has that of the call it makes for another domain.
const INNER: u64 = 0x400;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Ask {
    Noop,
    Capabilities,
    Init,
    Flush {
        ctx: u16,
        bfn: u64,
        pages: u32,
    },
    Device {
        device: usize,
    },
    Lookup {
        ctx: u16,
        bfn: u64,
    },
    Limits {
        ctx: u16,
    },
    Reserved {
        ctx: u16,
    },
    /// An unmap of nothing, in the name of another.
    Remote {
        of: usize,
        ctx: u16,
    },
    FlushWaiting,
    SameDefault,
    Quarantine {
        device: usize,
    },
    ScratchWritten,
    /// What units have recorded is reported first.
    Faults,
}

const CTX: In = In(0, 5);
const OWN_CTX: In = In(0, 3);
const BFN: In = In(0, 0x400);
const PAGES: OneOf<u32> = OneOf(&[(1, 1), (1, 4), (1, 0x200)]);

variants! {
    /// What is asked.
    pub(super) Asks of Ask:
    1 Noop {},
    1 Capabilities {},
    1 Init {},
    1 Flush { ctx: CTX, bfn: BFN, pages: PAGES },
    1 Device { device: DEVICE },
    1 Lookup { ctx: OWN_CTX, bfn: BFN },
    1 Limits { ctx: OWN_CTX },
    1 Reserved { ctx: OWN_CTX },
    1 Remote { of: DOM, ctx: CTX },
    1 FlushWaiting {},
    1 SameDefault {},
    1 Quarantine { device: DEVICE },
    1 ScratchWritten {},
    1 Faults {},
}

impl Run<'_> {
    pub(super) fn ask(&mut self, dom: usize, ask: Ask) {
        let vm = self.vm(dom);
        let Domain { dead, unknown: is_unknown, .. } = self.world.domains[dom];
        let alive =
            |otherwise: Result<(), Errno>| if dead { Err(Errno::ENODEV) } else { otherwise };
        let (given, expected) = match ask {
            Ask::Noop => (vm.guest.call(0, 0), alive(Ok(()))),
            Ask::Capabilities => {
                let mut told = pviommu_abi::Capabilities::default();
                (vm.op(Subop::QUERY_CAPABILITIES, &mut told), alive(Ok(())))
            }
            Ask::Init => (vm.init(u32::from(CONTEXTS), 12), alive(Err(Errno::EACCES))),
            // Which contexts there are is not known then.
            Ask::Flush { .. } if is_unknown => return,
            Ask::Remote { of, .. } if self.world.domains[of].unknown => return,
            Ask::Flush { ctx, bfn, pages } => {
                let given = flush(&vm, ContextId(ctx), bfn, pages);
                (given, alive(self.may_flush(dom, ctx, bfn, pages)))
            }
            Ask::Device { device } => (self.ask_of(&vm, dom, device), {
                let owner = self.world.devices[device].owner;
                alive((owner == Some(dom)).then_some(()).ok_or(Errno::ENODEV))
            }),
            Ask::Lookup { .. } | Ask::Reserved { .. } | Ask::Limits { .. } if is_unknown => return,
            Ask::Lookup { ctx, bfn } => {
                let (found, expected) = self.looked_up(dom, ctx, bfn);
                let number = |told: Result<Seen, i64>| told.map_or_else(|errno| errno, |_| 0);
                let expected = if dead { err(Errno::ENODEV) } else { number(expected) };
                return self.answered(number(found), expected);
            }
            Ask::Limits { ctx } => {
                let given = limits(&vm, ContextId(ctx)).map_or_else(|errno| errno, |_| 0);
                (given, alive(self.is_there(dom, ctx)))
            }
            Ask::Reserved { ctx } => {
                let mut query = QueryReserved { ctx_id: u32::from(ctx), ..Default::default() };
                let given = vm.op(Subop::QUERY_RESERVED, &mut query);
                // There is one at least, and no room was given.
                (given, alive(self.is_there(dom, ctx).and(Err(Errno::ENOBUFS))))
            }
            Ask::Remote { of, .. } if self.world.domains[of].unknown => return,
            Ask::Remote { of, ctx } => {
                (self.unmap_nothing(&vm, dom, of, ctx), self.may_unmap_nothing(dom, of, ctx))
            }
            Ask::Faults => (self.read_faults(&vm), alive(Ok(()))),
            Ask::FlushWaiting => return self.flush_what_waits(),
            Ask::SameDefault => return self.ask_for_the_same_default(dom),
            Ask::Quarantine { device } => return self.quarantine(device),
            Ask::ScratchWritten => {
                let written = self.bed.iommu().scratch_written(self.bed.domain(self.id(dom)), 0);
                return assert_eq!(written, None, "no device writes there");
            }
        };
        self.answered(given, status(expected));
    }

    fn is_there(&self, dom: usize, ctx: u16) -> Result<(), Errno> {
        let there = ctx == 0 || self.world.space(dom, ctx).is_some();
        there.then_some(()).ok_or(Errno::ENOENT)
    }

    fn may_flush(&self, dom: usize, ctx: u16, bfn: u64, pages: u32) -> Result<(), Errno> {
        let domain = &self.world.domains[dom];
        let space = domain.spaces.get(&ctx).filter(|_| ctx != 0 || domain.owned);
        let (first, last) = space.ok_or(Errno::EINVAL)?.aperture;
        let inside = first <= bfn && bfn + u64::from(pages) - 1 <= last;
        inside.then_some(()).ok_or(Errno::EINVAL)
    }

    fn ask_of(&self, vm: &Vm<'_>, dom: usize, device: usize) -> i64 {
        let its = &self.world.devices[device];
        let handle = DeviceHandle::pci(its.function);
        let mut query = QueryDevice { device: handle, ..QueryDevice::default() };
        let given = vm.op(Subop::QUERY_DEVICE, &mut query);
        if given == 0 && its.owner == Some(dom) && !self.is_unknown(device) {
            assert_eq!(query.ctx_id, u32::from(its.context.unwrap_or(0)), "device {device}");
        }
        given
    }

    fn read_faults(&self, vm: &Vm<'_>) -> i64 {
        self.bed.report_faults(0);
        let records = GuestPtr(vm.guest.argument_address() + INNER);
        let mut question = ReadFaults { nr_records: 2, records, ..ReadFaults::default() };
        let at = vm.guest.argument_address();
        self.bed.guest_write(vm.guest.domain(), at, question.as_bytes());
        let given = vm.guest.call(u64::from(Subop::READ_FAULTS.0), at);
        self.bed.guest_read(vm.guest.domain(), at, question.as_mut_bytes());
        assert!(given != 0 || question.nr_records <= 2, "{question:?}");
        given
    }

    fn may_unmap_nothing(&self, dom: usize, of: usize, ctx: u16) -> Result<(), Errno> {
        let its = &self.world.domains[of];
        let editable = its.spaces.contains_key(&ctx) && (ctx != 0 || its.owned);
        match () {
            () if dom != 0 => Err(Errno::EPERM),
            () if self.world.domains[dom].dead => Err(Errno::ENODEV),
            () if its.dead => Err(Errno::ENOENT),
            () => editable.then_some(()).ok_or(Errno::EINVAL),
        }
    }

    fn unmap_nothing(&self, vm: &Vm<'_>, dom: usize, of: usize, ctx: u16) -> i64 {
        let id = self.id(dom);
        let argument = unmap_argument(ContextId(ctx), 0, 0);
        let inner = vm.guest.argument_address() + INNER;
        self.bed.guest_write(id, inner, argument.as_bytes());
        let domid = if of == dom { DomId::SELF } else { self.id(of) };
        let subop = u16::try_from(Subop::UNMAP_PAGES.0).unwrap();
        let mut command = RemoteCmd { domid, subop, arg: GuestPtr(inner), ..RemoteCmd::default() };
        vm.op(Subop::REMOTE_CMD, &mut command)
    }

    /// What was chosen for a domain may be said again.
    fn ask_for_the_same_default(&mut self, dom: usize) {
        let domain = &self.world.domains[dom];
        let expected = match domain.default {
            _ if domain.dead => Err(Errno::ENODEV),
            // Nothing was chosen: it was left as it is.
            pviommu_hypervisor::DefaultMap::Blocked => return,
            _ => Ok(()),
        };
        let (state, map) = (self.bed.domain(domain.id), domain.default);
        let given = loop {
            if let Outcome::Done(status) = self.bed.iommu().set_default(state, 0, map) {
                break status;
            }
        };
        self.answered(given, status(expected));
    }

    fn quarantine(&mut self, device: usize) {
        let its = &self.world.devices[device];
        if self.world.quarantine.is_none() {
            return;
        }
        let (owned, function) = (its.owner.is_some(), its.function);
        let given = self.bed.quarantine(function);
        self.answered(given, if owned { Err(Errno::EBUSY) } else { Ok(()) });
        if given.is_ok() {
            self.world.devices[device].blocked = false;
        }
    }
}
