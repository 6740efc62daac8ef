//! What a unit was told, and what it should not have been.

/// Something that a unit has done because it was told to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A bit of the global command was switched on.
    On(u32),
    /// A bit of the global command was switched off.
    Off(u32),
    /// Something was done once.
    Once(u32),
    /// A descriptor was carried out: all of it but its waits.
    Descriptor([u64; 2]),
    /// All context entries were forgotten, by a register.
    ForgotContexts,
    /// All translations were forgotten, by a register.
    ForgotTranslations,
    /// Protected memory was given free.
    Unprotected,
    /// It has sent its interrupt: address and data.
    Message(u64, u32),
}

/// Something that no driver may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// More than one thing in a global command: as it was written.
    SeveralAtOnce(u32),
    /// A global command before the last one is done.
    NotWaitedFor(u32),
    /// An access to a register that is not there, or is not as wide.
    NoRegister(usize),
    /// A write of reserved bits: offset and value.
    Reserved(usize, u64),
    /// A request went through untranslated after translation was on.
    Window,
    /// Translation, or remapping, without a table or with what is cached of another.
    NotReady(u32),
    /// The mode of the root table was changed while translation is on.
    OtherMode,
    /// An invalidation by registers while the queue is on.
    RegisterWhileQueue,
    /// The queue was moved while it is on, or begins elsewhere than at its first entry.
    QueueMoved,
    /// The queue was switched off before it was done, although it was not stopped.
    QueueCutOff,
    /// A descriptor that makes no sense.
    IllegalDescriptor([u64; 2]),
    /// A root or context entry that makes no sense, of this source.
    IllegalEntry(u16),
    /// The queue, a table or a status word is where there is no memory.
    NoMemory(u64),
    /// Protected memory was given free before translation was on.
    UnprotectedEarly,
}
