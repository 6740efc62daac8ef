//! The line that a function begins with.

use crate::pci::capture::Name;
use crate::pci::class;

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Device<'t> {
    pub(super) segment: u32,
    pub(super) name: Name,
    /// 24 bits, if it is shown or its words are known.
    pub(super) class: Option<u32>,
    /// Vendor and device, if they are shown.
    pub(super) ids: Option<(u16, u16)>,
    /// Everything after the number.
    pub(super) text: &'t str,
}

/// `[ssss:]bb:dd.f Class [cccc]: Names [vvvv:dddd] (rev rr) (prog-if pp [Words])`
pub(super) fn device(line: &str) -> Option<Device<'_>> {
    let (number, text) = line.split_once(' ')?;
    let (segment, name) = match number.len() {
        7 => (0, number.parse().ok()?),
        // Segments of more than 16 bits are printed with all their digits.
        12..=16 => {
            let (segment, name) = number.split_at_checked(number.len() - 8)?;
            (hex(segment)?, name.strip_prefix(':')?.parse().ok()?)
        }
        _ => return None,
    };
    let (kind, rest) = text.split_once(": ").unwrap_or((text, ""));
    let code = match kind.rsplit_once(" [") {
        Some((_, code)) => code.strip_suffix(']').and_then(|code| digits(code, 4)),
        None => digits(kind, 4).or_else(|| class::by_words(kind).map(|class| class >> 8)),
    };
    let interface = rest
        .rsplit_once("(prog-if ")
        .and_then(|(_, rest)| digits(rest.get(..2)?, 2))
        .unwrap_or_default();
    Some(Device {
        segment,
        name,
        class: code.map(|code| code << 8 | interface),
        ids: ids(rest),
        text,
    })
}

/// The last `[vvvv:dddd]` of `text`, or the `vvvv:dddd` it begins with, or that stands for a name
/// that is not known, as `Device vvvv:dddd`.
pub(super) fn ids(text: &str) -> Option<(u16, u16)> {
    let pair = |text: &str| {
        let (vendor, device) = text.split_once(':')?;
        Some((digits(vendor, 4)? as u16, digits(device, 4)? as u16))
    };
    let bracketed = text.rmatch_indices('[').find_map(|(at, _)| {
        let inner = text.get(at + 1..at + 10)?;
        text.get(at + 10..at + 11).filter(|end| *end == "]").and_then(|_| pair(inner))
    });
    let unnamed = text.strip_prefix("Device ").unwrap_or(text);
    bracketed.or_else(|| unnamed.split(' ').next().and_then(pair))
}

/// A hexadecimal number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    if text.len() == count { hex(text) } else { None }
}

/// A hexadecimal number, digits only.
pub(super) fn hex(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if all { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_classes_and_ids_are_found_however_they_are_printed() {
        let name = Name { bus: 0, devfn: 0xe0 };
        let text = "00:1c.0 PCI bridge [0604]: Intel Corporation 7 Series/C216 Port 1 [8086:1e10] \
                    (rev c4) (prog-if 00 [Normal decode])";
        let found = device(text).unwrap();
        let seen = (found.segment, found.name, found.class, found.ids);
        assert_eq!(seen, (0, name, Some(0x06_0400), Some((0x8086, 0x1e10))));
        let found = device("10000:00:1c.0 0c03: 8086:1e31 (rev 04) (prog-if 30)").unwrap();
        let seen = (found.segment, found.class, found.ids);
        assert_eq!(seen, (0x1_0000, Some(0x0c_0330), Some((0x8086, 0x1e31))));
        let found = device("0000:00:1c.0 PCI bridge: Intel Corporation Port [AHCI mode]").unwrap();
        assert_eq!((found.class, found.ids), (Some(0x06_0400), None));
        for wrong in
            ["00: 86 80 10 1e", "00:20.0 PCI bridge: x", "00:1c.0", "\t00:1c.0 x", "é:é.0 x"]
        {
            assert_eq!(device(wrong), None, "{wrong}");
        }
    }
}
