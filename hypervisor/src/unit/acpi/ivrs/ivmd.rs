//! I/O virtualization memory definition: memory that devices use (section 5.2.3).

use pviommu_abi::PciDevice;

use super::{
    super::{AcpiError, Problem, bytes::Bytes},
    ivhd::id_of,
};
use crate::{platform::Access, topology::Window};

bitflags::bitflags! {
    /// What is to be done with the memory.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct IvmdFlags: u8 {
        /// Unity: it is to be mapped where it is.
        const UNITY = 1 << 0;
        /// IR: devices read it.
        const READ = 1 << 1;
        /// IW: devices write it.
        const WRITE = 1 << 2;
        /// ExclRange: addresses there are not to be translated.
        const EXCLUSION = 1 << 3;
    }
}

/// Whose memory it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IvmdFor {
    /// 20h: that of all devices of the segment.
    All,
    /// 21h and 22h: that of the devices with an id from the first to the last.
    Ids(u16, u16),
}

/// Memory that devices use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ivmd {
    /// What is to be done with it.
    pub flags: IvmdFlags,
    /// The segment of the devices.
    pub segment: u16,
    /// Whose it is.
    pub whose: IvmdFor,
    /// Its bytes, whole pages.
    pub bytes: Window,
}

const PAGE: u64 = 4096;

impl Ivmd {
    /// Bytes of such a block.
    pub(super) const LENGTH: usize = 32;

    pub(super) fn read(it: Bytes<'_>) -> Result<Self, AcpiError> {
        const START: usize = 16;
        let (kind, first_id, last_id) = (it.u8(0)?, it.u16(4)?, it.u16(6)?);
        let whose = match kind {
            0x20 => IvmdFor::All,
            0x21 => IvmdFor::Ids(first_id, first_id),
            _ if first_id > last_id => {
                return Err(it.error(4, Problem::IdRange(first_id, last_id)));
            }
            _ => IvmdFor::Ids(first_id, last_id),
        };
        let (first, length) = (it.u64(START)?, it.u64(24)?);
        let last = length.checked_sub(1).and_then(|rest| first.checked_add(rest));
        let last = last.filter(|_| first % PAGE == 0 && length % PAGE == 0);
        let last = last.ok_or_else(|| it.error(24, Problem::MemoryLength(length)))?;
        Ok(Self {
            flags: IvmdFlags::from_bits_truncate(it.u8(1)?),
            segment: it.u16(8)?,
            whose,
            bytes: Window { first, last },
        })
    }

    /// True if `function` uses it.
    #[must_use]
    pub fn is_of(&self, function: PciDevice) -> bool {
        function.seg == self.segment
            && match self.whose {
                IvmdFor::All => true,
                IvmdFor::Ids(first, last) => (first..=last).contains(&id_of(function)),
            }
    }

    /// What devices do there. Where addresses are not translated, that is everything.
    #[must_use]
    pub fn access(&self) -> Access {
        let mut access = Access::empty();
        let excluded = self.flags.contains(IvmdFlags::EXCLUSION);
        access.set(Access::READ, excluded || self.flags.contains(IvmdFlags::READ));
        access.set(Access::WRITE, excluded || self.flags.contains(IvmdFlags::WRITE));
        access
    }
}
