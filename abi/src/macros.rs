//! The four declarations this crate is written in.
//!
//! Each defines ordinary Rust items and, from the same tokens, the rows of [`crate::layout`] that
//! the C header is printed from. A field or a constant therefore cannot be in Rust and missing in
//! C.

/// Declares structures with the offset of every field written down, and checked by the compiler.
macro_rules! wire {
    ($(
        $(#[doc = $doc:literal])+
        struct $Name:ident as $c_name:literal,
            size $size:literal, align $align:literal $(, $Default:ident)?
        {
            $(
                $(#[doc = $field_doc:literal])+
                $offset:literal => $field:ident: $ty:ty,
            )+
        }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[repr(C)]
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq, $($Default,)?
                zerocopy::FromBytes, zerocopy::IntoBytes,
                zerocopy::Immutable, zerocopy::KnownLayout,
            )]
            #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
            pub struct $Name {
                $( $(#[doc = $field_doc])+ pub $field: $ty, )+
            }

            const _: () = {
                assert!(size_of::<$Name>() == $size);
                assert!(align_of::<$Name>() == $align);
                $( assert!(core::mem::offset_of!($Name, $field) == $offset); )+
            };

            impl $crate::layout::CType for $Name {
                const C_TYPE: &'static str = concat!("struct pviommu_", $c_name);
            }
        )+

        /// Every structure of this file, for the C header.
        pub(crate) const LAYOUTS: &[$crate::layout::Layout] = &[$(
            $crate::layout::Layout {
                name: stringify!($Name),
                c_name: $c_name,
                size: size_of::<$Name>(),
                align: align_of::<$Name>(),
                doc: &[$($doc),+],
                fields: &[$(
                    $crate::layout::Field {
                        name: stringify!($field),
                        offset: core::mem::offset_of!($Name, $field),
                        size: size_of::<$ty>(),
                        c_type: <$ty as $crate::layout::CType>::C_TYPE,
                        array_len: <$ty as $crate::layout::CType>::ARRAY_LEN,
                        doc: &[$($field_doc),+],
                    },
                )+],
            },
        )+];
    };
}

/// Declares numbers that the other side chooses: open newtypes with constants, never Rust enums,
/// because any value of the integer can arrive.
macro_rules! open_enum {
    ($(
        $(#[doc = $doc:literal])+
        struct $Name:ident($int:ty) as $prefix:literal $(, $Default:ident)? {
            $(
                $(#[doc = $value_doc:literal])+
                $VALUE:ident = $value:literal,
            )+
        }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[repr(transparent)]
            #[derive(
                Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, $($Default,)?
                zerocopy::FromBytes, zerocopy::IntoBytes,
                zerocopy::Immutable, zerocopy::KnownLayout,
            )]
            #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
            pub struct $Name(pub $int);

            impl $Name {
                $( $(#[doc = $value_doc])+ pub const $VALUE: Self = Self($value); )+

                /// The name of a value this crate knows, in upper case; `None` for any other.
                #[must_use]
                pub const fn name(self) -> Option<&'static str> {
                    match self {
                        $( Self::$VALUE => Some(stringify!($VALUE)), )+
                        _ => None,
                    }
                }
            }

            impl core::fmt::Debug for $Name {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    match self.name() {
                        Some(name) => f.write_str(name),
                        None => write!(f, concat!(stringify!($Name), "({:#x})"), self.0),
                    }
                }
            }

            impl core::fmt::Display for $Name {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    core::fmt::Debug::fmt(self, f)
                }
            }

            impl $crate::layout::CType for $Name {
                const C_TYPE: &'static str = <$int as $crate::layout::CType>::C_TYPE;
            }
        )+

        /// Every open number of this file, for the C header.
        pub(crate) const ENUMS: &[$crate::layout::Group] = &[$(
            $crate::layout::Group {
                name: stringify!($Name),
                c_prefix: $prefix,
                doc: &[$($doc),+],
                constants: &[$(
                    $crate::layout::Constant {
                        name: stringify!($VALUE),
                        // Lossless: every open number here is unsigned and at most 32 bits wide,
                        // and `From` cannot be called in a constant.
                        value: $value as u64,
                        c_value: concat!(stringify!($value), "U"),
                        doc: &[$($value_doc),+],
                    },
                )+],
            },
        )+];
    };
}

/// Declares flag words. Unknown bits survive in the type (`from_bits_retain`, and every read from
/// bytes), so that policy can see and refuse or count them; `from_bits` refuses them.
macro_rules! flags {
    ($(
        $(#[doc = $doc:literal])+
        struct $Name:ident($int:ty) as $prefix:literal {
            $(
                $(#[doc = $value_doc:literal])+
                $VALUE:ident = 1 << $bit:literal,
            )*
        }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[repr(transparent)]
            #[derive(
                Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
                zerocopy::FromBytes, zerocopy::IntoBytes,
                zerocopy::Immutable, zerocopy::KnownLayout,
            )]
            #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
            pub struct $Name($int);

            bitflags::bitflags! {
                impl $Name: $int {
                    $( $(#[doc = $value_doc])+ const $VALUE = 1 << $bit; )*
                }
            }

            impl $Name {
                /// The bits that have no meaning in this version of the ABI.
                #[must_use]
                pub const fn unknown_bits(self) -> $int {
                    self.bits() & !Self::all().bits()
                }
            }

            impl core::fmt::Debug for $Name {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    f.write_str(concat!(stringify!($Name), "("))?;
                    core::fmt::Display::fmt(self, f)?;
                    f.write_str(")")
                }
            }

            impl core::fmt::Display for $Name {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    if self.is_empty() {
                        return f.write_str("-");
                    }
                    bitflags::parser::to_writer(self, f)
                }
            }

            impl $crate::layout::CType for $Name {
                const C_TYPE: &'static str = <$int as $crate::layout::CType>::C_TYPE;
            }
        )+

        /// Every flag word of this file, for the C header.
        pub(crate) const FLAGS: &[$crate::layout::Group] = &[$(
            $crate::layout::Group {
                name: stringify!($Name),
                c_prefix: $prefix,
                doc: &[$($doc),+],
                constants: &[$(
                    $crate::layout::Constant {
                        name: stringify!($VALUE),
                        value: 1 << $bit,
                        c_value: concat!("(1U << ", $bit, ")"),
                        doc: &[$($value_doc),+],
                    },
                )*],
            },
        )+];
    };
}

/// Declares plain constants.
macro_rules! constants {
    (
        $group:literal as $prefix:literal;
        $(
            $(#[doc = $doc:literal])+
            $NAME:ident: $ty:ty = $value:literal;
        )+
    ) => {
        $( $(#[doc = $doc])+ pub const $NAME: $ty = $value; )+

        /// Every plain constant of this file, for the C header.
        pub(crate) const CONSTANTS: &[$crate::layout::Group] = &[
            $crate::layout::Group {
                name: "",
                c_prefix: $prefix,
                doc: &[$group],
                constants: &[$(
                    $crate::layout::Constant {
                        name: stringify!($NAME),
                        value: $value as u64,
                        c_value: concat!(stringify!($value), "U"),
                        doc: &[$($doc),+],
                    },
                )+],
            },
        ];
    };
}
