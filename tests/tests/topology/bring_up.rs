//! From registers to groups: access control is switched on, and the facts are read again.

use std::collections::BTreeMap;

use pviommu_abi::PciDevice;
use pviommu_hypervisor::topology::{
    Acs, AcsBits, BringUp, Firmware, Function, Mode, Node, RegisterChange, RegisterSpace, Topology,
    enabling,
};
use pviommu_testbed::pci::Capture;

use crate::kit::{captures, groups, groups_of};

/// Configuration space of each function of a machine.
struct Registers(BTreeMap<u32, Vec<u8>>);

impl Registers {
    fn of(capture: &Capture) -> Self {
        let space = |config: &[u8]| {
            let mut bytes = config.to_vec();
            bytes.resize(4096, 0);
            bytes
        };
        let all = capture.functions.iter().map(|function| {
            let address = PciDevice { seg: 0, bus: function.name.bus, devfn: function.name.devfn };
            (address.sbdf(), space(&function.config))
        });
        Self(all.collect())
    }

    fn functions(&self) -> Vec<Function> {
        let decode = |(id, bytes): (&u32, &Vec<u8>)| {
            Function::from_config(PciDevice::from_sbdf(*id), bytes).unwrap()
        };
        self.0.iter().map(decode).collect()
    }

    fn make(&mut self, change: RegisterChange) {
        let RegisterSpace::Config(function) = change.space else { panic!("{change:?}") };
        let at = usize::try_from(change.offset).unwrap();
        let bytes = self.0.get_mut(&function.sbdf()).unwrap();
        let place = &mut bytes[at..at + usize::from(change.bytes)];
        let mut word = [0; 4];
        word[..place.len()].copy_from_slice(place);
        let value = u32::from_le_bytes(word) & !change.clear | change.set;
        place.copy_from_slice(&value.to_le_bytes()[..place.len()]);
    }

    /// As a reset leaves it: all access control is off.
    fn reset(&mut self) {
        for function in self.functions() {
            if let Acs::Present { at, .. } = function.acs {
                let bytes = self.0.get_mut(&function.address.sbdf()).unwrap();
                bytes[usize::from(at) + 6..][..2].fill(0);
            }
        }
    }

    /// Switches on what there is, as an embedder does before any device may do DMA.
    fn bring_up(&mut self) {
        for function in self.functions() {
            enabling(&function, BringUp::default()).for_each(|change| self.make(change));
        }
    }

    fn groups(&self) -> Vec<Vec<pviommu_testbed::pci::Name>> {
        let mut nodes: Vec<_> = self.functions().into_iter().map(Node::new).collect();
        let count = nodes.len();
        let topology = Topology::build(&mut nodes, count, Firmware::default(), Mode::Safe).unwrap();
        groups_of(&topology, false)
    }
}

/// Machines whose firmware left nothing switched on, and whose kernel did that.
#[test]
fn what_a_kernel_switched_on_at_boot_is_switched_on_here() {
    let mut changed = 0;
    for capture in captures("qemu.json.gz") {
        // Some were changed afterwards; virtual functions name their makers nowhere.
        if capture.name.contains(':') || capture.name == "disable-acs-redir" {
            continue;
        }
        let mut registers = Registers::of(&capture);
        let booted = registers.groups();
        assert_eq!(booted, groups(&capture, Mode::Safe), "{}", capture.name);
        registers.reset();
        let off = registers.groups();
        registers.bring_up();
        assert_eq!(registers.groups(), booted, "{}", capture.name);
        let on = |function: &Function| match function.acs {
            Acs::Present { control, .. } => control & AcsBits::ISOLATION,
            _ => AcsBits::empty(),
        };
        for (function, captured) in
            registers.functions().iter().zip(Registers::of(&capture).functions())
        {
            assert_eq!(on(function), on(&captured), "{}: {}", capture.name, function.address);
        }
        changed += usize::from(off != booted);
    }
    assert!(changed > 5, "{changed} machines are isolated by what is switched on");
}
