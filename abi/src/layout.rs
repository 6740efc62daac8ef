//! The ABI as data: every structure, field and constant, with its text.
//!
//! The tables are made by the same declarations that make the Rust items. The C header is printed
//! from them (`examples/gen_header.rs`), and the layout a C compiler gives that header is compared
//! with them (`examples/layout.rs`, `check-header.sh`). They are useful to anything else that shows
//! or builds raw arguments.

/// One structure.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The Rust name, such as `MapPages`.
    pub name: &'static str,
    /// The C tag without its prefix, such as `map_pages`.
    pub c_name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
    /// The documentation, line by line, in Markdown.
    pub doc: &'static [&'static str],
    /// The fields in order of their offsets, padding included.
    pub fields: &'static [Field],
}

/// One field of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name, the same in Rust and C.
    pub name: &'static str,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// The type in C; of an element if the field is an array.
    pub c_type: &'static str,
    /// How many elements, if the field is an array.
    pub array_len: Option<usize>,
    /// The documentation, line by line, in Markdown.
    pub doc: &'static [&'static str],
}

/// Constants that belong together: the values of one number, the bits of one flag word.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The Rust type; empty for plain constants.
    pub name: &'static str,
    /// What the C names carry after `PVIOMMU_`.
    pub c_prefix: &'static str,
    /// The documentation, line by line, in Markdown.
    pub doc: &'static [&'static str],
    /// The constants, in order of declaration.
    pub constants: &'static [Constant],
}

/// One constant.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// The Rust name.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// The value as C should read it: as it is written in Rust, and signed for error codes, which
    /// are negated.
    pub c_value: &'static str,
    /// The documentation, line by line, in Markdown.
    pub doc: &'static [&'static str],
}

/// The C spelling of a type that can be a field.
pub trait CType {
    /// The type in C; of an element for an array.
    const C_TYPE: &'static str;
    /// How many elements, for an array.
    const ARRAY_LEN: Option<usize> = None;
}

macro_rules! c_types {
    ($( $ty:ty => $c:literal, )+) => { $(
        impl CType for $ty {
            const C_TYPE: &'static str = $c;
        }
    )+ };
}

c_types! {
    u8 => "uint8_t",
    u16 => "uint16_t",
    u32 => "uint32_t",
    u64 => "uint64_t",
    i32 => "int32_t",
}

impl<const N: usize> CType for [u8; N] {
    const C_TYPE: &'static str = u8::C_TYPE;
    const ARRAY_LEN: Option<usize> = Some(N);
}

/// Every structure, each after those it contains.
pub fn structs() -> impl Iterator<Item = &'static Layout> {
    [
        crate::domain::LAYOUTS,
        crate::v7::context::LAYOUTS,
        crate::v7::mapping::LAYOUTS,
        crate::v7::reserved::LAYOUTS,
        crate::ext::device::LAYOUTS,
        crate::ext::batch::LAYOUTS,
        crate::ext::context::LAYOUTS,
        crate::ext::lookup::LAYOUTS,
        crate::ext::fault::LAYOUTS,
        crate::ext::limits::LAYOUTS,
        crate::companion::LAYOUTS,
    ]
    .into_iter()
    .flatten()
}

/// Every group of constants.
pub fn groups() -> impl Iterator<Item = &'static Group> {
    [
        crate::number::CONSTANTS,
        crate::number::ENUMS,
        crate::errno::ENUMS,
        crate::frame::CONSTANTS,
        crate::domain::ENUMS,
        crate::domain::CONSTANTS,
        crate::flags::FLAGS,
        crate::ext::FLAGS,
        crate::ext::ENUMS,
        crate::ext::device::ENUMS,
        crate::ext::device::FLAGS,
        crate::ext::batch::ENUMS,
        crate::ext::batch::FLAGS,
        crate::ext::context::ENUMS,
        crate::ext::context::FLAGS,
        crate::ext::lookup::ENUMS,
        crate::ext::lookup::FLAGS,
        crate::ext::fault::ENUMS,
        crate::ext::fault::FLAGS,
        crate::ext::limits::FLAGS,
        crate::companion::CONSTANTS,
    ]
    .into_iter()
    .flatten()
}
