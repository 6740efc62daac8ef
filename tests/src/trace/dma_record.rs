//! The arguments of a line of the DMA API.

use super::dma::{DmaBuffer, DmaCall, DmaDirection, DmaList, DmaListEnd, DmaOp, DmaRange};
use super::error::Fault;
use super::fields::{Fields, hex};
use super::record::{PHYSICAL_BITS, range};

/// Reads what one kind of call has behind its direction.
type Arguments = fn(&mut Fields<'_>) -> Result<Option<DmaOp>, Fault>;

/// The call on a line with this letter; `None` if there is none of that name. Of a call that did
/// not succeed, and of one whose arguments the format leaves open, nothing is told. What stands
/// behind the arguments are attributes.
pub(super) fn call(
    letter: &str,
    fields: &mut Fields<'_>,
) -> Option<Result<Option<DmaCall>, Fault>> {
    let (arguments, is_open): (Arguments, bool) = match letter {
        "m" => (buffer, false),
        "u" => (unmap, false),
        "g" => (list, false),
        "h" => (list_end, false),
        "a" => (allocate, false),
        "f" => (free, false),
        "mr" => (buffer, true),
        "ur" => (unmap, true),
        "ap" | "as" => (allocate, true),
        "fp" | "fs" => (free, true),
        "e" => return Some(Ok(None)),
        _ => return None,
    };
    let read = read(arguments, fields);
    Some(if is_open { Ok(read.unwrap_or(None)) } else { read })
}

fn read(arguments: Arguments, fields: &mut Fields<'_>) -> Result<Option<DmaCall>, Fault> {
    let device = fields.function("dev")?;
    let direction = match fields.word("dir")? {
        "T" => DmaDirection::ToDevice,
        "F" => DmaDirection::FromDevice,
        "B" => DmaDirection::Both,
        word => return Err(Fault::field("dir", word, "T, F or B")),
    };
    Ok(arguments(fields)?.map(|what| DmaCall { device, direction, what }))
}

fn buffer(fields: &mut Fields<'_>) -> Result<Option<DmaOp>, Fault> {
    let bus = fields.hex("dma")?;
    let memory = fields.hex("phys")?;
    let size = fields.decimal("size")?;
    range(memory, size, (1 << PHYSICAL_BITS) - 1, "phys")?;
    Ok(dma_range(bus, size).map(|bus| DmaOp::Map(DmaBuffer { bus, memory })))
}

fn unmap(fields: &mut Fields<'_>) -> Result<Option<DmaOp>, Fault> {
    Ok(bus(fields)?.map(DmaOp::Unmap))
}

fn allocate(fields: &mut Fields<'_>) -> Result<Option<DmaOp>, Fault> {
    Ok(bus(fields)?.map(DmaOp::Allocate))
}

fn free(fields: &mut Fields<'_>) -> Result<Option<DmaOp>, Fault> {
    Ok(bus(fields)?.map(DmaOp::Free))
}

fn bus(fields: &mut Fields<'_>) -> Result<Option<DmaRange>, Fault> {
    Ok(dma_range(fields.hex("dma")?, fields.decimal("size")?))
}

/// `None` for a range that wraps around: that is what the kernel writes when it could not map.
fn dma_range(bus: u64, size: u64) -> Option<DmaRange> {
    bus.checked_add(size).map(|_end| DmaRange { bus, size })
}

fn list(fields: &mut Fields<'_>) -> Result<Option<DmaOp>, Fault> {
    let pieces = fields.decimal("nents")?;
    let entries = fields.decimal("ents")?;
    let bus = items(fields, "dma:size", entries, |one| {
        let (bus, size) = one.split_once(':')?;
        dma_range(hex(bus)?, hex(size)?)
    })?;
    let memory = items(fields, "phys", pieces, |one| {
        hex(one).filter(|memory| memory >> PHYSICAL_BITS == 0)
    })?;
    Ok(Some(DmaOp::MapList(DmaList { pieces, entries, bus, memory })))
}

fn list_end(fields: &mut Fields<'_>) -> Result<Option<DmaOp>, Fault> {
    let pieces = fields.decimal("nents")?;
    let memory = fields.hex("phys0")?;
    Ok(Some(DmaOp::UnmapList(DmaListEnd { pieces, memory })))
}

/// A list with commas of at most `most` items.
fn items<T>(
    fields: &mut Fields<'_>,
    name: &str,
    most: u64,
    item: fn(&str) -> Option<T>,
) -> Result<Box<[T]>, Fault> {
    let word = fields.word(name)?;
    let expected = "hexadecimal numbers in a list with commas";
    let items =
        word.split(',').map(|one| item(one).ok_or_else(|| Fault::field(name, one, expected)));
    let items = items.collect::<Result<Box<[T]>, Fault>>()?;
    if items.len() as u64 > most {
        let found = format!("{} items in the list {name}", items.len());
        return Err(Fault::new(found, format!("at most the {most} that were counted")));
    }
    Ok(items)
}
