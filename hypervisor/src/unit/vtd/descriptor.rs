//! Descriptors of the invalidation queue: 128 bits each, section 6.5.2.
//!
//! ```text
//!  context cache  type 1, G (5:4), domain id (31:16), source id (47:32)
//!  IOTLB          type 2, G (5:4), DW (6), DR (7), domain id (31:16); high: AM (5:0), IH (6), address
//!  interrupts     type 4, G (4), index mask (31:27), index (47:32)
//!  wait           type 5, SW (5), FN (6), data (63:32); high: address of the status
//! ```

use crate::{
    addr::PAGE_SHIFT,
    platform::Tag,
    unit::{Command, vtd::blocks::Block},
};

const TYPE: u64 = 0xf;
const CONTEXT: u64 = 1;
const IOTLB: u64 = 2;
const INTERRUPTS: u64 = 4;
const WAIT: u64 = 5;

const GLOBAL: u64 = 1 << 4;
const DOMAIN: u64 = 2 << 4;
/// Of the IOTLB: pages. Of the context cache: one device.
const SELECTIVE: u64 = 3 << 4;
const DOMAIN_SHIFT: u32 = 16;
const SOURCE_SHIFT: u32 = 32;

const DRAIN_WRITES: u64 = 1 << 6;
const DRAIN_READS: u64 = 1 << 7;
/// IH: tables on the way need not be forgotten.
const LEAVES_ONLY: u64 = 1 << 6;

const BY_INDEX: u64 = 1 << 4;
const INDEX_MASK_SHIFT: u32 = 27;
const INDEX_SHIFT: u32 = 32;

const STATUS_WRITE: u64 = 1 << 5;
const FENCE: u64 = 1 << 6;
const DATA_SHIFT: u32 = 32;

/// All context entries.
pub(super) const CONTEXTS: Command = [CONTEXT | GLOBAL, 0];

/// The context entry of the requests with id `source` (bus in 15:8), if it is cached under `tag`.
pub(super) fn context(tag: Tag, source: u16) -> Command {
    let domain = u64::from(tag.0) << DOMAIN_SHIFT;
    [CONTEXT | SELECTIVE | domain | u64::from(source) << SOURCE_SHIFT, 0]
}

/// All entries of the table of interrupts.
pub(super) const ALL_INTERRUPTS: Command = [INTERRUPTS, 0];

/// `2^order` entries of the table of interrupts from `first` on, a multiple of that.
pub(super) fn interrupts(first: u16, order: u32) -> Command {
    let mask = u64::from(order & 0x1f) << INDEX_MASK_SHIFT;
    [INTERRUPTS | BY_INDEX | mask | u64::from(first) << INDEX_SHIFT, 0]
}

/// Stores `cookie` at `status`, a multiple of 4, when all before it is done; nothing after it is begun
/// before.
pub(super) fn wait(status: u64, cookie: u32) -> Command {
    [WAIT | STATUS_WRITE | FENCE | u64::from(cookie) << DATA_SHIFT, status & !3]
}

/// How to invalidate translations of a unit: always drained as far as it can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drains(u64);

impl Drains {
    /// Of a unit that can drain writes, and reads.
    pub(super) const fn new((writes, reads): (bool, bool)) -> Self {
        let writes = if writes { DRAIN_WRITES } else { 0 };
        Self(writes | if reads { DRAIN_READS } else { 0 })
    }

    /// All translations.
    pub(super) const fn all(self) -> Command {
        [IOTLB | GLOBAL | self.0, 0]
    }

    /// All translations under `tag`.
    pub(super) const fn domain(self, tag: Tag) -> Command {
        [IOTLB | DOMAIN | self.0 | (tag.0 as u64) << DOMAIN_SHIFT, 0]
    }

    /// Those of a block of pages; with `leaves_only` not the tables that led there.
    pub(super) fn pages(self, tag: Tag, block: Block, leaves_only: bool) -> Command {
        let [low, _] = self.domain(tag);
        let hint = if leaves_only { LEAVES_ONLY } else { 0 };
        [low | SELECTIVE, block.first << PAGE_SHIFT | hint | u64::from(block.order)]
    }

    /// What forgets all that `command` would, and is none that the unit has already not taken; `None` if
    /// there is nothing like that.
    pub(super) fn instead_of(self, command: Command) -> Option<Command> {
        let [low, _] = command;
        let wide = match low & TYPE {
            CONTEXT => CONTEXTS,
            IOTLB => self.all(),
            INTERRUPTS => ALL_INTERRUPTS,
            _ => return None,
        };
        (wide != command).then_some(wide)
    }
}

/// True if it is a wait.
pub(super) const fn is_wait([low, _]: Command) -> bool {
    low & TYPE == WAIT
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Drains = Drains::new((true, true));

    /// Golden words, put together by hand from section 6.5.2.
    #[test]
    fn descriptors_say_type_granularity_and_operands() {
        assert_eq!(CONTEXTS, [0x11, 0]);
        assert_eq!(context(Tag(0xabcd), 0x1234), [0x1234_abcd_0031, 0]);
        assert_eq!(ALL.all(), [0xd2, 0]);
        assert_eq!(ALL.domain(Tag(7)), [0x0007_00e2, 0]);
        let block = Block { first: 0x12340, order: 4 };
        assert_eq!(ALL.pages(Tag(7), block, false), [0x0007_00f2, 0x1234_0004]);
        assert_eq!(ALL.pages(Tag(7), block, true), [0x0007_00f2, 0x1234_0044]);
        assert_eq!(ALL_INTERRUPTS, [4, 0]);
        assert_eq!(interrupts(0x340, 3), [0x0340_1800_0014, 0]);
        assert_eq!(wait(0x5008, 0xdead_beef), [0xdead_beef_0000_0065, 0x5008]);
    }

    #[test]
    fn a_unit_is_asked_for_the_drains_that_it_has() {
        let low = |drains| Drains::new(drains).domain(Tag(0))[0];
        let words = [(false, false), (true, false), (false, true)].map(low);
        assert_eq!(words, [0x22, 0x62, 0xa2]);
    }

    #[test]
    fn what_is_put_instead_of_a_descriptor_forgets_more() {
        let block = Block { first: 1, order: 0 };
        assert_eq!(ALL.instead_of(context(Tag(1), 2)), Some(CONTEXTS));
        assert_eq!(ALL.instead_of(ALL.pages(Tag(1), block, true)), Some(ALL.all()));
        assert_eq!(ALL.instead_of(ALL.domain(Tag(1))), Some(ALL.all()));
        assert_eq!(ALL.instead_of(interrupts(1, 0)), Some(ALL_INTERRUPTS));
        for last in [CONTEXTS, ALL.all(), ALL_INTERRUPTS, wait(8, 8), [0, 0], [9, 9]] {
            assert_eq!(ALL.instead_of(last), None);
        }
        assert!(is_wait(wait(8, 8)) && !is_wait(CONTEXTS));
    }
}
