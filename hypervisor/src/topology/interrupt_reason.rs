//! Why interrupts are isolated or not, in an operator's words.

use core::fmt;

/// Why the interrupts that a function can raise are its own, or are not. What is worse is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum InterruptReason {
    /// Each controller looks at the function's id.
    Isolated,
    /// Its unit remaps interrupts, but the entries do not say for which function they are.
    SourceNotChecked,
    /// The host bridge takes writes from any function below it.
    HostBridge,
    /// A doorbell takes writes from any function.
    SharedDoorbell,
    /// The function itself chooses the id that is checked.
    PreIts,
    /// Nothing stands between it and the processors' interrupts.
    NotRemapped,
    /// There is a controller that nothing is known of.
    UnknownController,
    /// No controller is listed, so nothing is known.
    NothingListed,
    /// It is behind no unit.
    NoUnit,
}

impl InterruptReason {
    /// That of a group whose members have these: the worst of them. A group without members is not
    /// isolated.
    #[must_use]
    pub fn of_group(members: impl Iterator<Item = Self>) -> Self {
        members.max().unwrap_or(Self::NothingListed)
    }
}

impl fmt::Display for InterruptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Isolated => "it can raise no interrupts but its own",
            Self::SourceNotChecked => {
                "interrupts are remapped without a look at who raises them, so it can raise those of \
                 other devices"
            }
            Self::HostBridge => {
                "the host bridge takes interrupts before the IOMMU and from any device below it, so it \
                 can raise those of others"
            }
            Self::SharedDoorbell => {
                "the interrupt controller does not check which device writes, so it can raise \
                 interrupts of others"
            }
            Self::PreIts => {
                "the interrupt controller takes the device's id from the address, so it can raise \
                 interrupts in the name of others"
            }
            Self::NotRemapped => {
                "interrupts are not remapped (switched off in the firmware, or not there), so it can \
                 raise any interrupt of the machine"
            }
            Self::UnknownController => {
                "it is not known what the interrupt controller takes from a device"
            }
            Self::NothingListed => "it is not known which interrupt controllers the machine has",
            Self::NoUnit => {
                "it is behind no IOMMU, so nothing keeps it from memory or from any interrupt \
                 controller"
            }
        })
    }
}
