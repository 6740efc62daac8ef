//! What all allocators are asked for.

/// The first frame that can be handed out, and the last.
pub(crate) const FIRST: u64 = 1;
pub(crate) const LAST: u64 = 0xf_ffff;

/// An allocator of `FIRST..=LAST`.
pub(crate) trait Allocator {
    /// What it wants to have back.
    type Range;

    const NAME: &str;

    /// With nothing taken.
    fn new() -> Self;

    fn take(&mut self, cpu: usize, pages: u64) -> Self::Range;

    fn give(&mut self, cpu: usize, range: Self::Range);

    /// The first frame of a range; `None` if it is none.
    fn first(range: &Self::Range) -> Option<u64>;

    /// Forgets all that is taken.
    fn clear(&mut self)
    where
        Self: Sized,
    {
        *self = Self::new();
    }
}

/// Hands out nothing: what the measuring itself takes.
pub(crate) struct Nothing;

impl Allocator for Nothing {
    type Range = ();

    const NAME: &str = "harness";

    fn new() -> Self {
        Self
    }

    #[inline(never)]
    fn take(&mut self, _cpu: usize, _pages: u64) {}

    #[inline(never)]
    fn give(&mut self, _cpu: usize, (): ()) {}

    fn first((): &()) -> Option<u64> {
        None
    }
}
