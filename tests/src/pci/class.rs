//! Classes of functions in words, by the names of the PCI Code and ID Assignment Specification as
//! `lspci` writes them.

use super::capture::{Captured, Kind};

/// Class and subclass, and what they are called.
const NAMES: [(u16, &str); 61] = [
    (0x0000, "Non-VGA unclassified device"),
    (0x0001, "VGA compatible unclassified device"),
    (0x0100, "SCSI storage controller"),
    (0x0101, "IDE interface"),
    (0x0104, "RAID bus controller"),
    (0x0105, "ATA controller"),
    (0x0106, "SATA controller"),
    (0x0107, "Serial Attached SCSI controller"),
    (0x0108, "Non-Volatile memory controller"),
    (0x0180, "Mass storage controller"),
    (0x0200, "Ethernet controller"),
    (0x0207, "Infiniband controller"),
    (0x0208, "Fabric controller"),
    (0x0280, "Network controller"),
    (0x0300, "VGA compatible controller"),
    (0x0302, "3D controller"),
    (0x0380, "Display controller"),
    (0x0400, "Multimedia video controller"),
    (0x0401, "Multimedia audio controller"),
    (0x0403, "Audio device"),
    (0x0480, "Multimedia controller"),
    (0x0500, "RAM memory"),
    (0x0501, "FLASH memory"),
    (0x0502, "CXL"),
    (0x0580, "Memory controller"),
    (0x0600, "Host bridge"),
    (0x0601, "ISA bridge"),
    (0x0604, "PCI bridge"),
    (0x0605, "PCMCIA bridge"),
    (0x0607, "CardBus bridge"),
    (0x0609, "Semi-transparent PCI-to-PCI bridge"),
    (0x060a, "InfiniBand to PCI host bridge"),
    (0x0680, "Bridge"),
    (0x0700, "Serial controller"),
    (0x0703, "Modem"),
    (0x0780, "Communication controller"),
    (0x0800, "PIC"),
    (0x0801, "DMA controller"),
    (0x0802, "Timer"),
    (0x0803, "RTC"),
    (0x0804, "PCI Hot-plug controller"),
    (0x0805, "SD Host controller"),
    (0x0806, "IOMMU"),
    (0x0807, "Root Complex Event Collector"),
    (0x0880, "System peripheral"),
    (0x0900, "Keyboard controller"),
    (0x0980, "Input device controller"),
    (0x0c00, "FireWire (IEEE 1394)"),
    (0x0c03, "USB controller"),
    (0x0c04, "Fibre Channel"),
    (0x0c05, "SMBus"),
    (0x0c07, "IPMI Interface"),
    (0x0c80, "Serial bus controller"),
    (0x0d11, "Bluetooth"),
    (0x0d80, "Wireless controller"),
    (0x1000, "Network and computing encryption device"),
    (0x1080, "Encryption controller"),
    (0x1101, "Performance counters"),
    (0x1180, "Signal processing controller"),
    (0x1200, "Processing accelerators"),
    (0xff00, "Unassigned class"),
];

/// What a function of the 24-bit `class` is called.
#[must_use]
pub fn words(class: u32) -> &'static str {
    let wanted = class >> 8;
    let named = NAMES.iter().find(|(code, _)| u32::from(*code) == wanted);
    named.map_or("Unknown class", |(_, words)| words)
}

/// What `function` is called: its class, and of a port what port it is.
#[must_use]
pub fn describe(function: &Captured) -> String {
    let port = match function.kind {
        Some(Kind::RootPort) => "root port",
        Some(Kind::Upstream) => "upstream port",
        Some(Kind::Downstream) => "downstream port",
        Some(Kind::PcieToPci) => "from PCIe",
        Some(Kind::PciToPcie) => "to PCIe",
        _ => return words(function.class).to_owned(),
    };
    format!("{} ({port})", words(function.class))
}

/// The 24-bit class that is called `words`, with a programming interface of 0.
#[must_use]
pub fn by_words(words: &str) -> Option<u32> {
    let named = NAMES.iter().find(|(_, name)| *name == words);
    named.map(|(code, _)| u32::from(*code) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_and_names_have_classes() {
        assert_eq!(words(0x01_0802), "Non-Volatile memory controller");
        assert_eq!(words(0x33_4455), "Unknown class");
        assert_eq!(by_words("IOMMU"), Some(0x08_0600));
        assert_eq!(by_words("Toaster"), None);
        assert!(NAMES.is_sorted_by(|one, next| one.0 < next.0));
    }
}
