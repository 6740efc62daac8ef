//! The ids that requests carry: what has to be programmed together, and moved together.

use pviommu_abi::PciDevice;

use super::{Function, Kind, Node, Topology, groups::at, quirks};
use crate::platform::SourceId;

impl Topology<'_> {
    /// Tells `each` the ids that requests of this function may carry, its own first; some perhaps more than once.
    ///
    /// They are its own number; those that its maker lets it use, or that its phantom functions have (PCIe 6.0,
    /// section 2.2.6.2); those that bridges above put in place of it (PCI Express to PCI/PCI-X Bridge
    /// Specification 1.0, section 2.3); and those that firmware tells.
    pub fn ids_of(&self, address: PciDevice, each: &mut dyn FnMut(SourceId)) {
        let Some(node) = self.node(address) else { return };
        match node.facts.requests_as.filter(|sender| *sender != address) {
            // One step: who sends for others sends for itself.
            Some(sender) => {
                if let Some(sender) = self.node(sender) {
                    self.own_ids(sender, each);
                }
            }
            None => self.own_ids(node, each),
        }
    }

    fn own_ids(&self, node: &Node, each: &mut dyn FnMut(SourceId)) {
        let function = &node.facts;
        let address = function.address;
        each(SourceId(address));
        for devfn in quirks::aliases(function).iter().chain(quirks::phantoms(function).iter()) {
            each(SourceId(PciDevice { devfn, ..address }));
        }
        let told = self.firmware().aliases.iter().filter(|alias| alias.function == address);
        told.for_each(|alias| each(alias.id));
        let mut above = at(self.nodes(), node.above);
        while let Some(bridge) = above {
            if quirks::is_translation_root(&bridge.facts.identity) {
                return;
            }
            above = at(self.nodes(), bridge.above);
            taken_over_by(&bridge.facts, above.map(|above| &above.facts)).for_each(&mut *each);
        }
    }

    /// The functions that have to move together with this one, itself among them: requests of all of them can
    /// carry one id. Bridges that take requests over are among them.
    pub fn moving_with(&self, address: PciDevice) -> impl Iterator<Item = &Function> {
        let first = self.moves_with(address);
        self.functions()
            .filter(move |function| first.is_some() && self.moves_with(function.address) == first)
    }

    /// Writes the ids of all that move together with this function into `room`, in ascending order, each once,
    /// and returns them; `None` if there is no room for all. There are never more than 256 for a bus.
    pub fn ids_moving_with<'r>(
        &self,
        address: PciDevice,
        room: &'r mut [SourceId],
    ) -> Option<&'r [SourceId]> {
        let mut count = 0usize;
        let mut add = |id: SourceId| {
            let known = room.get(..count.min(room.len())).unwrap_or_default();
            let place = known.partition_point(|known| known.0.sbdf() < id.0.sbdf());
            if known.get(place) == Some(&id) {
                return;
            }
            count = count.saturating_add(1);
            let mut carried = id;
            for place in room.get_mut(place..count).unwrap_or_default() {
                core::mem::swap(place, &mut carried);
            }
        };
        self.moving_with(address).for_each(|function| self.ids_of(function.address, &mut add));
        let room: &'r [SourceId] = room;
        room.get(..count)
    }
}

/// The ids that a bridge may put in place of that of a request from below.
pub(super) fn taken_over_by(
    bridge: &Function,
    above: Option<&Function>,
) -> impl Iterator<Item = SourceId> {
    let hidden = quirks::hides_pcie(&bridge.identity)
        && above.is_some_and(|up| up.kind.is_pcie() && up.kind != Kind::PcieToPciBridge);
    let (own, of_bus) = match bridge.kind {
        Kind::RootPort | Kind::UpstreamPort | Kind::DownstreamPort => (false, false),
        Kind::PcieToPciBridge => (false, true),
        Kind::Conventional if hidden => (false, true),
        Kind::Unknown => (true, true),
        _ => (true, false),
    };
    let bus = bridge.secondary().filter(|_| of_bus);
    let first = bus.map(|bus| PciDevice { bus, devfn: 0, ..bridge.address });
    own.then_some(bridge.address).into_iter().chain(first).map(SourceId)
}
