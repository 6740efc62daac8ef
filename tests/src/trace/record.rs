//! One event line: `<ns> <cpu> <op> <args>`.

use super::dma::{DmaCall, DmaEvent};
use super::dma_record;
use super::error::Fault;
use super::event::{Attach, DomainType, Event, Map, Op, Prot, Unmap};
use super::fields::{Fields, hex};
use crate::source::quote;

/// Bits of a guest physical address on x86-64.
pub(super) const PHYSICAL_BITS: u32 = 52;

/// What a line tells.
pub(super) enum Told {
    /// What the interface of maps and unmaps sees.
    Event(Op),
    /// A call of the DMA API, unless it did not succeed or cannot be understood.
    Dma(Option<DmaCall>),
    /// A remark of the workload.
    Mark,
}

/// A line, and when and where what it tells happened.
pub(super) struct Record {
    line: u64,
    pub(super) ns: u64,
    cpu: u32,
    pub(super) told: Told,
}

impl Record {
    /// Adds what is to be kept to the list it belongs to.
    pub(super) fn keep(self, events: &mut Vec<Event>, calls: &mut Vec<DmaEvent>) {
        let Self { line, ns, cpu, told } = self;
        match told {
            Told::Event(op) => events.push(Event { line, ns, cpu, op }),
            Told::Dma(Some(call)) => calls.push(DmaEvent { line, ns, cpu, call }),
            Told::Dma(None) | Told::Mark => {}
        }
    }
}

/// Parses line `number`; `now` is the time of the one before it.
pub(super) fn parse(line: &str, number: u64, now: u64) -> Result<Record, Fault> {
    let mut fields = Fields::new(line);
    let ns: u64 = fields.decimal("time")?;
    if ns < now {
        let expected = format!("{now} or later: time never runs backwards");
        return Err(Fault::field("time", &ns.to_string(), &expected));
    }
    let cpu = fields.decimal("cpu")?;
    let told = told(&mut fields)?;
    Ok(Record { line: number, ns, cpu, told })
}

/// The operation and its arguments, up to the end of the line.
fn told(fields: &mut Fields<'_>) -> Result<Told, Fault> {
    let letter = fields.word("operation")?;
    let op = match letter {
        "M" => Op::Map(map(fields)?),
        "U" => Op::Unmap(unmap(fields)?),
        "P" => {
            let domain = fields.decimal("domain")?;
            range(fields.hex("iova")?, fields.decimal("size")?, u64::MAX, "iova")?;
            Op::MapBatch(domain)
        }
        "S" => sync(fields)?,
        "A" => Op::FlushAll(fields.decimal("domain")?),
        "D" => Op::Attach(attach(fields)?),
        "X" => Op::Free(fields.decimal("domain")?),
        "G" => Op::Arrive(group_member(fields)?),
        "R" => Op::Leave(group_member(fields)?),
        "#" => return Ok(Told::Mark),
        _ => {
            let call = dma_record::call(letter, fields).unwrap_or_else(|| {
                let found = format!("operation {}", quote(letter));
                Err(Fault::new(found, "M U P S A D X G R # or an operation of the DMA API"))
            });
            return call.map(Told::Dma);
        }
    };
    fields.end()?;
    Ok(Told::Event(op))
}

fn map(fields: &mut Fields<'_>) -> Result<Map, Fault> {
    let domain = fields.decimal("domain")?;
    let iova = fields.page_address("iova")?;
    let paddr = fields.page_address("paddr")?;
    let size = fields.page_size("size")?;
    range(iova, size, u64::MAX, "iova")?;
    range(paddr, size, (1 << PHYSICAL_BITS) - 1, "paddr")?;
    let prot = prot(fields.word("prot")?)?;
    Ok(Map { domain, iova, paddr, size, prot })
}

fn unmap(fields: &mut Fields<'_>) -> Result<Unmap, Fault> {
    let domain = fields.decimal("domain")?;
    let iova = fields.page_address("iova")?;
    let size = fields.page_size("size")?;
    range(iova, size, u64::MAX, "iova")?;
    let unmapped: u64 = fields.decimal("unmapped")?;
    if !unmapped.is_multiple_of(4096) {
        let expected = "a multiple of 4096 bytes";
        return Err(Fault::field("unmapped", &unmapped.to_string(), expected));
    }
    // More than was asked for is possible: some drivers always remove a whole large page.
    range(iova, unmapped, u64::MAX, "iova")?;
    Ok(Unmap { domain, iova, size, unmapped })
}

/// `S dom first last`, or `S dom - -` for everything that is queued.
fn sync(fields: &mut Fields<'_>) -> Result<Op, Fault> {
    let domain = fields.decimal("domain")?;
    let (first, last) = (fields.word("first")?, fields.word("last")?);
    // The order of the two is not checked: an empty gather reads `ffffffffffffffff 0`.
    let valid = (first == "-" && last == "-") || (hex(first).is_some() && hex(last).is_some());
    if valid {
        return Ok(Op::Sync(domain));
    }
    Err(Fault::field("range", &format!("{first} {last}"), "two hexadecimal addresses, or - -"))
}

fn attach(fields: &mut Fields<'_>) -> Result<Attach, Fault> {
    let domain = fields.decimal("domain")?;
    let word = fields.word("type")?;
    let kind = match word {
        "DMA" => DomainType::Dma,
        "DMA-FQ" => DomainType::DmaLazy,
        "UNMANAGED" => DomainType::Unmanaged,
        "IDENTITY" => DomainType::Identity,
        "BLOCKED" => DomainType::Blocked,
        _ => {
            let expected = "DMA, DMA-FQ, UNMANAGED, IDENTITY or BLOCKED";
            return Err(Fault::field("type", word, expected));
        }
    };
    Ok(Attach { domain, kind, device: fields.function("dev")? })
}

fn group_member(fields: &mut Fields<'_>) -> Result<pviommu_abi::PciDevice, Fault> {
    let _group: u64 = fields.decimal("group")?;
    fields.function("dev")
}

/// Refuses `size` bytes at `first` that reach beyond `most`.
pub(super) fn range(first: u64, size: u64, most: u64, name: &str) -> Result<(), Fault> {
    let last = first.checked_add(size.saturating_sub(1));
    if last.is_some_and(|last| last <= most) {
        return Ok(());
    }
    let found = format!("{name} {first:x} with size {size}");
    Err(Fault::new(found, format!("a range that ends at {most:x} or below")))
}

fn prot(word: &str) -> Result<Prot, Fault> {
    word.chars().try_fold(Prot::empty(), |all, letter| {
        let one = match letter {
            'r' => Prot::READ,
            'w' => Prot::WRITE,
            'c' => Prot::CACHE,
            'n' => Prot::NOEXEC,
            'm' => Prot::MMIO,
            'p' => Prot::PRIVILEGED,
            _ => return Err(Fault::field("prot", word, "letters out of r w c n m p")),
        };
        Ok(all | one)
    })
}
