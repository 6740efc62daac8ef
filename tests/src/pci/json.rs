//! Captures in the form `pviommu-pci-1`, which `tests/pci/README.md` describes.

mod fields;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::capture::{Buses, Capture, Captured, Kind};
use super::config::{self, HEADER, Virtual, WHOLE};
use super::error::{Fault, PciError, Place};
use fields::{Address, Bytes, Format, Hex, Offset, Word};

#[derive(Deserialize)]
struct File {
    #[expect(dead_code, reason = "read to see that it is this form")]
    format: Format,
    topologies: Vec<Topology>,
}

#[derive(Deserialize)]
struct Topology {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    segment: Hex<32>,
    #[serde(default)]
    root_buses: Vec<u8>,
    functions: Vec<Function>,
    #[serde(default)]
    linux_groups: Vec<Vec<Address>>,
}

#[derive(Deserialize)]
struct Function {
    bdf: Address,
    vendor: Option<Hex<16>>,
    device: Option<Hex<16>>,
    class: Option<Hex<24>>,
    header: Option<u8>,
    multifunction: Option<bool>,
    /// `None`: absent; `Some(None)`: null, which says that it is conventional.
    #[serde(default, deserialize_with = "fields::present")]
    pcie: Option<Option<Word>>,
    bus: Option<BusNumbers>,
    acs_cap: Option<u16>,
    acs_ctl: Option<u16>,
    subsystem_vendor: Option<Hex<16>>,
    subsystem_device: Option<Hex<16>>,
    phantom: Option<u8>,
    ari: Option<bool>,
    ari_forwarding: Option<bool>,
    virtual_function: Option<bool>,
    #[serde(default)]
    config_bytes: BTreeMap<Offset, u8>,
    config: Option<Bytes>,
    config_len: Option<usize>,
}

#[derive(Deserialize)]
struct BusNumbers {
    primary: u8,
    secondary: u8,
    subordinate: u8,
}

/// The captures in `text`, which came from `file`.
///
/// # Errors
/// [`PciError`] with line and column, or with topology and function, if it is not of the form.
pub fn read(file: &str, text: &[u8]) -> Result<Vec<Capture>, PciError> {
    let parsed: File = serde_json::from_slice(text).map_err(|error| syntax(file, &error))?;
    parsed.topologies.into_iter().map(|topology| capture(file, topology)).collect()
}

fn syntax(file: &str, error: &serde_json::Error) -> PciError {
    let (line, column) = (error.line() as u64, error.column() as u64);
    // The place stands in front already.
    let mut words = error.to_string();
    if let Some(end) = words.rfind(" at line ") {
        words.truncate(end);
    }
    if !words.contains("expected") {
        words.push_str(", expected the form pviommu-pci-1");
    }
    Fault::said(words).at(file, Place::Column(line, column))
}

fn capture(file: &str, topology: Topology) -> Result<Capture, PciError> {
    let mut capture = Capture::new(topology.name, topology.segment.0);
    capture.description = topology.description;
    capture.root_buses = topology.root_buses;
    let place = |name| Place::Function(capture.name.clone(), name);
    let mut virtuals = Vec::new();
    for given in topology.functions {
        let name = given.bdf.0;
        let (function, switched_on) =
            function(given).map_err(|fault| fault.at(file, place(name)))?;
        virtuals.extend(switched_on.map(|virtuals| (name, virtuals)));
        capture.functions.push(function);
    }
    config::mark_virtual(&mut capture.functions, &virtuals);
    let groups = topology.linux_groups.into_iter();
    capture.linux_groups = groups.map(|group| group.iter().map(|name| name.0).collect()).collect();
    if capture.functions.iter().any(|function| function.config.is_empty()) {
        capture.unseen.push(
            "where memory regions begin, so that functions with registers in one page are not found"
                .to_owned(),
        );
    }
    capture.check(file)?;
    Ok(capture)
}

fn function(given: Function) -> Result<(Captured, Option<Virtual>), Fault> {
    let name = given.bdf.0;
    let mut virtuals = None;
    let has_config = given.config.is_some();
    let mut function = match given.config {
        None => Captured::new(name),
        Some(Bytes(mut bytes)) => {
            let length = given.config_len.unwrap_or_else(|| bytes.len().max(HEADER));
            if !(HEADER..=WHOLE).contains(&length) {
                return Err(Fault::new(format!("config_len {length}"), "64 to 4096"));
            }
            if bytes.len() > length {
                let found = format!("config of {} bytes", bytes.len());
                return Err(Fault::new(found, format!("at most the {length} of config_len")));
            }
            bytes.resize(length, 0);
            let (function, switched_on) = config::decode(name, bytes);
            virtuals = switched_on;
            function
        }
    };
    let needed = [
        (given.vendor.is_some(), "vendor"),
        (given.device.is_some(), "device"),
        (given.class.is_some(), "class"),
        (given.header.is_some(), "header"),
    ];
    if let Some((_, missing)) = needed.iter().find(|(there, _)| !there && !has_config) {
        return Err(Fault::new(format!("no {missing}"), format!("{missing}, or config")));
    }
    put(&mut function.vendor, given.vendor.map(Hex::u16));
    put(&mut function.device, given.device.map(Hex::u16));
    put(&mut function.class, given.class.map(|class| class.0));
    put(&mut function.header, given.header);
    put(&mut function.phantom, given.phantom);
    put(&mut function.ari, given.ari);
    put(&mut function.ari_forwarding, given.ari_forwarding);
    put(&mut function.virtual_function, given.virtual_function);
    function.multifunction = given.multifunction.or(function.multifunction);
    if let Some(kind) = given.pcie {
        function.kind = Some(kind.map_or(Kind::Conventional, |word| word.0));
    }
    if let Some(BusNumbers { primary, secondary, subordinate }) = given.bus {
        function.buses = Some(Buses { primary, secondary, subordinate });
    }
    match (given.acs_cap, given.acs_ctl) {
        (Some(capability), Some(control)) => function.acs = Some((capability, control)),
        (None, None) => {}
        (Some(_), None) => return Err(Fault::new("acs_cap alone", "acs_ctl with it")),
        (None, Some(_)) => return Err(Fault::new("acs_ctl alone", "acs_cap with it")),
    }
    // Without the fields there is no capability, if it is said at all what the function is.
    function.acs_is_known |= function.acs.is_some() || (!has_config && function.kind.is_some());
    match (given.subsystem_vendor, given.subsystem_device) {
        (Some(vendor), Some(device)) => function.subsystem = Some((vendor.u16(), device.u16())),
        (None, None) => {}
        _ => return Err(Fault::new("half a subsystem", "subsystem_vendor and subsystem_device")),
    }
    function.bytes =
        given.config_bytes.into_iter().map(|(offset, byte)| (offset.0, byte)).collect();
    if function.header > 2 && function.kind.is_some() {
        return Err(Fault::new(format!("header {}", function.header), "0, 1 or 2"));
    }
    if function.phantom > 3 {
        return Err(Fault::new(format!("phantom {}", function.phantom), "0 to 3"));
    }
    if function.header != 0 && function.buses.is_none() {
        return Err(Fault::new("a bridge without bus", "primary, secondary and subordinate"));
    }
    if function.header == 0 && function.buses.is_some() {
        return Err(Fault::new("bus numbers with header 0", "header 1"));
    }
    Ok((function, virtuals))
}

/// What the file says itself wins over what was decoded.
fn put<T>(to: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *to = said;
    }
}
