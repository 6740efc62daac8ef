//! What a guest changes during a call: a field of one of its parts, to a value that could stand there.

use pviommu_abi::{
    DeviceHandle, DomId, Subop,
    layout::{Field, Layout, structs},
};
use zerocopy::IntoBytes;

use super::{
    input::Change,
    layout::{ANSWERS, ARGUMENT, CALLS, ELEMENTS, INNER, LIST, LaidOut},
};
use crate::{
    fuzzing::{batch, world::DEVICES},
    machine::Rewrite,
};

/// Entries and elements that are changed, from the first on.
const REACH: u16 = 0x3ff;

/// Where and what is changed, in words.
#[derive(Clone, Debug)]
pub(super) struct Meant {
    /// The structure and the field, or the address.
    pub(super) what: String,
    pub(super) rewrite: Rewrite,
}

/// The structure of this name.
fn layout(name: &str) -> &'static Layout {
    structs().find(|it| it.name == name).expect("a structure of the ABI")
}

/// The structure of a subop's argument.
fn argument(subop: Subop) -> Option<&'static Layout> {
    Some(layout(match subop {
        Subop::INIT => "Init",
        Subop::ALLOC_CONTEXT => "AllocContext",
        Subop::FREE_CONTEXT => "FreeContext",
        Subop::REATTACH_DEVICE => "ReattachDevice",
        Subop::MAP_PAGES => "MapPages",
        Subop::UNMAP_PAGES => "UnmapPages",
        Subop::FLUSH_PAGES => "FlushPages",
        Subop::REMOTE_CMD => "RemoteCmd",
        Subop::BATCH => "Batch",
        Subop::QUERY_RESERVED => "QueryReserved",
        Subop::TAKE_OWNERSHIP => "TakeOwnership",
        Subop::LOOKUP => "Lookup",
        Subop::QUERY_DEVICE => "QueryDevice",
        Subop::READ_FAULTS => "ReadFaults",
        Subop::QUERY_LIMITS => "QueryLimits",
        Subop::ALLOC_CONTEXT_EXT => "AllocContextExt",
        _ => return None,
    }))
}

/// What a change means during this call; `None`: nothing.
///
/// The two highest bits of its place choose: the argument, its carrier or what is behind it; an element of the
/// array; an entry of the list; or any two bytes of the first 64 KiB.
pub(super) fn meant(laid: &LaidOut, change: &Change) -> Option<Meant> {
    let Change { after, place, value } = *change;
    let low = place & 0x3fff;
    let (what, address, adds, bytes) = match place >> 14 {
        0 => {
            let inner = laid.is_remote && low & 1 != 0;
            let (subop, at) = match (laid.is_remote, inner) {
                (true, false) => (Subop::REMOTE_CMD, ARGUMENT),
                (true, true) => (laid.subop, INNER),
                (false, _) => (laid.subop, ARGUMENT),
            };
            field_of(argument(subop)?, at, low >> 1, value)
        }
        1 => {
            let layout = layout("BatchElement");
            let number = u64::from(low >> 4 & REACH);
            field_of(layout, ELEMENTS + number * layout.size as u64, low & 0xf, value)
        }
        2 => {
            let at = LIST + u64::from(low & REACH) * 8;
            let bytes = guest_frame(value).to_le_bytes().to_vec();
            (format!("entry {} of the list", low & REACH), at, false, bytes)
        }
        _ => {
            let at = u64::from(low) * 4;
            ("memory".into(), at, false, value.to_le_bytes().to_vec())
        }
    };
    let (after, domain) = (u32::from(after & 0x1f) + 1, laid.caller);
    Some(Meant { what, rewrite: Rewrite { after, domain, address, bytes, adds } })
}

fn field_of(layout: &Layout, at: u64, which: u16, value: u16) -> (String, u64, bool, Vec<u8>) {
    let field = &layout.fields[usize::from(which) % layout.fields.len()];
    let (adds, mut bytes) = value_of(field, value);
    bytes.resize(field.size, 0);
    (format!("{}.{}", layout.name, field.name), at + field.offset as u64, adds, bytes)
}

fn guest_frame(value: u16) -> u64 {
    batch::GFNS[usize::from(value >> 14)].wrapping_add(u64::from(value & 0x1ff))
}

/// Whether it is added, and what.
fn value_of(field: &Field, value: u16) -> (bool, Vec<u8>) {
    let number = |number: u64| (false, number.to_le_bytes().to_vec());
    let plain = u64::from(value);
    match field.name {
        "bfn" | "dfn" | "aperture_first" | "aperture_last" => number(batch::bus_frame(value)),
        "gfn" => number(guest_frame(value)),
        "page" => number(match value >> 14 {
            0 | 1 => guest_frame(value),
            2 => LIST + u64::from(value & 0x3ff) * 8,
            _ => super::layout::grant(value),
        }),
        "ops" | "entries" | "records" | "arg" => {
            let places = [ELEMENTS, LIST, ANSWERS, INNER, ARGUMENT, 16 * 4096 - 64, 1 << 30, 0];
            number(places[usize::from(value >> 13)] + u64::from(value & 0x7f) * 8)
        }
        "nr" | "nr_ops" | "nr_pages" | "nr_done" | "done" | "mapped" | "unmapped"
        | "nr_entries" | "nr_records" => {
            let delta = i64::from((value & 0xff) as i8);
            if value >> 15 == 0 {
                number(batch::pages(value).into())
            } else {
                (true, delta.to_le_bytes().to_vec())
            }
        }
        "ctx_no" | "ctx_id" | "mode" => number(plain & 7),
        "domid" | "owner" => {
            let domains = [DomId::SELF, DomId(0), DomId(1), DomId(7)];
            number(domains[usize::from(value & 3)].0.into())
        }
        "op" => number(plain % 9),
        "subop" => number(CALLS[usize::from(value) % CALLS.len()].0.into()),
        "size" | "elem_size" | "pgsize" => {
            number([32, 40, 56, 4096, 8, 0, 48, plain][usize::from(value & 7)])
        }
        "dev" => (false, DEVICES[usize::from(value & 3)].as_bytes().to_vec()),
        "device" => (false, DeviceHandle::pci(DEVICES[usize::from(value & 3)]).as_bytes().to_vec()),
        _ => number(plain),
    }
}
