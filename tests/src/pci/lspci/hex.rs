//! Functions as `lspci -x`, `-xxx` or `-xxxx` prints them: rows of 16 bytes.

use super::line::hex;
use super::{Block, Read};
use crate::pci::capture::{Captured, Kind};
use crate::pci::config::{self, EXTENDED, HEADER, WHOLE};
use crate::pci::error::{Fault, PciError, Place};
use crate::source::quote;

/// Bytes of a row.
const ROW: usize = 16;

/// True for a row of bytes, or what begins as one.
pub(super) fn is_row(line: &str) -> bool {
    let Some((offset, _)) = line.split_once(": ") else { return false };
    matches!(offset.len(), 2 | 3) && hex(offset).is_some_and(|offset| offset % 16 == 0)
}

/// The function that `block` shows.
pub(super) fn function(file: &str, block: &Block<'_>) -> Result<Read, PciError> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut last = block.number;
    for (number, line) in block.lines.iter().filter(|(_, line)| is_row(line)) {
        last = *number;
        row(line, &mut bytes).map_err(|fault| fault.at(file, Place::Line(*number)))?;
    }
    if bytes.len() < HEADER {
        let found = format!("{} bytes of {}", bytes.len(), block.device.name);
        let fault = Fault::new(found, format!("at least {HEADER}, as lspci -xxxx prints them"));
        return Err(fault.at(file, Place::Line(last)));
    }
    let (mut function, virtuals) = config::decode(block.device.name, bytes);
    // The kernel knows some that configuration space does not have.
    if let (0xffff, Some((vendor, device))) = (function.vendor, block.device.ids) {
        (function.vendor, function.device) = (vendor, device);
    }
    if function.header > 2 {
        let found = format!("header type {:02x}", function.header);
        return Err(Fault::new(found, "00, 01 or 02").at(file, Place::Line(block.number)));
    }
    Ok(Read { function, virtuals })
}

fn row(line: &str, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let wrong = |expected| Fault::new(quote(line), expected);
    let (offset, rest) = line.split_once(": ").unwrap_or_default();
    if hex(offset) != u32::try_from(bytes.len()).ok() || bytes.len() >= WHOLE {
        return Err(wrong(format!("the row of offset {:02x}", bytes.len())));
    }
    let before = bytes.len();
    for word in rest.split_ascii_whitespace() {
        let byte = hex(word).filter(|_| word.len() == 2);
        let byte = byte.ok_or_else(|| wrong("bytes of two hexadecimal digits".to_owned()))?;
        bytes.push(byte as u8);
    }
    if bytes.len() - before != ROW {
        return Err(wrong(format!("{ROW} bytes")));
    }
    Ok(())
}

/// Says what the bytes of `functions` do not show.
pub(super) fn unseen(functions: &[&Captured], unseen: &mut Vec<String>) {
    let count = |what: fn(&Captured) -> bool| functions.iter().filter(|f| what(f)).count();
    let mute = count(|f| f.config.get(0x0e) == Some(&0xff));
    if mute > 0 {
        unseen.push(format!("everything of {mute} functions, which answer with all ones"));
    }
    let unknown = count(|f| f.kind.is_none() && f.config.get(0x0e) != Some(&0xff));
    if unknown > 0 {
        unseen.push(format!(
            "what {unknown} functions are on PCI Express: their capabilities are not shown \
             (lspci -xxxx, as root)"
        ));
    }
    let short = |f: &Captured| {
        f.kind.is_some_and(|kind| kind != Kind::Conventional) && f.config.len() <= EXTENDED
    };
    let short = functions.iter().filter(|f| short(f)).count();
    if short > 0 {
        unseen.push(format!(
            "ACS, ARI and SR-IOV of {short} functions: only 256 bytes of each are shown \
             (lspci -xxxx, as root)"
        ));
    }
}
