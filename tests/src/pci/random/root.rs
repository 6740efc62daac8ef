//! Root buses: root ports, integrated endpoints, host bridges, conventional bridges.

use super::Maker;
use crate::pci::{Kind, Name};

/// A devfn on a bus.
pub(super) const fn at(bus: u8, slot: u8, function: u8) -> Name {
    Name { bus, devfn: slot << 3 | function }
}

impl Maker {
    /// Root buses until there are enough functions.
    pub(super) fn root_complex(&mut self) {
        for number in 0..=self.between(0, 2) {
            if number > 0 {
                // Host bridges have ranges of their own.
                self.next_bus = self.next_bus.next_multiple_of(16);
            }
            let bus = self.take_bus();
            self.root_buses.push(bus);
            let share = if self.one_of_100(50) { 31 } else { 8 };
            for slot in 0..share {
                if self.left == 0 || self.next_bus >= super::MOST_BUSES {
                    return;
                }
                if self.one_of_100(70) {
                    self.root_slot(bus, slot);
                }
            }
            if self.one_of_100(30) {
                self.chipset_bridge(bus);
            }
        }
    }

    fn root_slot(&mut self, bus: u8, slot: u8) {
        if self.one_of_100(35) {
            return self.root_device(bus, slot);
        }
        let name = at(bus, slot, 0);
        match self.chance.below(10) {
            0 => self.host_bridge(name),
            1 => _ = self.add(name, Kind::RootComplexEndpoint),
            2 => _ = self.add(name, Kind::Conventional),
            3 => self.bridge(name, Kind::Conventional, |m, bus| m.conventional_bus(bus, 1)),
            4 => self.bridge(name, Kind::PciToPcie, |m, bus| m.link(bus, 1)),
            _ => self.bridge(name, Kind::RootPort, |m, bus| m.link(bus, 1)),
        }
    }

    /// A slot with several functions, of any kinds.
    fn root_device(&mut self, bus: u8, slot: u8) {
        let first = self.functions.len();
        let ports_only = self.one_of_100(50);
        for function in 0..=self.between(1, 5) {
            let name = at(bus, slot, function);
            if function == 0 && self.one_of_100(25) {
                self.host_bridge(name);
            } else if function > 0 && self.one_of_100(15) {
                continue;
            } else if ports_only {
                self.bridge(name, Kind::RootPort, |m, bus| m.link(bus, 1));
            } else {
                self.root_function(name);
            }
        }
        self.set_header_bits(first, |name| name.bus == bus && name.slot() == slot);
    }

    fn root_function(&mut self, name: Name) {
        match self.chance.below(12) {
            0 => self.bridge(name, Kind::RootPort, |m, bus| m.link(bus, 1)),
            1 => self.bridge(name, Kind::Conventional, |m, bus| m.conventional_bus(bus, 1)),
            2 => _ = self.add(name, Kind::EventCollector),
            3 => _ = self.add(name, Kind::Conventional),
            _ => {
                let phantom = if self.one_of_100(8) { self.between(1, 3) } else { 0 };
                self.add(name, Kind::RootComplexEndpoint).phantom = phantom;
            }
        }
    }

    fn host_bridge(&mut self, name: Name) {
        let function = self.add(name, Kind::Conventional);
        (function.class, function.vendor, function.device) = (0x06_0000, 0x1022, 0x1632);
    }

    /// The function that says whether Intel's chipset ports can isolate.
    fn chipset_bridge(&mut self, bus: u8) {
        let enabled = self.between(0, 1);
        let function = self.add(at(bus, 31, 0), Kind::Conventional);
        function.class = 0x06_0100;
        function.bytes.insert(0xf0, enabled);
    }

    /// Bit 7 of the header type of the functions from the `first` on that `belong` to one device;
    /// not all devices set it in all functions.
    pub(super) fn set_header_bits(&mut self, first: usize, belong: impl Fn(Name) -> bool) {
        let in_all = self.one_of_100(70);
        for function in &mut self.functions[first..] {
            if belong(function.name) {
                function.multifunction = Some(in_all || function.name.devfn & 7 == 0);
            }
        }
    }
}
