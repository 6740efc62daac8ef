//! Entries of the device table: 256 bits each, section 2.2.2.1.
//!
//! ```text
//!  word 0: V (0), TV (1), mode (11:9), root (51:12), IR (61), IW (62)
//!  word 1: domain id (15:0), I (32): no ATS, SE (33), SA (34), SysMgt (41:40)
//!  word 2: interrupts, see [`interrupts`](super::interrupts)
//!  word 3: attributes, not used
//! ```
//!
//! V = 0 lets requests through untranslated, so an entry that blocks is a valid one, too: it has
//! translation without a table, and permits nothing.
//!
//! A device that was *stopped* has an entry without TV, so that nothing it asks for is translated, with SE
//! and SA, so that nothing of it is logged. Table and domain id stay in it, and are changed there, until the
//! device is started again.

use crate::{
    addr::PAGE_SHIFT,
    platform::{TableRoot, Tag},
    unit::acpi::DeviceSettings,
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

const DOMAIN: u64 = 0xffff;
const SUPPRESS: u64 = 3 << 33;
const MANAGEMENT_SHIFT: u32 = 40;
/// What firmware wants of word 1, which stays there: SysMgt.
const SETTINGS: u64 = 3 << MANAGEMENT_SHIFT;

/// The entry of a device that may do no DMA.
pub const BLOCKED: Translation = [VALID | TRANSLATION_VALID, 0];

/// The entry of a device whose DMA is translated by the table at `root`, and cached under `tag`.
#[must_use]
pub fn translated(root: TableRoot, tag: Tag) -> Translation {
    let mode = (u64::from(root.levels) & MODE) << MODE_SHIFT;
    let table = (root.frame.0 << PAGE_SHIFT) & ROOT;
    [VALID | TRANSLATION_VALID | mode | table | READ | WRITE, u64::from(tag.0)]
}

/// The entry of a device that may do no DMA, and of which firmware wants `settings`.
#[must_use]
pub const fn blocked(settings: DeviceSettings) -> Translation {
    let management = settings.data as u64 >> 4 & 3;
    [BLOCKED[0], BLOCKED[1] | management << MANAGEMENT_SHIFT]
}

/// What becomes of `old` if `new` is to be in force: what firmware wants stays, and who was stopped stays
/// stopped.
#[must_use]
pub const fn replaced(old: Translation, new: Translation) -> Translation {
    let new = [new[0], new[1] | old[1] & SETTINGS];
    if is_stopped(old) { stopped(new) } else { new }
}

/// The same device, stopped.
#[must_use]
pub const fn stopped([low, high]: Translation) -> Translation {
    // Some units (QEMU 7.2) look at IR and IW even without TV.
    [low & !(TRANSLATION_VALID | READ | WRITE), high | SUPPRESS]
}

/// The same device, stopped no more.
#[must_use]
pub const fn restarted(it: Translation) -> Translation {
    if !is_stopped(it) {
        return it;
    }
    let [low, high] = it;
    let access = if low >> MODE_SHIFT & MODE == 0 { 0 } else { READ | WRITE };
    [low | TRANSLATION_VALID | access, high & !SUPPRESS]
}

/// The tag under which translations are cached; 0, which is none, of a device without a table.
#[must_use]
pub const fn tag([_, high]: Translation) -> Tag {
    Tag((high & DOMAIN) as u16)
}

/// True if the device was stopped.
#[must_use]
pub const fn is_stopped([_, high]: Translation) -> bool {
    high & SUPPRESS == SUPPRESS
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
        assert_eq!(tag(stopped(translated(root, Tag(0x56)))), Tag(0x56));
        assert_eq!(tag(BLOCKED), Tag(0));
        let settings = DeviceSettings { data: 0xff, extended: !0 };
        assert_eq!(blocked(settings), [3, 0x0000_0300_0000_0000], "SysMgt");
    }

    #[test]
    fn who_is_stopped_has_no_translation_until_it_is_started() {
        let entry = translated(TableRoot { frame: Mfn(0x1234), levels: 4 }, Tag(0x56));
        for it in [entry, BLOCKED] {
            assert_eq!(restarted(stopped(it)), it);
            assert_eq!(restarted(it), it);
        }
        assert_eq!(stopped(entry), [0x0000_0000_0123_4801, 0x0000_0006_0000_0056]);
        assert_eq!(stopped(BLOCKED), [1, 0x0000_0006_0000_0000]);
        assert_eq!(replaced(stopped(BLOCKED), entry), stopped(entry));
        assert_eq!(replaced(stopped(entry), BLOCKED), stopped(BLOCKED));
    }

    #[test]
    fn what_firmware_wants_of_a_device_stays() {
        let before = blocked(DeviceSettings { data: 0x10, extended: 0 });
        let entry = translated(TableRoot { frame: Mfn(1), levels: 3 }, Tag(7));
        let after = replaced(before, entry);
        assert_eq!(after, [entry[0], 0x0000_0100_0000_0007]);
        assert_eq!(replaced(after, BLOCKED), before);
    }
}
