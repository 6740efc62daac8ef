//! What is below bridges: links with a device or a switch, and conventional buses.

use super::Maker;
use super::root::at;
use crate::pci::{Kind, Name};

impl Maker {
    /// The bus below a root port, a downstream port or a PCI-to-PCIe bridge.
    pub(super) fn link(&mut self, bus: u8, depth: usize) {
        if self.is_full(depth) {
            return;
        }
        let name = at(bus, 0, 0);
        match self.chance.below(20) {
            0 => {}
            1..=6 => self.switch(bus, depth),
            7 | 8 => self.endpoint_device(bus),
            9 => self.ari_device(bus),
            10 | 11 => self.sr_iov_device(bus),
            12 | 13 => {
                self.bridge(name, Kind::PcieToPci, |m, bus| m.conventional_bus(bus, depth + 1));
            }
            14 => {
                self.bridge(name, Kind::Conventional, |m, bus| m.conventional_bus(bus, depth + 1))
            }
            15 => self.mixed_device(bus, depth),
            _ => self.endpoint(name),
        }
    }

    fn endpoint(&mut self, name: Name) {
        let kind = if self.one_of_100(30) { Kind::LegacyEndpoint } else { Kind::Endpoint };
        let phantom = if self.one_of_100(6) { self.between(1, 3) } else { 0 };
        self.add(name, kind).phantom = phantom;
    }

    fn endpoint_device(&mut self, bus: u8) {
        let first = self.functions.len();
        for function in 0..=self.between(1, 6) {
            if function == 0 || !self.one_of_100(15) {
                self.endpoint(at(bus, 0, function));
            }
        }
        self.set_header_bits(first, |name| name.bus == bus);
    }

    /// Functions above 7, which look like other slots.
    fn ari_device(&mut self, bus: u8) {
        for function in 0..self.between(2, 20) {
            if function == 0 || self.one_of_100(40) {
                self.add(Name { bus, devfn: function }, Kind::Endpoint).ari = true;
            }
        }
        let above = self.functions.iter_mut().rev().find(|f| f.header == 1 && f.buses.is_none());
        if let Some(port) = above {
            port.ari_forwarding = true;
        }
    }

    /// A physical function or two, with virtual ones on this bus or on the next.
    fn sr_iov_device(&mut self, bus: u8) {
        let ari = self.one_of_100(60);
        for function in 0..=self.between(0, 1) {
            self.add(at(bus, 0, function), Kind::Endpoint).ari = ari;
        }
        let other_bus = self.next_bus < super::MOST_BUSES && self.one_of_100(40);
        let (virtual_bus, first) = if other_bus { (self.take_bus(), 0) } else { (bus, 0x80) };
        let stride = self.between(1, 2);
        for number in 0..self.between(1, 4) {
            let name = Name { bus: virtual_bus, devfn: first + number * stride };
            let function = self.add(name, Kind::Endpoint);
            (function.ari, function.virtual_function) = (ari, true);
            function.physical = Some(at(bus, 0, 0));
        }
    }

    /// A switch or a bridge as one function among others.
    fn mixed_device(&mut self, bus: u8, depth: usize) {
        let first = self.functions.len();
        let place = self.between(0, 1);
        for function in 0..=self.between(1, 3) {
            let name = at(bus, 0, function);
            if function != place {
                self.endpoint(name);
            } else if self.one_of_100(60) {
                self.bridge(name, Kind::Upstream, |m, bus| m.internal_bus(bus, depth + 1));
            } else {
                self.bridge(name, Kind::PcieToPci, |m, bus| m.conventional_bus(bus, depth + 1));
            }
        }
        self.set_header_bits(first, |name| name.bus == bus);
    }

    fn switch(&mut self, bus: u8, depth: usize) {
        self.bridge(at(bus, 0, 0), Kind::Upstream, |m, bus| m.internal_bus(bus, depth + 1));
    }

    fn internal_bus(&mut self, bus: u8, depth: usize) {
        let first = self.functions.len();
        let one_device = self.one_of_100(25);
        for number in 0..self.between(1, 5) {
            let name = if one_device { at(bus, 0, number) } else { at(bus, number * 2, 0) };
            match self.chance.below(40) {
                0 => self.endpoint(name),
                1 => {
                    self.bridge(name, Kind::PcieToPci, |m, bus| m.conventional_bus(bus, depth + 1));
                }
                _ => self.bridge(name, Kind::Downstream, |m, bus| m.link(bus, depth + 1)),
            }
        }
        if one_device {
            self.set_header_bits(first, |name| name.bus == bus);
        }
    }

    pub(super) fn conventional_bus(&mut self, bus: u8, depth: usize) {
        for slot in 0..self.between(0, 3) {
            let name = at(bus, slot, 0);
            match self.chance.below(10) {
                0 if !self.is_full(depth) => {
                    self.bridge(name, Kind::Conventional, |m, bus| {
                        m.conventional_bus(bus, depth + 1);
                    });
                }
                1 if !self.is_full(depth) => {
                    self.bridge(name, Kind::PciToPcie, |m, bus| m.link(bus, depth + 1));
                }
                2 => {
                    self.add(name, Kind::Conventional);
                    self.add(at(bus, slot, 1), Kind::Conventional);
                }
                _ => _ = self.add(name, Kind::Conventional),
            }
        }
    }
}
