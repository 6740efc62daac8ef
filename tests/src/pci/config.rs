//! Configuration space as bytes, decoded.
//!
//! Offsets are those of the PCI Local Bus Specification 3.0, chapter 6 (header, capabilities), the
//! PCI-to-PCI Bridge Architecture Specification 1.2, chapter 3 (bus numbers, windows), and the PCI
//! Express Base Specification, chapter 7 (the rest).

use std::collections::BTreeMap;

use super::capture::{Buses, Captured, Kind, Name};

/// Least of configuration space that there is anything to decode from: the header.
pub const HEADER: usize = 64;
/// Where extended capabilities begin.
pub const EXTENDED: usize = 256;
/// All there is of a PCI Express function.
pub const WHOLE: usize = 4096;

/// Bit of the status register that says there are capabilities.
const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Capability of a bridge's subsystem.
const SUBSYSTEM: u8 = 0x0d;
/// Capability of PCI Express.
const EXPRESS: u8 = 0x10;
/// Extended capability of Access Control Services.
const ACS: u16 = 0x0d;
/// Extended capability of Alternative Routing-ID Interpretation.
const ARI: u16 = 0x0e;
/// Extended capability of Single Root I/O Virtualization.
const SRIOV: u16 = 0x10;

/// Virtual functions that a physical one has switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Virtual {
    /// How many.
    pub count: u16,
    /// From the routing id of the physical function to that of the first.
    pub offset: u16,
    /// From each to the next.
    pub stride: u16,
    /// Their device id, which they do not show themselves.
    pub device: u16,
}

/// Bytes with the little-endian words in them; past the end nothing is known.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes([self.u8(at)?, self.u8(at + 1)?]))
    }

    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from(self.u16(at)?) | u32::from(self.u16(at + 2)?) << 16)
    }

    /// Offsets of the capabilities with their ids, and whether the list was seen to its end.
    fn capabilities(self) -> (Vec<(u8, usize)>, bool) {
        let mut found = Vec::new();
        let status = self.u16(0x06).unwrap_or_default();
        if status & STATUS_CAPABILITIES == 0 {
            return (found, true);
        }
        // A CardBus bridge has its pointer elsewhere.
        let pointer = if self.u8(0x0e).unwrap_or_default() & 0x7f == 2 { 0x14 } else { 0x34 };
        let mut next = self.u8(pointer);
        // A list in a loop ends after as many as there is room for.
        while found.len() < 48 {
            let Some(at) = next.map(|next| usize::from(next & 0xfc)) else {
                return (found, false);
            };
            if at < HEADER {
                break;
            }
            let Some(id) = self.u8(at) else { return (found, false) };
            if id == 0xff {
                break;
            }
            found.push((id, at));
            next = self.u8(at + 1);
        }
        (found, true)
    }

    /// Offsets of the extended capabilities with their ids; `None` if they are not shown.
    fn extended(self) -> Option<Vec<(u16, usize)>> {
        let mut found = Vec::new();
        let mut at = EXTENDED;
        while found.len() < (WHOLE - EXTENDED) / 8 {
            let header = self.u32(at)?;
            if header == 0 || header == u32::MAX {
                break;
            }
            found.push(((header & 0xffff) as u16, at));
            at = (header >> 20) as usize & 0xffc;
            if at < EXTENDED {
                break;
            }
        }
        Some(found)
    }
}

/// What the function `name` is, by its configuration space as far as `bytes` show it, at least
/// [`HEADER`]; and its virtual functions.
#[must_use]
pub fn decode(name: Name, bytes: Vec<u8>) -> (Captured, Option<Virtual>) {
    let space = Bytes(&bytes);
    let mut function = Captured::new(name);
    let header = space.u8(0x0e).unwrap_or(0xff);
    if header == 0xff {
        // It does not answer: nothing of this is true.
        function.config = bytes;
        return (function, None);
    }
    function.vendor = space.u16(0).unwrap_or(0xffff);
    function.device = space.u16(2).unwrap_or(0xffff);
    function.class = space.u32(8).unwrap_or_default() >> 8;
    function.header = header & 0x7f;
    function.multifunction = Some(header & 0x80 != 0);
    let (list, whole) = space.capabilities();
    let find = |id| list.iter().find(|(its, _)| *its == id).map(|(_, at)| *at);
    match find(EXPRESS) {
        Some(at) => express(space, at, &mut function),
        // Whoever is not on PCI Express has no extended capabilities either.
        None if whole => {
            function.kind = Some(Kind::Conventional);
            function.acs_is_known = true;
        }
        None => {}
    }
    let subsystem = match function.header {
        0 => Some(0x2c),
        1 => find(SUBSYSTEM).map(|at| at + 4),
        _ => Some(0x40),
    };
    let subsystem = subsystem.and_then(|at| Some((space.u16(at)?, space.u16(at + 2)?)));
    function.subsystem = subsystem.filter(|ids| *ids != (0, 0));
    let bars = match function.header {
        0 => 6,
        1 => 2,
        _ => 0,
    };
    function.regions = regions(space, bars);
    if function.header != 0 {
        let bus = |at| space.u8(at).unwrap_or_default();
        function.buses =
            Some(Buses { primary: bus(0x18), secondary: bus(0x19), subordinate: bus(0x1a) });
    }
    if function.header == 1 {
        function.windows = windows(space);
    }
    let mut virtuals = None;
    if function.kind != Some(Kind::Conventional)
        && let Some(list) = space.extended()
    {
        function.acs_is_known = function.kind.is_some();
        for (id, at) in list {
            match id {
                ACS => {
                    // Some root ports have the two as double words.
                    let control = if has_wide_acs(&function) { at + 8 } else { at + 6 };
                    function.acs = space.u16(at + 4).zip(space.u16(control));
                }
                ARI => function.ari = true,
                SRIOV => virtuals = sriov(space, at),
                _ => {}
            }
        }
    }
    function.config = bytes;
    (function, virtuals)
}

/// Intel root ports of Sunrise Point and its successors, whose ACS capability has its control
/// 8 bytes from the beginning instead of 6.
#[must_use]
pub fn has_wide_acs(function: &Captured) -> bool {
    let wide =
        [0xa110..=0xa11f, 0xa167..=0xa16a, 0xa290..=0xa29f, 0xa2e7..=0xa2ee, 0x9d10..=0x9d1b];
    function.vendor == 0x8086
        && function.kind == Some(Kind::RootPort)
        && wide.iter().any(|ids| ids.contains(&function.device))
}

/// Marks the functions that are virtual functions of physical ones, each given by its name with
/// what it has switched on, and gives them the ids they do not show.
pub fn mark_virtual(functions: &mut [Captured], physical: &[(Name, Virtual)]) {
    let mut owners = BTreeMap::new();
    for (name, virtuals) in physical {
        let first = u32::from(name.routing_id()) + u32::from(virtuals.offset);
        let vendor = functions.iter().find(|f| f.name == *name).map_or(0xffff, |f| f.vendor);
        for n in 0..u32::from(virtuals.count) {
            let number = first + n * u32::from(virtuals.stride);
            owners.insert(number, (*name, vendor, virtuals.device));
        }
    }
    for function in functions {
        let owner = owners.get(&u32::from(function.name.routing_id()));
        let Some((owner, vendor, device)) = owner else { continue };
        if *owner == function.name {
            continue;
        }
        function.virtual_function = true;
        function.physical = Some(*owner);
        if (function.vendor, function.device) == (0xffff, 0xffff) {
            (function.vendor, function.device) = (*vendor, *device);
        }
    }
}

fn express(space: Bytes<'_>, at: usize, function: &mut Captured) {
    let Some(flags) = space.u16(at + 2) else { return };
    function.kind = match flags >> 4 & 0xf {
        0 => Some(Kind::Endpoint),
        1 => Some(Kind::LegacyEndpoint),
        4 => Some(Kind::RootPort),
        5 => Some(Kind::Upstream),
        6 => Some(Kind::Downstream),
        7 => Some(Kind::PcieToPci),
        8 => Some(Kind::PciToPcie),
        9 => Some(Kind::RootComplexEndpoint),
        10 => Some(Kind::EventCollector),
        _ => None,
    };
    let capabilities = space.u32(at + 4).unwrap_or_default();
    function.phantom = (capabilities >> 3 & 3) as u8;
    // Device Control 2 is there from version 2 of the capability on.
    if flags & 0xf >= 2 {
        let control = space.u16(at + 0x28).unwrap_or_default();
        function.ari_forwarding = control & 1 << 5 != 0;
    }
}

fn sriov(space: Bytes<'_>, at: usize) -> Option<Virtual> {
    let enabled = space.u16(at + 8)? & 1 != 0;
    enabled.then_some(Virtual {
        count: space.u16(at + 0x10)?,
        offset: space.u16(at + 0x14)?,
        stride: space.u16(at + 0x16)?,
        device: space.u16(at + 0x1a)?,
    })
}

/// Where the memory behind the first `bars` base address registers begins; how large it is they
/// do not show.
fn regions(space: Bytes<'_>, bars: usize) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut bar = 0;
    while bar < bars {
        let low = space.u32(0x10 + bar * 4).unwrap_or_default();
        bar += 1;
        if low & 1 != 0 {
            continue;
        }
        let mut start = u64::from(low & !0xf);
        if low & 6 == 4 && bar < bars {
            start |= u64::from(space.u32(0x10 + bar * 4).unwrap_or_default()) << 32;
            bar += 1;
        }
        if start != 0 {
            found.push((start, start));
        }
    }
    found
}

/// The memory window and the prefetchable one, if they are open.
fn windows(space: Bytes<'_>) -> Vec<(u64, u64)> {
    let half = |at| space.u16(at).unwrap_or_default();
    let word = |at| u64::from(space.u32(at).unwrap_or_default());
    let address = |register: u16| u64::from(register & 0xfff0) << 16;
    let wide = half(0x24) & 0xf == 1;
    let upper = |at| if wide { word(at) << 32 } else { 0 };
    let memory = (address(half(0x20)), address(half(0x22)));
    let prefetchable = (address(half(0x24)) | upper(0x28), address(half(0x26)) | upper(0x2c));
    // One that nobody has set up is all zeros; one that is closed has its end before its start.
    let open = |(first, last): &(u64, u64)| first <= last && *last != 0;
    [memory, prefetchable]
        .into_iter()
        .filter(open)
        .map(|(first, last)| (first, last | 0xf_ffff))
        .collect()
}
