//! Configuration space of the machine's functions: registers that are written, and what is read from
//! them then.
//!
//! It is laid out from facts. Of what a function is, the tests change access control only.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use pviommu_abi::PciDevice;
use pviommu_hypervisor::topology::{
    Acs, AcsBits, Function, Identity, Kind, RegisterChange, RegisterSpace, Traits, Window,
};

use super::frames::lock;
use crate::pci::{self, Capture, Captured, Name, config};

/// Where the capability of PCI Express is.
const EXPRESS: usize = 0x40;
/// Extended capabilities: where each is, and its number.
const ACS: (usize, u32) = (0x100, 0x000d);
const ARI: (usize, u32) = (0x140, 0x000e);

/// The function does not answer, or has no such register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not answer")
    }
}

/// The configuration space of all functions of a machine.
#[derive(Debug)]
pub struct ConfigSpace {
    functions: Mutex<BTreeMap<u32, Registers>>,
    written: Mutex<Vec<RegisterChange>>,
}

/// That of one function.
#[derive(Debug)]
struct Registers {
    /// What is not in it: the unit, the operator's word.
    told: Function,
    bytes: Vec<u8>,
    answers: bool,
}

impl ConfigSpace {
    /// The space of a machine of these functions.
    #[must_use]
    pub fn new(functions: &[Function]) -> Self {
        let registers = functions.iter().map(|function| {
            let registers = Registers { told: *function, bytes: lay_out(function), answers: true };
            (function.address.sbdf(), registers)
        });
        Self { functions: Mutex::new(registers.collect()), written: Mutex::default() }
    }

    /// What the registers say now, with what they cannot say as it was told, in order.
    ///
    /// # Panics
    /// If they are those of no function.
    #[must_use]
    pub fn read(&self) -> Vec<Function> {
        let functions = lock(&self.functions);
        functions.values().map(|registers| registers.read()).collect()
    }

    /// The same as another reader has it: for [`Fabric`](crate::pci::fabric::Fabric).
    #[must_use]
    pub fn capture(&self) -> Capture {
        let mut capture = Capture::new("read now".to_owned(), 0);
        capture.functions = lock(&self.functions)
            .values()
            .map(|registers| {
                let PciDevice { bus, devfn, .. } = registers.told.address;
                config::decode(Name { bus, devfn }, registers.bytes.clone()).0
            })
            .collect();
        capture
    }

    /// True if requests of `from` to registers of `to` are delivered and no unit sees them.
    #[must_use]
    pub fn reaches(&self, from: PciDevice, to: PciDevice) -> bool {
        let name = |function: PciDevice| Name { bus: function.bus, devfn: function.devfn };
        pci::fabric::Fabric::new(&self.capture()).reaches(name(from), name(to))
    }

    /// Changes a register.
    ///
    /// # Errors
    /// [`NoAnswer`]; then it has not changed.
    pub fn write(&self, change: RegisterChange) -> Result<(), NoAnswer> {
        let RegisterSpace::Config(function) = change.space else { return Err(NoAnswer) };
        let mut functions = lock(&self.functions);
        let registers = functions.get_mut(&function.sbdf()).filter(|it| it.answers);
        let Registers { bytes, .. } = registers.ok_or(NoAnswer)?;
        let at = usize::try_from(change.offset).map_err(|_| NoAnswer)?;
        let register = bytes.get_mut(at..at + usize::from(change.bytes)).ok_or(NoAnswer)?;
        let mut word = [0; 4];
        word[..register.len()].copy_from_slice(register);
        let word = u32::from_le_bytes(word) & !change.clear | change.set;
        register.copy_from_slice(&word.to_le_bytes()[..register.len()]);
        lock(&self.written).push(change);
        Ok(())
    }

    /// Takes what was [written](Self::write).
    pub fn take_written(&self) -> Vec<RegisterChange> {
        std::mem::take(&mut lock(&self.written))
    }

    /// From now on `function` answers, or does not.
    pub fn set_answers(&self, function: PciDevice, answers: bool) {
        if let Some(registers) = lock(&self.functions).get_mut(&function.sbdf()) {
            registers.answers = answers;
        }
    }

    /// Somebody else sets the access control of `function`.
    pub fn set_control(&self, function: PciDevice, control: AcsBits) {
        if let Some(registers) = lock(&self.functions).get_mut(&function.sbdf()) {
            let at = control_at(&registers.told);
            put16(&mut registers.bytes, at, control.bits());
        }
    }

    /// The access control of `function` that is on.
    #[must_use]
    pub fn control(&self, function: PciDevice) -> Option<AcsBits> {
        let read = lock(&self.functions).get(&function.sbdf())?.read();
        match read.acs {
            Acs::Present { control, .. } => Some(control),
            Acs::Absent | Acs::Unknown => None,
        }
    }
}

impl Registers {
    fn read(&self) -> Function {
        let read = Function::from_config(self.told.address, &self.bytes).expect("a function");
        let operator = self.told.traits & (Traits::VOUCHED | Traits::EXTERNAL_FACING);
        Function {
            traits: read.traits | operator,
            unit: self.told.unit,
            physical: self.told.physical,
            requests_as: self.told.requests_as,
            ..read
        }
    }
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The registers of a function (PCIe 6.0, sections 7.5.1, 7.5.3 and 7.7.11).
fn lay_out(function: &Function) -> Vec<u8> {
    let Some(port_type) = port_type(function.kind) else {
        let mut bytes = vec![0; config::EXTENDED];
        header(function, &mut bytes);
        return bytes;
    };
    let mut bytes = vec![0; config::WHOLE];
    header(function, &mut bytes);
    put16(&mut bytes, 0x06, 1 << 4);
    bytes[0x34] = EXPRESS as u8;
    put16(&mut bytes, EXPRESS, 0x10);
    put16(&mut bytes, EXPRESS + 2, port_type << 4 | 2);
    put32(&mut bytes, EXPRESS + 4, u32::from(function.phantom_bits) << 3);
    extended(function, &mut bytes);
    bytes
}

fn header(function: &Function, bytes: &mut [u8]) {
    let identity = function.identity;
    put16(bytes, 0x00, identity.vendor);
    put16(bytes, 0x02, identity.device);
    put32(bytes, 0x08, identity.class << 8);
    let multifunction = function.traits.contains(Traits::MULTIFUNCTION);
    let Some(buses) = function.buses else {
        bytes[0x0e] = u8::from(multifunction) << 7;
        put16(bytes, 0x2c, identity.subsystem_vendor);
        put16(bytes, 0x2e, identity.subsystem_device);
        regions(function, &mut bytes[0x10..0x28]);
        return;
    };
    bytes[0x0e] = u8::from(multifunction) << 7 | 1;
    bytes[0x18..0x1b].copy_from_slice(&[function.address.bus, buses.secondary, buses.subordinate]);
    regions(function, &mut bytes[0x10..0x18]);
    for (at, window) in [0x20, 0x24].into_iter().zip(function.windows) {
        // The second is of 64 bits.
        let Some(Window { first, last }) = window else { continue };
        let wide = u16::from(at == 0x24);
        put16(bytes, at, (first >> 16) as u16 & 0xfff0 | wide);
        put16(bytes, at + 2, (last >> 16) as u16 & 0xfff0 | wide);
        if at == 0x24 {
            put32(bytes, 0x28, (first >> 32) as u32);
            put32(bytes, 0x2c, (last >> 32) as u32);
        }
    }
}

/// Base address registers, of 32 bits.
fn regions(function: &Function, registers: &mut [u8]) {
    for (register, region) in registers.chunks_exact_mut(4).zip(function.regions) {
        let region = u32::try_from(region).expect("below 4 GiB");
        register.copy_from_slice(&region.to_le_bytes());
    }
}

fn extended(function: &Function, bytes: &mut [u8]) {
    let mut link = |at: usize, id: u32, next: usize| {
        put32(bytes, at, (next as u32) << 20 | 1 << 16 | id);
    };
    let ari = function.traits.contains(Traits::ARI);
    let Acs::Present { capability, control, .. } = function.acs else {
        // A list begins at its first place, with nothing if need be.
        link(ACS.0, if ari { ARI.1 } else { 0 }, 0);
        if !ari {
            put32(bytes, ACS.0, 0);
        }
        return;
    };
    link(ACS.0, ACS.1, if ari { ARI.0 } else { 0 });
    if ari {
        link(ARI.0, ARI.1, 0);
    }
    put16(bytes, ACS.0 + 4, capability.bits());
    put16(bytes, control_at(function), control.bits());
}

/// Where the control of ACS is.
fn control_at(function: &Function) -> usize {
    let PciDevice { bus, devfn, .. } = function.address;
    let kind = (function.kind == Kind::RootPort).then_some(pci::Kind::RootPort);
    let Identity { vendor, device, .. } = function.identity;
    let shown = Captured { vendor, device, kind, ..Captured::new(Name { bus, devfn }) };
    ACS.0 + if config::has_wide_acs(&shown) { 8 } else { 6 }
}

/// Device/Port Type of the capability; `None` without one.
fn port_type(kind: Kind) -> Option<u16> {
    Some(match kind {
        Kind::Conventional => return None,
        Kind::Endpoint => 0x0,
        Kind::RootPort => 0x4,
        Kind::UpstreamPort => 0x5,
        Kind::DownstreamPort => 0x6,
        Kind::PcieToPciBridge => 0x7,
        Kind::PciToPcieBridge => 0x8,
        Kind::RootComplexEndpoint => 0x9,
        Kind::EventCollector => 0xa,
        Kind::Unknown => 0xf,
    })
}
