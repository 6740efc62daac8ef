//! Subop 0x45: what devices were refused.

use zerocopy::FromZeros;

use crate::{AccessFlags, DeviceHandle, DomId, GuestPtr};

open_enum! {
    /// Why a request of a device was refused.
    struct FaultReason(u32) as "FAULT_", Default {
        /// Another reason, or one the hardware does not tell.
        OTHER = 0,
        /// Nothing is mapped at the address.
        NOT_MAPPED = 1,
        /// The mapping does not allow to read.
        READ_DENIED = 2,
        /// The mapping does not allow to write.
        WRITE_DENIED = 3,
        /// The address is above what the context can translate.
        ABOVE_APERTURE = 4,
        /// The device is attached to no context.
        BLOCKED = 5,
        /// The request came as already translated, which is never allowed.
        TRANSLATED_REQUEST = 6,
        /// Nothing was refused: the scratch page of the context was written, and what was written
        /// is lost. Told once.
        SCRATCH_WRITTEN = 7,
        /// The hardware could not read its own tables.
        TABLE_ERROR = 8,
        /// The request was an interrupt the device may not raise.
        INTERRUPT_DENIED = 9,
    }
}

flags! {
    /// `flags` of READ_FAULTS. No bit is defined.
    struct ReadFaultsFlags(u32) as "READ_FAULTS_" {}
}

wire! {
    /// One fault, or several alike.
    struct FaultRecord as "fault_record", size 56, align 8, Default {
        /// Out: the device.
        0 => device: DeviceHandle,
        /// Out: the byte address it asked for.
        16 => address: u64,
        /// Out: the number of the record; a gap in the sequence is a record lost.
        24 => sequence: u64,
        /// Out: the context it was attached to.
        32 => ctx_id: u32,
        /// Out: why.
        36 => reason: FaultReason,
        /// Out: what it tried to do.
        40 => access: AccessFlags,
        /// Out: how many faults the record stands for, at least 1; stays at its maximum.
        44 => count: u32,
        /// Out: 0.
        48 => reserved: u64,
    }

    /// Argument of READ_FAULTS: takes the oldest fault records of the domain out of its ring.
    ///
    /// # Errors
    ///
    /// `-EINVAL`: a bad `elem_size`. Nothing to read is no error: `nr_records` is 0.
    struct ReadFaults as "read_faults", size 40, align 8 {
        /// In: the caller's size of this structure, 40.
        0 => size: u32,
        /// In: no bit is defined.
        4 => flags: ReadFaultsFlags,
        /// In: the domain acted for.
        8 => domid: DomId,
        /// Must be 0.
        10 => reserved0: u16,
        /// In: how many records the buffer holds. Out: how many were written.
        12 => nr_records: u32,
        /// In: the size of a record, 56.
        16 => elem_size: u32,
        /// Must be 0.
        20 => reserved1: u32,
        /// Out: how many records were lost since the last call because the ring was full.
        24 => lost: u64,
        /// In: address of an array of `FaultRecord`.
        32 => records: GuestPtr,
    }
}

impl ReadFaults {
    /// The value of `size`.
    pub const SIZE: u32 = 40;
    /// The value of `elem_size`.
    pub const ELEM_SIZE: u32 = 56;
}

const _: () = assert!(size_of::<ReadFaults>() == ReadFaults::SIZE as usize);
const _: () = assert!(size_of::<FaultRecord>() == ReadFaults::ELEM_SIZE as usize);

impl Default for ReadFaults {
    fn default() -> Self {
        Self {
            size: Self::SIZE,
            domid: DomId::SELF,
            elem_size: Self::ELEM_SIZE,
            ..Self::new_zeroed()
        }
    }
}
