//! Which formats there are.

/// A page-table format. Chosen once for a machine, and dispatched on once a call, never once a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatKind {
    /// VT-d second stage: [`VtdSecondStage`](super::VtdSecondStage).
    VtdSecondStage,
    /// AMD v1: [`AmdV1`](super::AmdV1).
    AmdV1,
}

/// Runs `$body` with `$format` standing for the type of the format `$kind`. The only place that
/// lists them.
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
pub(crate) use with_format;
