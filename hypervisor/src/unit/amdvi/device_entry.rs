//! Entries of the device table: 256 bits each, section 2.2.2.1.
//!
//! ```text
//!  word 0: V (0), TV (1), mode (11:9), root (51:12), IR (61), IW (62)
//!  word 1: domain id (15:0), I (32): no ATS
//!  word 2: interrupt remapping, word 3: attributes; neither is ours
//! ```
//!
//! V = 0 lets requests through untranslated, so an entry that blocks is a valid one, too: it has
//! translation without a table, and permits nothing.

use crate::{
    addr::PAGE_SHIFT,
    platform::{TableRoot, Tag},
};

/// The two words of an entry that decide about DMA. They change in one 128-bit store.
pub type Translation = [u64; 2];

const VALID: u64 = 1 << 0;
const TRANSLATION_VALID: u64 = 1 << 1;
const MODE_SHIFT: u32 = 9;
const MODE: u64 = 7;
const ROOT: u64 = 0x000f_ffff_ffff_f000;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;

/// The entry of a device that may do no DMA.
pub const BLOCKED: Translation = [VALID | TRANSLATION_VALID, 0];

/// The entry of a device whose DMA is translated by the table at `root`, and cached under `tag`.
#[must_use]
pub fn translated(root: TableRoot, tag: Tag) -> Translation {
    let mode = (u64::from(root.levels) & MODE) << MODE_SHIFT;
    let table = (root.frame.0 << PAGE_SHIFT) & ROOT;
    [VALID | TRANSLATION_VALID | mode | table | READ | WRITE, u64::from(tag.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Mfn;

    /// Golden words, put together by hand from section 2.2.2.1.
    #[test]
    fn an_entry_names_table_depth_and_domain() {
        let root = TableRoot { frame: Mfn(0x1234), levels: 4 };
        assert_eq!(translated(root, Tag(0x56)), [0x6000_0000_0123_4803, 0x56]);
        assert_eq!(BLOCKED, [3, 0], "valid, or requests would pass");
    }
}
