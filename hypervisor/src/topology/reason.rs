//! Why two functions are in one group.

/// What ties two functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// They are functions of one device, and the second may pass requests on inside it.
    SameDevice,
    /// The first is on the bus below the second, a bridge to a conventional bus: requests there
    /// reach everything on it, and carry one id.
    ConventionalBus,
    /// The first is below the second, a root port that may send requests back down.
    OpenPort,
    /// The first is inside or below the switch of which the second is the upstream port, and a
    /// function inside of it lets requests through to its neighbours.
    OpenSwitch,
    /// The first is below the second, a bridge that is tied to others beside it.
    BelowTied,
    /// Requests of both may carry one id.
    SharedId,
    /// Firmware says that requests of the first carry the id of the second, or both that of a third.
    FirmwareAlias,
    /// Requests of the first are all sent in the name of the second.
    InTheNameOf,
    /// Firmware has both use the same memory.
    SharedDirectRange,
    /// Registers of both are in one page, so who may touch one may touch the other.
    SharedRegisterPage,
    /// Linux: a bridge above takes its requests over.
    LinuxAlias,
    /// Linux: a port above does not isolate.
    LinuxPath,
    /// Linux: it, or the port it was judged by, shares ids with the second, on its bus.
    LinuxSameBus,
    /// Linux: it, or the port it was judged by, is a function of the same slot that does not isolate
    /// either.
    LinuxSlot,
}
