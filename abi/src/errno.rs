//! Error codes a guest can see.
//!
//! The values are Xen's (`public/errno.h`), positive here and negated in the return register. Two
//! of Xen's codes are missing on purpose: `EINTR` and `ERESTART` steer the hypervisor's own
//! continuations. No [`Errno`] can hold them, so no status built from one can leak them.

use core::fmt;

use crate::layout::{Constant, Group};

/// An error code: positive, and one of the constants below.
///
/// ```
/// use pviommu_abi::Errno;
///
/// assert_eq!(Errno::EINVAL.to_ret(), -22);
/// assert_eq!(Errno::from_ret(-22), Some(Errno::EINVAL));
/// assert_eq!(Errno::from_ret(-85), None, "ERESTART never reaches a guest");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

macro_rules! errno {
    ($( $NAME:ident = $value:literal, $doc:literal; )+) => {
        impl Errno {
            $( #[doc = $doc] pub const $NAME: Self = Self($value); )+

            /// Every code, in ascending order.
            pub const ALL: &'static [Self] = &[$( Self::$NAME ),+];

            /// The name as C spells it, such as `EINVAL`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$NAME => stringify!($NAME), )+
                    // Unreachable: the field is private and only the constants fill it.
                    _ => "E?",
                }
            }

            /// What the code means here.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $( Self::$NAME => $doc, )+
                    _ => "",
                }
            }
        }

        /// The codes, for the C header.
        pub(crate) const ENUMS: &[Group] = &[Group {
            name: "Errno",
            c_prefix: "",
            doc: &["Error codes (Xen public/errno.h): positive here, returned negated."],
            constants: &[$(
                Constant {
                    name: stringify!($NAME),
                    value: $value,
                    c_value: stringify!($value),
                    doc: &[$doc],
                },
            )+],
        }];
    };
}

errno! {
    EPERM = 1, "Not permitted: the page, the domain or the missing opt-in forbids it.";
    ENOENT = 2, "No such context, domain, page or mapping.";
    ESRCH = 3, "No such domain.";
    EIO = 5, "The hardware did not answer; what the call touched stays out of use.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "More was asked for than policy allows.";
    EBADF = 9, "The device has been marked broken.";
    EAGAIN = 11, "Not now: the page is paged out or shared; ask again.";
    ENOMEM = 12, "No memory, or the memory granted at init is used up.";
    EACCES = 13, "Not in this state: done before, or the hypervisor maintains this map.";
    EFAULT = 14, "A guest pointer is bad.";
    EBUSY = 16, "Devices are attached, or the group or the frame is in use.";
    EEXIST = 17, "It exists already.";
    EXDEV = 18, "The device cannot be assigned: the domain's state or the device's unit does not allow it.";
    ENODEV = 19, "No such device, or no IOMMU for this domain.";
    EINVAL = 22, "An argument is not valid.";
    ENOSPC = 28, "No free context, no hardware tag left, or as many pages are held as may be.";
    EROFS = 30, "The page can only be read.";
    EDOM = 33, "A number is outside the domain of the operation.";
    ERANGE = 34, "A number is out of range.";
    EDEADLK = 35, "The operation would wait for itself.";
    ENOSYS = 38, "The hypervisor does not have this hypercall.";
    ENODATA = 61, "A buffer is shorter than the operation needs.";
    ETIME = 62, "Time is over.";
    EBADMSG = 74, "The message cannot be understood.";
    EOVERFLOW = 75, "A value does not fit its field.";
    EILSEQ = 84, "An illegal sequence.";
    EMSGSIZE = 90, "The message is too long.";
    EOPNOTSUPP = 95, "The subop, or the option asked for, is not supported.";
    EADDRINUSE = 98, "The BFN is mapped already.";
    EADDRNOTAVAIL = 99, "The BFN is reserved.";
    ENOBUFS = 105, "The buffer is too small; the count field holds the size needed.";
    EISCONN = 106, "Connected already.";
    ENOTCONN = 107, "Not connected.";
    ETIMEDOUT = 110, "It took too long.";
}

impl Errno {
    /// The positive number.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The value for the return register: negative.
    #[must_use]
    pub fn to_ret(self) -> i64 {
        i64::from(self.to_status())
    }

    /// The value for a 32-bit status field: negative.
    #[must_use]
    pub const fn to_status(self) -> i32 {
        // Cannot overflow, for the number is positive; `-` would have the compiler doubt it.
        self.0.wrapping_neg()
    }

    /// Reads a return value. `None` for zero, for positive values, and for negative values that are
    /// not in the table: a guest must take those for an answer it cannot trust.
    #[must_use]
    pub fn from_ret(ret: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|errno| errno.to_ret() == ret)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Errno {}
