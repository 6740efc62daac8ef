//! Registers of configuration space, and its lists of capabilities.

/// Bytes of configuration space from its start, as many as there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space<'a>(&'a [u8]);

/// Where something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Find {
    /// There.
    At(u16),
    /// Nowhere.
    Absent,
    /// The list that it would be in is not shown to its end, or does not have one.
    Unknown,
}

/// Where extended configuration space begins.
const EXTENDED: u16 = 0x100;
/// How many capabilities of at least 4 bytes have room behind the header.
const MOST: usize = (0x100 - 0x40) / 4;
/// How many extended capabilities of at least 8 bytes have room in the rest.
const MOST_EXTENDED: usize = (0x1000 - 0x100) / 8;

impl<'a> Space<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A register of 8 bits.
    pub(super) fn byte(&self, at: u16) -> Option<u8> {
        self.0.get(usize::from(at)).copied()
    }

    /// A register of 16 bits.
    pub(super) fn word(&self, at: u16) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte(at)?, self.byte(at.checked_add(1)?)?]))
    }

    /// A register of 32 bits.
    pub(super) fn dword(&self, at: u16) -> Option<u32> {
        Some(u32::from(self.word(at.checked_add(2)?)?) << 16 | u32::from(self.word(at)?))
    }

    /// Header Layout (PCIe 6.0, section 7.5.1.1.9): 0 for a function, 1 for a bridge to PCI, 2 for one
    /// to CardBus.
    pub(super) fn layout(&self) -> u8 {
        self.byte(0x0e).unwrap_or(0) & 0x7f
    }

    /// The first capability of this id (PCIe 6.0, section 7.5.1.1.11).
    pub(super) fn capability(&self, id: u8) -> Find {
        let has_list = self.word(0x06).is_some_and(|status| status & 0x10 != 0);
        if !has_list {
            return Find::Absent;
        }
        let mut pointer = match self.layout() {
            0 | 1 => 0x34,
            2 => 0x14,
            _ => return Find::Unknown,
        };
        for _ in 0..=MOST {
            // The two lowest bits are reserved.
            let Some(at) = self.byte(pointer).map(|next| u16::from(next & !3)) else {
                return Find::Unknown;
            };
            match (at, self.byte(at)) {
                (0, _) => return Find::Absent,
                // Into the header; not shown; nobody answers.
                (..0x40, _) | (_, None | Some(u8::MAX)) => return Find::Unknown,
                (_, Some(found)) if found == id => return Find::At(at),
                _ => pointer = at.saturating_add(1),
            }
        }
        Find::Unknown
    }

    /// The first extended capability of this id (PCIe 6.0, section 7.6.3), of a function of PCI Express.
    pub(super) fn extended(&self, id: u16) -> Find {
        let mut at = EXTENDED;
        for _ in 0..MOST_EXTENDED {
            let Some(header) = self.dword(at) else { return Find::Unknown };
            let next = ((header >> 20) & !3) as u16;
            match (header as u16, next) {
                // Nobody answers.
                _ if header == u32::MAX => return Find::Unknown,
                (found, _) if found == id => return Find::At(at),
                (_, 0) => return Find::Absent,
                (_, ..EXTENDED) => return Find::Unknown,
                _ => at = next,
            }
        }
        Find::Unknown
    }
}
