//! The reserved ranges of a function, from what firmware, interrupt controllers and bridges say.

use core::fmt;

use pviommu_abi::PciDevice;

use super::{Function, HostBuses, MsiPlatform, RangeList, TooManyRanges, Window, frames_of, merge};
use crate::{
    platform::Access,
    reserved::{Reserved, ReservedKind},
};

/// Memory that a function or its firmware uses: an RMRR of VT-d (4.1, section 8.4), or an IVMD of
/// AMD-Vi.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectRange {
    /// The function. An entry for several is listed once for each.
    pub function: PciDevice,
    /// The bytes, as addresses of the bus and of memory.
    pub bytes: Window,
    /// A driver that takes the function over no longer needs it.
    pub relaxable: bool,
    /// What the function does there.
    pub access: Access,
}

/// A window of memory that a host bridge forwards to the buses below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostWindow {
    /// Who is below it.
    pub buses: HostBuses,
    /// The bytes, as addresses of the bus.
    pub window: Window,
}

/// What is done with the windows of bridges, where DMA can reach another device instead of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PeerToPeer {
    /// No guest may map them.
    #[default]
    Reserved,
    /// They are bus frames as any other. What is mapped there may be hidden by a device, and DMA from
    /// one device to another may be what is wanted.
    Allowed,
}

/// Why a list of regions cannot be used: the embedder's, and nothing a guest can cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionError {
    /// This function's direct range begins before the one that is listed before it.
    DirectNotSorted(PciDevice),
    /// A direct range of this function ends before it begins, or nothing is done there.
    DirectEmpty(PciDevice),
    /// A window for these buses ends before it begins, or the buses do.
    WindowEmpty(HostBuses),
    /// The window for doorbells ends before it begins.
    SoftwareWindowEmpty,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DirectNotSorted(function) => {
                write!(f, "a direct range of {function} begins before the one listed before it")
            }
            Self::DirectEmpty(function) => {
                write!(f, "a direct range of {function} is empty, or allows nothing")
            }
            Self::WindowEmpty(HostBuses { segment, first, last }) => write!(
                f,
                "a window of the host bridge of buses {first:02x}-{last:02x} of segment \
                 {segment:04x} is empty, or its buses are none"
            ),
            Self::SoftwareWindowEmpty => f.write_str("the window for interrupt doorbells is empty"),
        }
    }
}

impl core::error::Error for RegionError {}

/// What a machine reserves for its functions, checked.
#[derive(Clone, Copy, Debug)]
pub struct Regions<'a> {
    direct: &'a [DirectRange],
    host_windows: &'a [HostWindow],
    msi: MsiPlatform<'a>,
    peer_to_peer: PeerToPeer,
}

impl<'a> Regions<'a> {
    /// The regions of a machine. `direct` is in ascending order of where the ranges begin, as in
    /// [`Firmware`](super::Firmware). `host_windows` is all memory windows of all host bridges, in any
    /// order.
    ///
    /// # Errors
    /// The first thing that is wrong with the lists.
    pub fn new(
        direct: &'a [DirectRange],
        host_windows: &'a [HostWindow],
        msi: MsiPlatform<'a>,
        peer_to_peer: PeerToPeer,
    ) -> Result<Self, RegionError> {
        let mut before = 0;
        for range in direct {
            if range.bytes.first < before {
                return Err(RegionError::DirectNotSorted(range.function));
            }
            before = range.bytes.first;
            if frames_of(range.bytes).is_none() || range.access.is_empty() {
                return Err(RegionError::DirectEmpty(range.function));
            }
        }
        for HostWindow { buses, window } in host_windows {
            if frames_of(*window).is_none() || buses.first > buses.last {
                return Err(RegionError::WindowEmpty(*buses));
            }
        }
        if frames_of(msi.software_window).is_none() {
            return Err(RegionError::SoftwareWindowEmpty);
        }
        Ok(Self { direct, host_windows, msi, peer_to_peer })
    }

    /// The interrupt controllers.
    #[must_use]
    pub fn msi(&self) -> &MsiPlatform<'a> {
        &self.msi
    }

    /// Puts the reserved ranges of `function` into `out`, as [`merge`] leaves them and for
    /// [`Device::new`](crate::Device::new): rounded outwards to bus frames.
    ///
    /// `bridges_above` are the bridges between it and the root, the nearest first, each with whether
    /// the bus right below it is *open*: requests there may reach another function without going up.
    /// What the topmost open one forwards never reaches a unit.
    ///
    /// A direct range in a window or a doorbell stays in both; the service refuses such a machine.
    ///
    /// # Errors
    /// [`TooManyRanges`], and then `out` is empty.
    pub fn of<'f>(
        &self,
        function: &Function,
        bridges_above: impl Iterator<Item = (&'f Function, bool)>,
        out: &mut RangeList,
    ) -> Result<(), TooManyRanges> {
        let topmost = bridges_above.filter(|(_, open)| *open).last();
        let below_open = topmost.map(|(bridge, _)| bridge.windows).unwrap_or_default();
        let address = function.address;
        let below_host = self.host_windows.iter().filter(move |it| it.buses.lead_to(address));
        let below_host = below_host.map(|it| it.window);
        let windows = below_open.into_iter().flatten().chain(below_host).filter_map(bridge_window);
        let reserved = self.peer_to_peer == PeerToPeer::Reserved;
        let windows = windows.filter(move |_| reserved);
        // A few for the whole machine.
        let direct = self.direct.iter().filter(move |range| range.function == address);
        let direct = direct.filter_map(direct_range);
        merge(direct.chain(self.msi.judge(function).ranges()).chain(windows), out)
    }
}

fn direct_range(range: &DirectRange) -> Option<Reserved> {
    let kind = if range.relaxable { ReservedKind::DirectRelaxable } else { ReservedKind::Direct };
    Some(Reserved { range: frames_of(range.bytes)?, kind, access: range.access })
}

/// The frames of a bridge's window; `None` if it forwards nothing.
fn bridge_window(window: Window) -> Option<Reserved> {
    let kind = ReservedKind::BridgeWindow;
    Some(Reserved { range: frames_of(window)?, kind, access: Access::empty() })
}
