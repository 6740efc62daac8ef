//! Words and flags as `lspci -vvv` prints them.

use crate::pci::capture::{Buses, Kind};

/// What a function is, from `Express (v2) Root Port (Slot+), MSI 00`.
pub(super) fn kind(text: &str) -> Option<Kind> {
    let rest = text.strip_prefix("Express ")?;
    // The first version has no number.
    let rest = match rest.strip_prefix("(v") {
        Some(rest) => rest.split_once(") ")?.1,
        None => rest,
    };
    let kinds = [
        ("Endpoint", Kind::Endpoint),
        ("Legacy Endpoint", Kind::LegacyEndpoint),
        ("Root Port", Kind::RootPort),
        ("Upstream Port", Kind::Upstream),
        ("Downstream Port", Kind::Downstream),
        ("PCI-Express to PCI/PCI-X Bridge", Kind::PcieToPci),
        ("PCI/PCI-X to PCI-Express Bridge", Kind::PciToPcie),
        ("Root Complex Integrated Endpoint", Kind::RootComplexEndpoint),
        ("Root Complex Event Collector", Kind::EventCollector),
    ];
    kinds.iter().find(|(word, _)| rest.starts_with(word)).map(|(_, kind)| *kind)
}

/// ACS bits from `SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-`;
/// `None` if one of them is missing.
pub(super) fn acs(text: &str) -> Option<u16> {
    let names = [
        "SrcValid",
        "TransBlk",
        "ReqRedir",
        "CmpltRedir",
        "UpstreamFwd",
        "EgressCtrl",
        "DirectTrans",
    ];
    let mut bits = 0;
    for (bit, name) in names.iter().enumerate() {
        bits |= u16::from(flag(text, name)?) << bit;
    }
    Some(bits)
}

/// Whether `name` has a plus or a minus behind it.
pub(super) fn flag(text: &str, name: &str) -> Option<bool> {
    let words = text.split([' ', ',', '\t']);
    words.filter_map(|word| word.strip_prefix(name)).find_map(|sign| match sign {
        "+" => Some(true),
        "-" => Some(false),
        _ => None,
    })
}

/// The decimal number that stands behind `name`.
pub(super) fn number(text: &str, name: &str) -> Option<u16> {
    let (_, rest) = text.split_once(name)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// `primary=00, secondary=01, subordinate=01, sec-latency=0`
pub(super) fn buses(text: &str) -> Option<Buses> {
    let bus = |name: &str| {
        let rest = text.split(", ").find_map(|part| part.trim().strip_prefix(name))?;
        u8::from_str_radix(rest.get(..2)?, 16).ok()
    };
    Some(Buses {
        primary: bus("primary=")?,
        secondary: bus("secondary=")?,
        subordinate: bus("subordinate=")?,
    })
}

/// First and last byte from `f7d00000-f7dfffff [size=1M]`; `None` if the window is closed.
pub(super) fn window(text: &str) -> Option<(u64, u64)> {
    let range = text.split_ascii_whitespace().next()?;
    let (first, last) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && !text.contains("[disabled]")).then_some((first, last))
}

/// First and last byte from `Memory at f7d00000 (64-bit, non-prefetchable) [size=16K]`.
pub(super) fn region(text: &str) -> Option<(u64, u64)> {
    let (_, rest) = text.split_once("Memory at ")?;
    let first =
        u64::from_str_radix(rest.split(' ').next()?, 16).ok().filter(|first| *first != 0)?;
    let size = rest.split_once("[size=").and_then(|(_, size)| {
        let (size, _) = size.split_once(']')?;
        let end = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
        let shift = match size.get(end..)? {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return None,
        };
        size.get(..end)?.parse::<u64>().ok()?.checked_shl(shift)
    });
    let last = first.checked_add(size.unwrap_or(1).max(1) - 1)?;
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood() {
        assert_eq!(kind("Express (v2) Root Port (Slot+), MSI 00"), Some(Kind::RootPort));
        assert_eq!(kind("Express (v1) Legacy Endpoint, MSI 00"), Some(Kind::LegacyEndpoint));
        assert_eq!(kind("Express Endpoint IRQ 0"), Some(Kind::Endpoint));
        assert_eq!(kind("Express (v2) Sideways Port"), None);
        let flags =
            "SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+";
        assert_eq!(acs(flags), Some(0x5d));
        assert_eq!(acs("SrcValid+ TransBlk- ReqRedir+"), None);
        assert_eq!(
            region("Memory at f0000000 (32-bit) [size=16K]"),
            Some((0xf000_0000, 0xf000_3fff))
        );
        assert_eq!(region("Memory at <unassigned> (32-bit)"), None);
        assert_eq!(region("Memory at fffffffffffff000 (64-bit) [size=8K]"), None);
        assert_eq!(window("f7d00000-f7dfffff [size=1M]"), Some((0xf7d0_0000, 0xf7df_ffff)));
        assert_eq!(window("00000000fff00000-00000000000fffff [disabled]"), None);
        assert_eq!(window("00000000-000fffff [size=1M] [disabled]"), None);
        assert_eq!(window("[disabled]"), None);
        assert_eq!(number("Initial VFs: 8, Number of VFs: 4, x", "Number of VFs:"), Some(4));
    }
}
