//! The header of a trace: the machine that was traced, in lines `# key: value`.

use pviommu_abi::PciDevice;

use super::error::Fault;
use super::fields::{Fields, decimal, function, hex};
use crate::source::quote;

/// Bytes from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteRange {
    /// First byte.
    pub first: u64,
    /// Last byte, not below the first.
    pub last: u64,
}

/// A PCI function of the traced machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Where it is.
    pub address: PciDevice,
    /// Vendor and device id, as the header writes them.
    pub ids: String,
    /// The driver that was bound at the end, or nothing.
    pub driver: Option<String>,
    /// Its IOMMU group, if it was in one.
    pub group: Option<u64>,
}

/// An IOMMU group at the end of the trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its number.
    pub number: u64,
    /// The functions in it.
    pub members: Vec<PciDevice>,
    /// Bus addresses that its devices do not have at their disposal.
    pub reserved: Vec<ReservedRegion>,
}

/// A range of bus addresses with a use of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReservedRegion {
    /// Bus addresses.
    pub range: ByteRange,
    /// The use.
    pub kind: RegionKind,
}

/// What a reserved region is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// Firmware needs it mapped 1:1 (RMRR, IVMD unity map).
    Direct,
    /// The same, but the kernel may give it up: told, not enforced.
    DirectRelaxable,
    /// Never to be mapped. Kinds that are not known count as this, the safe choice.
    Reserved,
    /// Interrupts are sent here.
    Msi,
}

/// What the header says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Header {
    /// The name of the capture.
    pub name: String,
    /// What the workload was.
    pub what: String,
    /// Guest physical memory. Everything else is taken for device registers.
    pub ram: Vec<ByteRange>,
    /// The PCI functions.
    pub functions: Vec<Function>,
    /// The IOMMU groups.
    pub groups: Vec<Group>,
}

impl Header {
    /// Takes in a line that began with `#`. Keys that matter to people only are passed over.
    pub(super) fn take_line(&mut self, comment: &str) -> Result<(), Fault> {
        let Some((key, value)) = comment.split_once(':') else { return Ok(()) };
        let value = value.trim();
        match key.trim() {
            "name" => self.name = value.to_owned(),
            "what" => self.what = value.to_owned(),
            "ram" => self.ram.push(ram(value)?),
            "pci" => self.functions.push(pci(value)?),
            "group" => self.groups.push(group(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// `00100000-3ffd4fff : System RAM`
fn ram(value: &str) -> Result<ByteRange, Fault> {
    let (range, _name) = value.split_once(" : ").unwrap_or((value, ""));
    let bounds = range
        .split_once('-')
        .and_then(|(first, last)| byte_range(hex(first.trim())?, hex(last.trim())?));
    bounds
        .ok_or_else(|| Fault::field("ram", range, "first-last, hexadecimal, first not above last"))
}

/// `0000:00:01.0 0x1b36:0x0010 class 0x010802 driver nvme group 1 type DMA`
fn pci(value: &str) -> Result<Function, Fault> {
    let mut fields = Fields::new(value);
    let address = fields.function("pci")?;
    let words: Vec<&str> = std::iter::from_fn(|| fields.next()).collect();
    // The word after a key, unless it is the next key: a value may be missing.
    let after = |key: &str, next: &str| {
        let mut rest = words.iter().skip_while(|word| **word != key).skip(1);
        rest.next().filter(|word| **word != next).copied()
    };
    let group = after("group", "type").map(|word| {
        decimal(word).ok_or_else(|| Fault::field("group", word, "a decimal number or nothing"))
    });
    Ok(Function {
        address,
        ids: words.first().copied().unwrap_or_default().to_owned(),
        driver: after("driver", "group").map(str::to_owned),
        group: group.transpose()?,
    })
}

/// `4 DMA | 0000:00:1f.0 0000:00:1f.2 | 0x0 0xffffff direct-relaxable;0xfee00000 0xfeefffff msi;`
fn group(value: &str) -> Result<Group, Fault> {
    let mut parts = value.split('|');
    let number = Fields::new(parts.next().unwrap_or_default()).decimal("group")?;
    let (Some(members), Some(reserved), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Fault::new(quote(value), "number and type | functions | reserved regions"));
    };
    let members = members
        .split_ascii_whitespace()
        .map(|word| function(word).ok_or_else(|| Fault::field("group", word, "a PCI function")));
    let reserved = reserved.split(';').map(str::trim).filter(|text| !text.is_empty()).map(region);
    Ok(Group {
        number,
        members: members.collect::<Result<_, _>>()?,
        reserved: reserved.collect::<Result<_, _>>()?,
    })
}

/// `0x00000000fee00000 0x00000000feefffff msi`
fn region(text: &str) -> Result<ReservedRegion, Fault> {
    let mut fields = Fields::new(text);
    let mut bound = || hex(fields.next()?.trim_start_matches("0x"));
    let range = bound().zip(bound()).and_then(|(first, last)| byte_range(first, last));
    let kind = fields.next();
    let (Some(range), Some(kind)) = (range, kind) else {
        return Err(Fault::field("reserved region", text, "0xfirst 0xlast kind"));
    };
    let kind = match kind {
        "direct" => RegionKind::Direct,
        "direct-relaxable" => RegionKind::DirectRelaxable,
        "msi" => RegionKind::Msi,
        _ => RegionKind::Reserved,
    };
    fields.end()?;
    Ok(ReservedRegion { range, kind })
}

fn byte_range(first: u64, last: u64) -> Option<ByteRange> {
    (first <= last).then_some(ByteRange { first, last })
}
