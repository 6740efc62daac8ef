//! A machine's PCI functions as somebody saw them, and the groups that a kernel formed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The number of a function: bus, device and function, without a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name {
    /// Bus.
    pub bus: u8,
    /// Device in bits 7 to 3, function in bits 2 to 0.
    pub devfn: u8,
}

/// What a function is on PCI Express.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No PCI Express capability.
    Conventional,
    /// An endpoint.
    Endpoint,
    /// A legacy endpoint.
    LegacyEndpoint,
    /// A root port.
    RootPort,
    /// The port of a switch towards the root.
    Upstream,
    /// A port of a switch away from the root.
    Downstream,
    /// A bridge with PCI Express above and conventional PCI below.
    PcieToPci,
    /// A bridge with conventional PCI above and PCI Express below.
    PciToPcie,
    /// An endpoint of the root complex.
    RootComplexEndpoint,
    /// An event collector of the root complex.
    EventCollector,
}

/// Bus numbers of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buses {
    /// The bus it is on, as it says.
    pub primary: u8,
    /// The bus below it.
    pub secondary: u8,
    /// The last bus below it.
    pub subordinate: u8,
}

/// One function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Its number.
    pub name: Name,
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Class, subclass and programming interface, 24 bits.
    pub class: u32,
    /// Vendor and device of the subsystem.
    pub subsystem: Option<(u16, u16)>,
    /// Header type without bit 7: 0, or 1 for a bridge.
    pub header: u8,
    /// Bit 7 of the header type; `None` if the source does not show it.
    pub multifunction: Option<bool>,
    /// What it is; `None` if the source does not show it.
    pub kind: Option<Kind>,
    /// Of a bridge.
    pub buses: Option<Buses>,
    /// Capability and control of ACS; `None` without the capability.
    pub acs: Option<(u16, u16)>,
    /// The source shows whether there is an ACS capability.
    pub acs_is_known: bool,
    /// Bits of the function number that phantom functions use: 0 to 3.
    pub phantom: u8,
    /// It has the ARI capability.
    pub ari: bool,
    /// It forwards to functions above 7 (ARI forwarding).
    pub ari_forwarding: bool,
    /// It is a virtual function of SR-IOV.
    pub virtual_function: bool,
    /// The physical function that a virtual one belongs to, if the source shows it.
    pub physical: Option<Name>,
    /// The operator says that it isolates, at his own risk.
    pub vouched_for: bool,
    /// Start and last byte of its memory regions, 0 being the first; those that are known.
    pub regions: Vec<(u64, u64)>,
    /// Memory windows of a bridge, first and last byte.
    pub windows: Vec<(u64, u64)>,
    /// Bytes of configuration space that are known, besides what stands above.
    pub bytes: BTreeMap<u16, u8>,
    /// Configuration space as far as the source shows it, to the last byte it shows even if that is
    /// zero; empty if it does not.
    pub config: Vec<u8>,
}

/// One machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The segment all functions are in; Linux has numbers above 16 bits.
    pub segment: u32,
    /// Buses that no bridge leads to; empty if the source does not say.
    pub root_buses: Vec<u8>,
    /// Functions, in the order of the source.
    pub functions: Vec<Captured>,
    /// The groups that a Linux kernel formed; empty if the source has none.
    pub linux_groups: Vec<Vec<Name>>,
    /// What the source cannot show, in words.
    pub unseen: Vec<String>,
}

impl Captured {
    /// A function of which nothing is known but its number.
    #[must_use]
    pub const fn new(name: Name) -> Self {
        Self {
            name,
            vendor: 0xffff,
            device: 0xffff,
            class: 0xff_0000,
            subsystem: None,
            header: 0,
            multifunction: None,
            kind: None,
            buses: None,
            acs: None,
            acs_is_known: false,
            phantom: 0,
            ari: false,
            ari_forwarding: false,
            virtual_function: false,
            physical: None,
            vouched_for: false,
            regions: Vec::new(),
            windows: Vec::new(),
            bytes: BTreeMap::new(),
            config: Vec::new(),
        }
    }

    /// The byte of configuration space at `offset`, if it is known.
    #[must_use]
    pub fn byte(&self, offset: u16) -> Option<u8> {
        self.bytes.get(&offset).or_else(|| self.config.get(usize::from(offset))).copied()
    }
}

impl Capture {
    /// A machine without functions.
    #[must_use]
    pub const fn new(name: String, segment: u32) -> Self {
        Self {
            name,
            description: String::new(),
            segment,
            root_buses: Vec::new(),
            functions: Vec::new(),
            linux_groups: Vec::new(),
            unseen: Vec::new(),
        }
    }
}

impl Name {
    /// Bus, device and function as one number, the routing id.
    #[must_use]
    pub const fn routing_id(self) -> u16 {
        (self.bus as u16) << 8 | self.devfn as u16
    }

    /// The device number, 0 to 31.
    #[must_use]
    pub const fn slot(self) -> u8 {
        self.devfn >> 3
    }

    /// The function number, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.devfn & 7
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.slot(), self.function())
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (bus, rest) = text.split_once(':').ok_or(())?;
        let (slot, function) = rest.split_once('.').ok_or(())?;
        if (bus.len(), slot.len(), function.len()) != (2, 2, 1) || text.contains('+') {
            return Err(());
        }
        let number = |text| u8::from_str_radix(text, 16).map_err(|_| ());
        let (bus, slot, function) = (number(bus)?, number(slot)?, number(function)?);
        if slot > 31 || function > 7 {
            return Err(());
        }
        Ok(Self { bus, devfn: (slot << 3) | function })
    }
}
