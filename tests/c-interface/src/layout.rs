//! How C lays out the structures of `pviommu.h`.
#![expect(unsafe_code, reason = "the list is C's")]

use std::ffi::{CStr, c_char};

/// `struct layout` of `layout.c`.
#[repr(C)]
struct Entry {
    kind: *const c_char,
    field: *const c_char,
    offset: usize,
    size: usize,
}

unsafe extern "C" {
    static layouts: Entry;
}

/// A field of a structure, or a structure, whose field has no name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The name of the structure in C.
    pub kind: String,
    /// The field.
    pub field: String,
    /// Where it begins.
    pub offset: usize,
    /// How large it is.
    pub size: usize,
}

fn text(literal: *const c_char) -> String {
    // SAFETY: all texts of the list are literals.
    unsafe { CStr::from_ptr(literal) }.to_str().unwrap().to_owned()
}

/// All of them, as the compiler of C has them.
#[must_use]
pub fn of_c() -> Vec<Layout> {
    let mut at = &raw const layouts;
    let entries = std::iter::from_fn(move || {
        // SAFETY: the list goes on until an entry without a name.
        let entry = unsafe { &*at };
        at = at.wrapping_add(1);
        (!entry.kind.is_null()).then_some(entry)
    });
    let told = entries.map(|entry| Layout {
        kind: text(entry.kind),
        field: text(entry.field),
        offset: entry.offset,
        size: entry.size,
    });
    told.collect()
}
