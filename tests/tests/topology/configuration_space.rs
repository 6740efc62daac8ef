//! What is read from the configuration space of QEMU's devices is what their kernel read there.

use std::collections::BTreeSet;

use flate2::read::GzDecoder;
use pviommu_hypervisor::abi::PciDevice;
use pviommu_hypervisor::topology::{
    Acs, AcsBits, BusNumbers, Function, Kind, Traits, virtual_functions,
};
use pviommu_testbed::pci::Name;
use serde_json::Value;

const QEMU: &[u8] = include_bytes!("../../pci/qemu.json.gz");

/// One function of a machine: what the file says of it, and its configuration space.
struct Told<'a> {
    fields: &'a Value,
    config: Vec<u8>,
}

impl Told<'_> {
    fn address(&self) -> PciDevice {
        let Name { bus, devfn } = self.text("bdf").unwrap().parse().unwrap();
        PciDevice { seg: 0, bus, devfn }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields[field].as_str()
    }

    fn hex(&self, field: &str) -> u32 {
        u32::from_str_radix(self.text(field).unwrap(), 16).unwrap()
    }

    fn bits(&self, field: &str) -> AcsBits {
        AcsBits::from_bits_retain(self.fields[field].as_u64().unwrap().try_into().unwrap())
    }

    fn is(&self, field: &str) -> bool {
        self.fields[field] == true
    }

    fn kind(&self) -> Kind {
        match self.text("pcie") {
            None => Kind::Conventional,
            Some("endpoint" | "legacy-endpoint") => Kind::Endpoint,
            Some("root-port") => Kind::RootPort,
            Some("upstream") => Kind::UpstreamPort,
            Some("downstream") => Kind::DownstreamPort,
            Some("pcie-to-pci-bridge") => Kind::PcieToPciBridge,
            Some("rciep") => Kind::RootComplexEndpoint,
            Some(other) => panic!("{other}"),
        }
    }

    fn buses(&self) -> Option<BusNumbers> {
        let of = |which| self.fields["bus"][which].as_u64()?.try_into().ok();
        Some(BusNumbers { secondary: of("secondary")?, subordinate: of("subordinate")? })
    }
}

/// The whole configuration space; the file drops zeros at its end.
fn config(fields: &Value) -> Vec<u8> {
    let digits = fields["config"].as_str().unwrap().as_bytes();
    let mut bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    bytes.resize(fields["config_len"].as_u64().unwrap().try_into().unwrap(), 0);
    bytes
}

/// Has `look` look at the functions of each machine.
fn each_machine(look: impl Fn(&str, &[Told<'_>])) {
    let file: Value = serde_json::from_reader(GzDecoder::new(QEMU)).unwrap();
    for machine in file["topologies"].as_array().unwrap() {
        let functions = machine["functions"].as_array().unwrap();
        let told: Vec<_> =
            functions.iter().map(|fields| Told { fields, config: config(fields) }).collect();
        look(machine["name"].as_str().unwrap(), &told);
    }
}

#[test]
fn facts_are_those_that_the_kernel_found() {
    each_machine(|machine, functions| {
        for told in functions {
            let function = Function::from_config(told.address(), &told.config).unwrap();
            let at = format!("{machine} {}", function.address);
            let is_virtual = told.is("virtual_function");
            assert_eq!(function.is_virtual(), is_virtual, "{at}");
            let ids = (u32::from(function.identity.vendor), u32::from(function.identity.device));
            let expected = if is_virtual {
                (0xffff, 0xffff)
            } else {
                (told.hex("vendor"), told.hex("device"))
            };
            assert_eq!(ids, expected, "{at}");
            assert_eq!(function.identity.class, told.hex("class"), "{at}");
            assert_eq!(function.kind, told.kind(), "{at}");
            assert_eq!(function.buses, told.buses(), "{at}");
            let multifunction = function.traits.contains(Traits::MULTIFUNCTION);
            assert_eq!(multifunction, told.is("multifunction"), "{at}");
            match function.acs {
                Acs::Present { capability, control, .. } => {
                    assert_eq!(capability, told.bits("acs_cap"), "{at}");
                    assert_eq!(control, told.bits("acs_ctl"), "{at}");
                }
                Acs::Absent => assert!(told.fields.get("acs_cap").is_none(), "{at}"),
                Acs::Unknown => panic!("{at}"),
            }
        }
    });
}

#[test]
fn less_than_all_of_it_leaves_facts_unknown_and_none_wrong() {
    each_machine(|machine, functions| {
        for told in functions {
            for many in [64, 128, 255, 256, 260, 1024] {
                let shown = &told.config[..many.min(told.config.len())];
                let function = Function::from_config(told.address(), shown).unwrap();
                let at = format!("{machine} {} {many}", function.address);
                assert!([told.kind(), Kind::Unknown].contains(&function.kind), "{at}");
                match function.acs {
                    Acs::Unknown => assert!(many < told.config.len(), "{at}"),
                    Acs::Absent => assert!(told.fields.get("acs_cap").is_none(), "{at}"),
                    Acs::Present { control, .. } => assert_eq!(control, told.bits("acs_ctl")),
                }
            }
        }
    });
}

#[test]
fn virtual_functions_are_where_their_physical_ones_say() {
    each_machine(|machine, functions| {
        let found: BTreeSet<u32> = functions
            .iter()
            .filter_map(|told| Some((told, virtual_functions(&told.config)?)))
            .flat_map(|(told, them)| them.addresses(told.address()).map(PciDevice::sbdf))
            .collect();
        let expected: BTreeSet<u32> = functions
            .iter()
            .filter(|told| told.is("virtual_function"))
            .map(|told| told.address().sbdf())
            .collect();
        assert_eq!(found, expected, "{machine}");
        assert_eq!(machine.ends_with(":with-vfs"), !expected.is_empty(), "{machine}");
    });
}
