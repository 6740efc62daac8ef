//! The fields of one line, taken from left to right, each checked as it is taken.

use pviommu_abi::PciDevice;

use super::error::Fault;
use crate::source::quote;

/// Bytes in a page, the unit of every map and unmap.
const PAGE: u64 = 4096;

/// What is left of a line.
pub(super) struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// The next field, or `None` at the end of the line.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let line = self.rest.trim_ascii_start();
        let end = line.find(|c: char| c.is_ascii_whitespace()).unwrap_or(line.len());
        let (field, rest) = line.split_at(end);
        self.rest = rest;
        (!field.is_empty()).then_some(field)
    }

    /// The next field, which is called `name`.
    pub(super) fn word(&mut self, name: &str) -> Result<&'a str, Fault> {
        self.next().ok_or_else(|| Fault::new("the end of the line", format!("the field {name}")))
    }

    /// A decimal number that fits `T`.
    pub(super) fn decimal<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, Fault> {
        let word = self.word(name)?;
        decimal(word).ok_or_else(|| Fault::field(name, word, "a decimal number in range"))
    }

    /// A hexadecimal number without `0x`.
    pub(super) fn hex(&mut self, name: &str) -> Result<u64, Fault> {
        let word = self.word(name)?;
        hex(word).ok_or_else(|| {
            Fault::field(name, word, "a hexadecimal number of at most 64 bits without 0x")
        })
    }

    /// A hexadecimal address at a page boundary.
    pub(super) fn page_address(&mut self, name: &str) -> Result<u64, Fault> {
        let address = self.hex(name)?;
        if address.is_multiple_of(PAGE) {
            return Ok(address);
        }
        Err(Fault::field(name, &format!("{address:x}"), "an address at a 4096-byte boundary"))
    }

    /// A size in bytes: a whole number of pages, not zero.
    pub(super) fn page_size(&mut self, name: &str) -> Result<u64, Fault> {
        let size: u64 = self.decimal(name)?;
        if size != 0 && size.is_multiple_of(PAGE) {
            return Ok(size);
        }
        Err(Fault::field(name, &size.to_string(), "a multiple of 4096 bytes above zero"))
    }

    /// A PCI function, with or without its segment.
    pub(super) fn function(&mut self, name: &str) -> Result<PciDevice, Fault> {
        let word = self.word(name)?;
        function(word).ok_or_else(|| Fault::field(name, word, "a PCI function like 00:1f.2"))
    }

    /// Says that the line ends here.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => Ok(()),
            Some(word) => {
                Err(Fault::new(format!("{} after the last field", quote(word)), "nothing more"))
            }
        }
    }
}

/// The decimal number `word` stands for; a sign is not part of the format.
pub(super) fn decimal<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// The hexadecimal number `word` stands for.
pub(super) fn hex(word: &str) -> Option<u64> {
    let digits = word.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(word, 16).ok()).flatten()
}

/// The PCI function `word` names: `bb:dd.f` or `ssss:bb:dd.f`.
pub(super) fn function(word: &str) -> Option<PciDevice> {
    let part = |text: &str, most: u64| hex(text).filter(|n| *n <= most);
    let (front, function) = word.rsplit_once('.')?;
    let (front, device) = front.rsplit_once(':')?;
    let (segment, bus) = front.rsplit_once(':').unwrap_or(("0", front));
    Some(PciDevice::new(
        u16::try_from(part(segment, 0xffff)?).ok()?,
        u8::try_from(part(bus, 0xff)?).ok()?,
        u8::try_from(part(device, 0x1f)?).ok()?,
        u8::try_from(part(function, 7)?).ok()?,
    ))
}
