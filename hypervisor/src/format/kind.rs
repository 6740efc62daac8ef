//! Which formats there are, and which of them are built in.

#[cfg(all(feature = "amdvi", not(feature = "vtd")))]
pub(crate) use super::AmdV1 as Only;
#[cfg(all(feature = "vtd", not(feature = "amdvi")))]
pub(crate) use super::VtdSecondStage as Only;

/// A page-table format. Chosen once for a machine, and dispatched on once a call, never once a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatKind {
    /// VT-d second stage: [`VtdSecondStage`](super::VtdSecondStage).
    VtdSecondStage,
    /// AMD v1: [`AmdV1`](super::AmdV1).
    AmdV1,
}

impl FormatKind {
    /// True if this build has it, by its feature; a machine whose tables are of another is refused.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::VtdSecondStage => cfg!(feature = "vtd"),
            Self::AmdV1 => cfg!(feature = "amdvi"),
        }
    }
}

/// Runs `$body` with `$format` standing for the type of the format `$kind`. The only place that
/// lists them.
#[cfg(all(feature = "vtd", feature = "amdvi"))]
macro_rules! with_format {
    ($kind:expr, $format:ident => $body:expr) => {
        match $kind {
            $crate::format::FormatKind::VtdSecondStage => {
                type $format = $crate::format::VtdSecondStage;
                $body
            }
            $crate::format::FormatKind::AmdV1 => {
                type $format = $crate::format::AmdV1;
                $body
            }
        }
    };
}

/// Runs `$body` with `$format` standing for the type of the only format that is built in: a machine
/// of another was refused.
#[cfg(not(all(feature = "vtd", feature = "amdvi")))]
macro_rules! with_format {
    ($kind:expr, $format:ident => $body:expr) => {{
        let _: $crate::format::FormatKind = $kind;
        type $format = $crate::format::Only;
        $body
    }};
}
pub(crate) use with_format;
