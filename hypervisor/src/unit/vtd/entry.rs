//! Entries of the root table and of context tables, in legacy mode: 128 bits each, sections 9.1 and 9.3.
//!
//! ```text
//!  root entry     low:  P (0), context table (63:12)
//!                 high: reserved
//!  context entry  low:  P (0), FPD (1), TT (3:2), table (63:12)
//!                 high: AW (2:0), domain id (23:8)
//! ```
//!
//! TT is 00: untranslated requests are translated, and those that say that they have been (ATS) are
//! refused. An entry that is not present refuses all. FPD counts even then: nothing is recorded.
//!
//! A device that was stopped has an entry that is not present, with FPD. All else in it is ignored by the
//! unit, so it keeps what the entry is to be when the device is started again: if AW is one that exists,
//! translated, and else refused.

use crate::{
    addr::PAGE_SHIFT,
    platform::{TableRoot, Tag},
};

/// The two words of an entry, the low one first.
pub(super) type Entry = [u64; 2];

const PRESENT: u64 = 1 << 0;
const NO_FAULTS: u64 = 1 << 1;
const ADDRESS: u64 = !0xfff;
const WIDTH: u64 = 7;
const DOMAIN_SHIFT: u32 = 8;

/// The low word of a root entry that leads to the context table at `address`.
pub(super) const fn root(address: u64) -> u64 {
    (address & ADDRESS) | PRESENT
}

/// Where the context table is that the low word of a root entry leads to.
pub(super) const fn context_table(low: u64) -> Option<u64> {
    if low & PRESENT != 0 { Some(low & ADDRESS) } else { None }
}

/// The entry that has requests translated by the table at `root`, and cached under `tag`. `None`: no
/// unit walks so many levels.
pub(super) const fn translated(root: TableRoot, tag: Tag) -> Option<Entry> {
    // AW is 39 bits in 3 levels (1), 48 in 4 (2), 57 in 5 (3).
    let width = match root.levels {
        3 => 1,
        4 => 2,
        5 => 3,
        _ => return None,
    };
    let table = (root.frame.0 << PAGE_SHIFT) & ADDRESS;
    Some([table | PRESENT, width | (tag.0 as u64) << DOMAIN_SHIFT])
}

/// The entry that refuses all.
pub(super) const BLOCKED: Entry = [0, 0];

/// True if requests are translated by it.
pub(super) const fn is_present([low, _]: Entry) -> bool {
    low & PRESENT != 0
}

/// The tag it names.
pub(super) const fn tag([_, high]: Entry) -> Tag {
    Tag((high >> DOMAIN_SHIFT) as u16)
}

const fn is_stopped([low, _]: Entry) -> bool {
    low & (PRESENT | NO_FAULTS) == NO_FAULTS
}

/// What becomes of `old` if the device is to have `new`: if it is stopped, it stays so.
pub(super) const fn replaced(old: Entry, new: Entry) -> Entry {
    if is_stopped(old) { stopped(new) } else { new }
}

/// The same of a device that was stopped.
pub(super) const fn stopped([low, high]: Entry) -> Entry {
    [(low & !PRESENT) | NO_FAULTS, high]
}

/// What was kept of a device that was stopped; any other entry as it is.
pub(super) const fn restarted(old: Entry) -> Entry {
    let [low, high] = old;
    if !is_stopped(old) {
        old
    } else if high & WIDTH != 0 {
        [(low & !NO_FAULTS) | PRESENT, high]
    } else {
        BLOCKED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Mfn;

    fn example(levels: u8) -> Entry {
        translated(TableRoot { frame: Mfn(0x12345), levels }, Tag(0xabcd)).unwrap()
    }

    /// Golden words, put together by hand from sections 9.1 and 9.3.
    #[test]
    fn entries_name_table_depth_and_domain() {
        assert_eq!(example(3), [0x1234_5001, 0x00ab_cd01]);
        assert_eq!(example(4), [0x1234_5001, 0x00ab_cd02]);
        assert_eq!(example(5), [0x1234_5001, 0x00ab_cd03]);
        assert_eq!(translated(TableRoot { frame: Mfn(1), levels: 2 }, Tag(1)), None);
        assert_eq!(translated(TableRoot { frame: Mfn(1), levels: 6 }, Tag(1)), None);
        assert_eq!((root(0x5000), context_table(0x5001)), (0x5001, Some(0x5000)));
        assert_eq!(context_table(0x5000), None);
        assert_eq!(tag(example(4)), Tag(0xabcd));
    }

    /// INV-48.
    #[test]
    fn a_stopped_device_keeps_what_it_is_to_have_and_neither_does_nor_records_anything() {
        for entry in [example(3), example(5), BLOCKED] {
            let stop = stopped(entry);
            assert!(!is_present(stop));
            assert_eq!(stop[0] & 3, 2, "FPD, and no P");
            assert_eq!((stopped(stop), restarted(stop)), (stop, entry));
            assert_eq!(restarted(entry), entry);
            for new in [example(4), BLOCKED] {
                assert_eq!(replaced(entry, new), new);
                assert_eq!(restarted(replaced(stop, new)), new);
                assert!(is_stopped(replaced(stop, new)));
            }
        }
    }
}
