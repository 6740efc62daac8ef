//! What is read from configuration space itself, where a capture has it.

use crate::pci::Captured;

/// Where extended capabilities begin (PCIe 7.6).
const EXTENDED: usize = 0x100;
/// Extended capability: Access Control Services.
const ACS: u16 = 0x000d;
/// Extended capability: Single Root I/O Virtualization.
const SR_IOV: u16 = 0x0010;

/// It shows an SR-IOV capability.
pub(super) fn has_sr_iov(function: &Captured) -> bool {
    extended(&function.config, SR_IOV).is_some()
}

/// Capability and control of ACS of ports that have both as double words, control at +8.
pub(super) fn acs_in_dwords(function: &Captured) -> Option<(u16, u16)> {
    let at = extended(&function.config, ACS)?;
    Some((low(&function.config, at + 4), low(&function.config, at + 8)))
}

/// Egress control vector, 32 ports at most; `None` if it is not known.
pub(super) fn egress_vector(function: &Captured) -> Option<u32> {
    let at = extended(&function.config, ACS)?;
    let vector = at + 8;
    let (low, high) = (low(&function.config, vector), low(&function.config, vector + 2));
    Some(u32::from(high) << 16 | u32::from(low))
}

/// One byte of configuration space; `None` if the source does not show it.
pub(super) fn byte(function: &Captured, at: u16) -> Option<u8> {
    let named = function.bytes.get(&at).copied();
    named.or_else(|| function.config.get(usize::from(at)).copied())
}

/// The offset of the extended capability `wanted`.
fn extended(config: &[u8], wanted: u16) -> Option<usize> {
    let mut at = EXTENDED;
    // A list that is longer than the space holds goes round in circles.
    for _ in 0..(0x1000 - EXTENDED) / 4 {
        if at < EXTENDED || at + 4 > config.len() {
            return None;
        }
        if low(config, at) == wanted {
            return Some(at);
        }
        at = usize::from(low(config, at + 2) >> 4) & !3;
    }
    None
}

/// The 16 bits at `at`; zeros at the end of the space are not always in a capture.
fn low(config: &[u8], at: usize) -> u16 {
    let byte = |at: usize| config.get(at).copied().unwrap_or(0);
    u16::from_le_bytes([byte(at), byte(at + 1)])
}
