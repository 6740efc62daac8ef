//! What a queue asks of the unit that reads it.

use crate::{platform::UnitError, unit::Command};

/// The unit's side of its queue.
///
/// Methods are called with the queue's lock held, [`Registers::head`] without it, too. They must not
/// submit anything.
pub trait Registers {
    /// The entry the unit fetches next: the head register, in entries.
    ///
    /// # Errors
    /// [`UnitError`]: the unit reports that it has stopped fetching (VT-d: FSTS.IQE, ITE and ICE that were
    /// not recovered; AMD: the status register says that the command buffer does not run).
    fn head(&self) -> Result<usize, UnitError>;

    /// Sets the tail register: entries before `entry` may be fetched. They were stored before.
    fn set_tail(&self, entry: usize);

    /// The command that stores `cookie` to status word number `status`, once every command before it is
    /// done and what it waits for has drained (VT-d: invalidation wait with status write and fence; AMD:
    /// COMPLETION_WAIT with S). A store of 32 bits goes to the low half.
    fn wait_command(&self, status: usize, cookie: u32) -> Command;

    /// A number that changes whenever the unit drops waits that it has fetched, and goes on (VT-d: after
    /// FSTS.ITE, section 6.5.2.11). Whoever waits then submits its commands again.
    fn dropped_waits(&self) -> u64 {
        0
    }
}
