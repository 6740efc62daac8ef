//! What an entry of the device table says of interrupts: its word 2, section 2.2.2.1.
//!
//! ```text
//!  word 2: IV (0), IntTabLen (4:1), IG (5), root (51:6), INITPass (56), EIntPass (57), NMIPass (58),
//!          IntCtl (61:60), LINT0Pass (62), LINT1Pass (63)
//! ```
//!
//! A place for who remaps interrupts: this crate keeps the word and makes the unit forget what it has cached;
//! what stands in an interrupt table is not its business.

use crate::{
    addr::{Mfn, PAGE_SHIFT},
    unit::acpi::DeviceSettings,
};

/// An interrupt table, of which the unit reads entries as wide as [`IrqEntries`](super::IrqEntries) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IrqTable {
    /// Where it begins.
    pub frame: Mfn,
    /// Logarithm of its entries: 0 to 11. Interrupts beyond them are refused.
    pub entries_log2: u8,
}

/// What becomes of the interrupts of a device.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Interrupts {
    /// They pass as they are.
    #[default]
    Pass,
    /// They are refused.
    Refuse,
    /// They are what the table makes of them.
    Remap(IrqTable),
}

impl Interrupts {
    /// False for a table with more entries than can be said.
    #[must_use]
    pub const fn can_be(self) -> bool {
        match self {
            Self::Remap(table) => table.entries_log2 <= MAX_ENTRIES_LOG2,
            Self::Pass | Self::Refuse => true,
        }
    }
}

const MAX_ENTRIES_LOG2: u8 = 11;
const VALID: u64 = 1 << 0;
const LENGTH_SHIFT: u32 = 1;
const LENGTH: u64 = 0xf;
const ROOT: u64 = 0x000f_ffff_ffff_ffc0;
const CONTROL_SHIFT: u32 = 60;
const CONTROL: u64 = 3;
const REFUSE: u64 = 0;
const REMAP: u64 = 2;
/// INITPass, EIntPass, NMIPass.
const PASS_SHIFT: u32 = 56;
/// LINT0Pass, LINT1Pass.
const LINT_SHIFT: u32 = 62;
/// What firmware wants, which stays: what passes, whatever else is said.
const SETTINGS: u64 = 7 << PASS_SHIFT | 3 << LINT_SHIFT;

/// The word of a device of which firmware wants `settings`.
#[must_use]
pub const fn word(settings: DeviceSettings, interrupts: Interrupts) -> u64 {
    let data = settings.data as u64;
    replaced((data & 7) << PASS_SHIFT | (data >> 6) << LINT_SHIFT, interrupts)
}

/// What becomes of the word `old` if `interrupts` is to be in force: what firmware wants stays.
#[must_use]
pub const fn replaced(old: u64, interrupts: Interrupts) -> u64 {
    let new = match interrupts {
        Interrupts::Pass => 0,
        Interrupts::Refuse => VALID | REFUSE << CONTROL_SHIFT,
        Interrupts::Remap(IrqTable { frame, entries_log2 }) => {
            let length = (entries_log2 as u64 & LENGTH) << LENGTH_SHIFT;
            VALID | length | frame.0 << PAGE_SHIFT & ROOT | REMAP << CONTROL_SHIFT
        }
    };
    old & SETTINGS | new
}

/// True if no interrupt of the device passes that was not remapped.
#[must_use]
pub const fn isolates(word: u64) -> bool {
    let control = word >> CONTROL_SHIFT & CONTROL;
    word & VALID != 0 && word & SETTINGS == 0 && (control == REFUSE || control == REMAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: DeviceSettings = DeviceSettings { data: 0, extended: 0 };
    const TABLE: Interrupts =
        Interrupts::Remap(IrqTable { frame: Mfn(0xfe_dcba_9876), entries_log2: 11 });

    /// Golden words, put together by hand from section 2.2.2.1.
    #[test]
    fn a_word_says_what_becomes_of_interrupts() {
        assert_eq!(word(NOTHING, Interrupts::Pass), 0);
        assert_eq!(word(NOTHING, Interrupts::Refuse), 1);
        assert_eq!(word(NOTHING, TABLE), 0x200f_edcb_a987_6017);
        let all = DeviceSettings { data: 0xff, extended: 0 };
        assert_eq!(word(all, Interrupts::Pass), 0xc700_0000_0000_0000);
    }

    #[test]
    fn what_firmware_lets_pass_stays() {
        let settings = DeviceSettings { data: 0x44, extended: 0 };
        let before = word(settings, Interrupts::Pass);
        let after = replaced(before, TABLE);
        assert_eq!(after, 0x640f_edcb_a987_6017);
        assert_eq!(replaced(after, Interrupts::Pass), before);
        assert!(!isolates(after), "an NMI passes");
    }

    #[test]
    fn a_device_is_isolated_if_nothing_passes() {
        let isolated = [Interrupts::Pass, Interrupts::Refuse, TABLE]
            .map(|interrupts| isolates(word(NOTHING, interrupts)));
        assert_eq!(isolated, [false, true, true]);
        assert!(!isolates(VALID | 1 << CONTROL_SHIFT), "forwarded as they are");
        assert!(!isolates(VALID | 3 << CONTROL_SHIFT), "reserved");
        assert!(!isolates(REMAP << CONTROL_SHIFT), "without IV nothing counts");
        for bit in [56, 57, 58, 62, 63] {
            assert!(!isolates(VALID | 1 << bit), "{bit}");
        }
    }
}
