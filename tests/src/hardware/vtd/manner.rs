//! How a unit behaves, if not as it should.

/// When waits of the queue are done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Waits {
    /// As soon as they are fetched.
    #[default]
    AtOnce,
    /// When the head register was read so many times more.
    After(u32),
    /// Never.
    Never,
}

/// How a unit behaves.
#[derive(Clone, Copy, Default, Debug)]
pub struct Manner {
    /// Nobody is there any more: all registers read all ones.
    pub absent: bool,
    /// Bits of the global status that do not change, whatever is commanded.
    pub deaf: u32,
    /// How often the global status is read before a command shows in it.
    pub slow: u32,
    /// Waits of the queue.
    pub waits: Waits,
    /// The queue stands still: nothing is fetched.
    pub stuck: bool,
    /// It does not take descriptors of which this says true.
    pub refuses: Option<fn([u64; 2]) -> bool>,
    /// So many waits are dropped, each with a time-out error.
    pub time_outs: u32,
    /// Registers do not finish an invalidation.
    pub registers_hang: bool,
    /// Protected memory stays protected.
    pub protects_for_ever: bool,
}
