//! Values of the JSON form that are more than JSON's own types, each with what is expected of it,
//! so that a message has the place of a wrong one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use crate::pci::capture::{Kind, Name};

/// A visitor of strings by a function, with what it expects.
struct Text<T>(fn(&str) -> Option<T>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        // A long one would make a long message.
        let short: String = text.chars().take(40).collect();
        (self.0)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(&short), &self))
    }
}

/// Declares a type that is read from a string.
macro_rules! from_text {
    ($type:ty, $expected:expr, $parse:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(Text($parse, $expected))
            }
        }
    };
}

/// The word that names the form.
pub(super) struct Format;
from_text!(Format, "\"pviommu-pci-1\"", |text| (text == "pviommu-pci-1").then_some(Format));

/// The number of a function.
pub(super) struct Address(pub(super) Name);
from_text!(Address, "a function as bb:dd.f", |text| text.parse().ok().map(Address));

/// A number of at most `BITS` bits in hexadecimal.
#[derive(Default)]
pub(super) struct Hex<const BITS: u32>(pub(super) u32);
from_text!(Hex<16>, "a hexadecimal number of at most 16 bits", hex);
from_text!(Hex<24>, "a hexadecimal number of at most 24 bits", hex);
from_text!(Hex<32>, "a hexadecimal number of at most 32 bits", hex);

fn hex<const BITS: u32>(text: &str) -> Option<Hex<BITS>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.starts_with('+') {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok()?;
    (u64::from(number) < 1 << BITS).then_some(Hex(number))
}

impl Hex<16> {
    /// It as what it is.
    pub(super) fn u16(self) -> u16 {
        // Reading it has made sure that it fits.
        self.0 as u16
    }
}

/// What a function is on PCI Express.
pub(super) struct Word(pub(super) Kind);
from_text!(
    Word,
    "null, endpoint, legacy-endpoint, root-port, upstream, downstream, pcie-to-pci-bridge, \
     pci-to-pcie-bridge, rciep or rcec",
    |text| {
        Some(Word(match text {
            "endpoint" => Kind::Endpoint,
            "legacy-endpoint" => Kind::LegacyEndpoint,
            "root-port" => Kind::RootPort,
            "upstream" => Kind::Upstream,
            "downstream" => Kind::Downstream,
            "pcie-to-pci-bridge" => Kind::PcieToPci,
            "pci-to-pcie-bridge" => Kind::PciToPcie,
            "rciep" => Kind::RootComplexEndpoint,
            "rcec" => Kind::EventCollector,
            _ => return None,
        }))
    }
);

/// A place in configuration space.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offset(pub(super) u16);
from_text!(Offset, "an offset as 0xf0, below 0x1000", |text| {
    let Hex(number) = hex::<16>(text.strip_prefix("0x")?)?;
    u16::try_from(number).ok().filter(|number| *number < 0x1000).map(Offset)
});

/// Bytes, two hexadecimal digits each.
pub(super) struct Bytes(pub(super) Vec<u8>);
from_text!(Bytes, "pairs of hexadecimal digits", |text| {
    if text.len() % 2 != 0 || !text.is_ascii() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    let bytes = pairs.map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8));
    bytes.collect::<Option<Vec<u8>>>().map(Bytes)
});

/// Tells null from nothing.
pub(super) fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(from).map(Some)
}
