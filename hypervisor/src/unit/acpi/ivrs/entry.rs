//! Device entries of a unit (section 5.2.2.2 and following).

use super::super::{AcpiError, Problem, bytes::Bytes};

/// Settings for a device table entry (DTE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceSettings {
    /// The DTE setting: INITPass in bit 0, EIntPass in 1, NMIPass in 2, SysMgt in 5 to 4, LINT0Pass in 6,
    /// LINT1Pass in 7.
    pub data: u8,
    /// The extended setting: bit 31 says that ATS requests are to be refused.
    pub extended: u32,
}

impl DeviceSettings {
    /// True if ATS requests are to be refused.
    #[must_use]
    pub const fn ats_disabled(self) -> bool {
        self.extended >> 31 != 0
    }
}

/// What a special device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variety {
    /// An I/O APIC; the handle is its APIC id.
    Ioapic,
    /// A timer block; the handle is its HPET number.
    Hpet,
    /// None of these.
    Other(u8),
}

/// A device entry. Ids are bus and devfn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'a> {
    /// All ids of the segment that no other entry names.
    All {
        /// For these.
        settings: DeviceSettings,
    },
    /// The ids from `first` to `last`.
    Ids {
        /// The first id.
        first: u16,
        /// The last id, not below `first`.
        last: u16,
        /// The id that requests of all of these carry, if not their own.
        carried: Option<u16>,
        /// For these, and for the id that is carried.
        settings: DeviceSettings,
    },
    /// A device that is none of PCI.
    Special {
        /// What it is.
        variety: Variety,
        /// Which of these.
        handle: u8,
        /// The id that its requests carry.
        id: u16,
        /// For that id.
        settings: DeviceSettings,
    },
    /// A device that ACPI names.
    Named {
        /// The id that its requests carry.
        id: u16,
        /// Its hardware id, `_HID`.
        hardware_id: [u8; 8],
        /// What it is compatible with, `_CID`; zeros if there is none.
        compatible_id: [u8; 8],
        /// The format of `unique_id`: 0 if there is none, 1 for a number of 64 bits, 2 for a string.
        unique_format: u8,
        /// Its unique id, `_UID`.
        unique_id: &'a [u8],
        /// For that id.
        settings: DeviceSettings,
    },
}

/// Ids that an entry names as those of PCI functions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) carried: Option<u16>,
}

impl Span {
    pub(super) fn has(&self, id: u16) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl Entry<'_> {
    pub(super) fn span(&self) -> Option<Span> {
        match *self {
            Self::Ids { first, last, carried, .. } => Some(Span { first, last, carried }),
            _ => None,
        }
    }

    /// The settings it has for `id`.
    pub(super) fn settings_of(&self, id: u16) -> Option<DeviceSettings> {
        let (it_is, settings) = match *self {
            Self::All { settings } => (true, settings),
            Self::Ids { first, last, carried, settings } => {
                ((first..=last).contains(&id) || carried == Some(id), settings)
            }
            Self::Special { id: its, settings, .. } | Self::Named { id: its, settings, .. } => {
                (its == id, settings)
            }
        };
        it_is.then_some(settings)
    }
}

/// Types of entries.
mod kind {
    pub(super) const PADDING: u8 = 0x00;
    pub(super) const ALL: u8 = 0x01;
    pub(super) const SELECT: u8 = 0x02;
    pub(super) const START: u8 = 0x03;
    pub(super) const END: u8 = 0x04;
    pub(super) const LONG_PADDING: u8 = 0x40;
    pub(super) const ALIAS_SELECT: u8 = 0x42;
    pub(super) const ALIAS_START: u8 = 0x43;
    pub(super) const EXTENDED_SELECT: u8 = 0x46;
    pub(super) const EXTENDED_START: u8 = 0x47;
    pub(super) const SPECIAL: u8 = 0x48;
    pub(super) const NAMED: u8 = 0xf0;
}

/// Where the last two lengths of a named device are.
const UNIQUE_LENGTH: usize = 21;
const UNIQUE_ID: usize = 22;

/// How long the entry at the begin of `bytes` is: its type says that, also where it is not known.
fn length_of(bytes: &Bytes<'_>) -> Result<usize, AcpiError> {
    let kind = bytes.u8(0)?;
    match kind {
        0x00..=0x3f => Ok(4),
        0x40..=0x7f => Ok(8),
        0x80..=0xbf => Ok(16),
        0xc0..=0xef => Ok(32),
        kind::NAMED => Ok(usize::from(bytes.u8(UNIQUE_LENGTH)?).saturating_add(UNIQUE_ID)),
        0xf1.. => Err(bytes.error(0, Problem::EntryType(kind))),
    }
}

/// The entries of a unit. Ends behind the first error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entries<'a>(Bytes<'a>);

impl<'a> Entries<'a> {
    pub(super) const fn new(bytes: Bytes<'a>) -> Self {
        Self(bytes)
    }

    /// Takes the first entry off.
    fn take(&mut self) -> Result<Bytes<'a>, AcpiError> {
        let entry = self.0.first(length_of(&self.0)?)?;
        self.0 = self.0.after(entry.len());
        Ok(entry)
    }

    /// The next entry that means anything; `None` at the end.
    fn read(&mut self) -> Result<Option<Entry<'a>>, AcpiError> {
        while !self.0.is_empty() {
            let entry = self.take()?;
            let found = self.understand(&entry)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn understand(&mut self, entry: &Bytes<'a>) -> Result<Option<Entry<'a>>, AcpiError> {
        let (kind, id, data) = (entry.u8(0)?, entry.u16(1)?, entry.u8(3)?);
        let mut settings = DeviceSettings { data, extended: 0 };
        if matches!(kind, kind::EXTENDED_SELECT | kind::EXTENDED_START) {
            settings.extended = entry.u32(4)?;
        }
        let carried = match kind {
            kind::ALIAS_SELECT | kind::ALIAS_START => Some(entry.u16(5)?),
            _ => None,
        };
        Ok(Some(match kind {
            kind::ALL => Entry::All { settings },
            kind::SELECT | kind::ALIAS_SELECT | kind::EXTENDED_SELECT => {
                Entry::Ids { first: id, last: id, carried, settings }
            }
            kind::START | kind::ALIAS_START | kind::EXTENDED_START => {
                let last = self.end_of(id, entry)?;
                Entry::Ids { first: id, last, carried, settings }
            }
            kind::END => return Err(entry.error(0, Problem::EndOfNothing(id))),
            kind::SPECIAL => Entry::Special {
                variety: match entry.u8(7)? {
                    1 => Variety::Ioapic,
                    2 => Variety::Hpet,
                    other => Variety::Other(other),
                },
                handle: entry.u8(4)?,
                id: entry.u16(5)?,
                settings,
            },
            kind::NAMED => Entry::Named {
                id,
                hardware_id: entry.array(4)?,
                compatible_id: entry.array(12)?,
                unique_format: entry.u8(20)?,
                unique_id: entry.after(UNIQUE_ID).as_slice(),
                settings,
            },
            _ => return Ok(None),
        }))
    }

    /// The last id of the range that begins with `first`, by `start`: the next entry but padding has it.
    fn end_of(&mut self, first: u16, start: &Bytes<'_>) -> Result<u16, AcpiError> {
        while !self.0.is_empty() {
            let entry = self.take()?;
            match entry.u8(0)? {
                kind::PADDING | kind::LONG_PADDING => {}
                kind::END => {
                    let last = entry.u16(1)?;
                    let range = Problem::IdRange(first, last);
                    return (first <= last).then_some(last).ok_or_else(|| entry.error(1, range));
                }
                _ => break,
            }
        }
        Err(start.error(0, Problem::OpenRange(first)))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, AcpiError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.0 = self.0.after(self.0.len());
        }
        read.transpose()
    }
}
