//! What the hypervisor does of its own accord in the course of an input.
//!
//! | number | what |
//! |---|---|
//! | 0 to 3 | pages come, go, change their owner or their type |
//! | 4 to 7 | trim, timer, faults or a restart; assign, unassign, a piece of teardown |
//! | 8 to 10 | pages go though they are held, are exchanged, or get another access |
//! | 11, 12 | grants and foreign mappings come and go |
//! | 13, 14 | pages or registers are taken out of all contexts |
//! | 15 | quarantine |

use pviommu_abi::Gfn;
use pviommu_hypervisor::{
    addr::{GfnRange, MfnRange},
    platform::Access,
};

use super::world::{CPUS, DEVICES, DOMAINS, MMIO, World};
use crate::machine::FrameKind;

impl World<'_> {
    /// Does number `what` of the above.
    pub(super) fn manage(&mut self, what: u8, index: usize, number: u16) -> String {
        let (bed, board) = (self.bed, self.bed.board());
        let domain = DOMAINS[index];
        let other = DOMAINS[1 - index];
        let gfn = Gfn(u64::from(number) % 0x400);
        let device = usize::from(number) % DEVICES.len();
        let cpu = usize::from(number) % CPUS;
        let flag = number & 0x8000 != 0;
        let foreign = Gfn(0x400 + u64::from(number & 7));
        let told = bed.default_map(domain).need_iommu();
        match what {
            // What the service must be told of.
            0 if told => format!("balloon out {gfn:?}: {:?}", bed.balloon_out(domain, gfn)),
            1 if told => format!("populate {gfn:?}: {:?}", bed.populate(domain, gfn)),
            2 if told || bed.default_map(other).need_iommu() => "no transfer".into(),
            0 => format!("free {gfn:?}: {:?}", board.free_page(domain, gfn)),
            1 => format!("populate {gfn:?}: {:?}", board.populate_page(domain, gfn)),
            2 => format!("transfer {gfn:?}: {:?}", board.give_page(domain, gfn, other, gfn)),
            3 => {
                let kind =
                    if number & 0x8000 == 0 { FrameKind::GuestTable } else { FrameKind::Ram };
                format!("{gfn:?} is {kind:?}: {:?}", board.set_page_kind(domain, gfn, kind))
            }
            4 if number & 0x8000 != 0 => {
                let outcome = bed.iommu().flush_deferred(bed.domain(domain), cpu);
                format!("a piece of the timer's flush: {outcome:?}")
            }
            4 if number & 0x4000 != 0 => {
                let told = bed.report_faults(u64::from(number & 0xfff));
                bed.domain(domain).renew_invalidations();
                bed.domain(domain).renew_log_lines();
                format!("faults are reported: {told:?}")
            }
            4 if number & 0x2000 != 0 => {
                format!("started again: {:?}", bed.iommu().restart(DEVICES[device]))
            }
            4 => format!("trim: {:?}", bed.trim(domain, cpu)),
            5 => format!("assign: {:?}", bed.assign(domain, DEVICES[device])),
            6 => {
                let result = bed.unassign(domain, cpu, DEVICES[device]);
                if result.is_ok() {
                    self.contexts[device] = 0;
                }
                format!("unassign: {result:?}")
            }
            8 => format!("balloon out {gfn:?}: {:?}", bed.balloon_out(domain, gfn)),
            9 => format!("exchange {gfn:?}: {:?}", bed.exchange(domain, gfn)),
            10 => {
                let access = Access::from_bits_truncate((number >> 12) as u8);
                format!("{gfn:?} as {access:?}: {:?}", bed.set_access(domain, gfn, access))
            }
            11 if flag => match self.grants.pop() {
                Some((granter, reference)) => {
                    let ended = bed.end_grant(granter, reference);
                    if ended.is_err() {
                        self.grants.push((granter, reference));
                    }
                    format!("end grant {reference}: {ended:?}")
                }
                None => "no grant".into(),
            },
            11 => {
                let reference = bed.grant(domain, gfn, other, number & 0x4000 != 0);
                self.grants.push((domain, reference));
                format!("grant {gfn:?}: {reference}")
            }
            12 if flag => format!("unmap {foreign:?}: {:?}", bed.unmap_foreign(domain, foreign)),
            12 => {
                let mapped = bed.map_foreign(domain, foreign, (other, gfn), number & 0x4000 != 0);
                format!("map {foreign:?} to {gfn:?} of the other: {mapped:?}")
            }
            13 => {
                let frame = board.machine_frame(domain, if flag { foreign } else { gfn });
                let frames = frame.map(MfnRange::single);
                let result = frames.map(|frames| bed.retarget(domain, &[frames]));
                format!("retarget {frames:?}: {result:?}")
            }
            14 => {
                let registers = GfnRange::of_pages(Gfn(MMIO), 8).and_then(|gfns| {
                    let first = board.machine_frame(domain, gfns.first())?;
                    MfnRange::of_pages(first, gfns.pages())
                });
                let result = registers.map(|frames| bed.revoke_mmio(domain, frames));
                format!("revoke {registers:?}: {result:?}")
            }
            15 => format!("quarantine: {:?}", bed.quarantine(DEVICES[device])),
            _ => {
                let outcome = bed.iommu().teardown(bed.domain(domain), cpu);
                for (index, context) in self.contexts.iter_mut().enumerate() {
                    if board.device_owner(DEVICES[index]) == Some(domain) {
                        *context = 0;
                    }
                }
                format!("a piece of teardown: {outcome:?}")
            }
        }
    }
}
