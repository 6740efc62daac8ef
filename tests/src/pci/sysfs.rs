//! The running Linux machine, as it shows itself below `/sys/bus/pci/devices`.
//!
//! Without root it shows the first 64 bytes of configuration space only; identities, memory,
//! virtual functions and groups are files of their own.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::capture::{Capture, Captured, Kind, Name};
use super::config::{self, EXTENDED, HEADER, Virtual};
use super::error::{Fault, PciError, Place};
use crate::source::quote;

/// Where Linux has its PCI functions.
pub const DEVICES: &str = "/sys/bus/pci/devices";

/// A segment while it is read.
#[derive(Default)]
struct Segment {
    functions: Vec<Captured>,
    virtuals: Vec<(Name, Virtual)>,
    /// By the number of the group.
    groups: BTreeMap<u64, Vec<Name>>,
    roots: Vec<u8>,
    is_short: bool,
    has_virtual: bool,
}

/// The machine whose functions are directories, or links to them, in `devices`: one capture for each
/// segment.
///
/// # Errors
/// [`PciError`] that names the file, if one cannot be read or holds what it should not.
pub fn read(devices: &Path) -> Result<Vec<Capture>, PciError> {
    let unreadable = |error| PciError::Unreadable { file: devices.display().to_string(), error };
    let mut segments: BTreeMap<u32, Segment> = BTreeMap::new();
    let mut entries = fs::read_dir(devices)
        .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
        .map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (folder, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Some((segment, name)) = address(&name) else {
            let fault = Fault::new(quote(&name), "a function as ssss:bb:dd.f");
            return Err(fault.at(&devices.display().to_string(), Place::Whole));
        };
        let into = segments.entry(segment).or_default();
        into.take(&folder, segment, name)?;
    }
    if segments.is_empty() {
        let fault = Fault::new("no functions", "at least one");
        return Err(fault.at(&devices.display().to_string(), Place::Whole));
    }
    let several = segments.len() > 1;
    let captures = segments.into_iter().map(|(segment, read)| {
        let rest = if several { format!(" segment {segment:04x}") } else { String::new() };
        let capture = read.finish(Capture::new(format!("this machine{rest}"), segment));
        capture.check(&devices.display().to_string())?;
        Ok(capture)
    });
    captures.collect()
}

impl Segment {
    fn take(&mut self, folder: &Path, segment: u32, name: Name) -> Result<(), PciError> {
        let file = folder.join("config");
        let unreadable = |error| PciError::Unreadable { file: file.display().to_string(), error };
        let bytes = fs::read(&file).map_err(unreadable)?;
        if bytes.len() < HEADER {
            let fault = Fault::new(format!("{} bytes", bytes.len()), format!("at least {HEADER}"));
            return Err(fault.at(&file.display().to_string(), Place::Whole));
        }
        self.is_short |= bytes.len() < EXTENDED;
        let (mut function, virtuals) = config::decode(name, bytes);
        self.virtuals.extend(virtuals.map(|virtuals| (name, virtuals)));
        function.vendor = id(folder, "vendor")?.unwrap_or(function.vendor);
        function.device = id(folder, "device")?.unwrap_or(function.device);
        function.class = number(folder, "class", 0xff_ffff)?.unwrap_or(function.class);
        let subsystem = id(folder, "subsystem_vendor")?.zip(id(folder, "subsystem_device")?);
        function.subsystem = subsystem.filter(|ids| *ids != (0, 0)).or(function.subsystem);
        resources(folder, &mut function)?;
        if let Some((_, physical)) = link(folder, "physfn").as_deref().and_then(address) {
            function.virtual_function = true;
            function.physical = Some(physical);
            self.has_virtual = true;
        }
        let number = link(folder, "iommu_group").and_then(|group| group.parse::<u64>().ok());
        if let Some(group) = number {
            self.groups.entry(group).or_default().push(name);
        }
        let path = fs::canonicalize(folder).unwrap_or_default();
        let host = format!("pci{segment:04x}:{:02x}", name.bus);
        let parent = path.parent().and_then(Path::file_name);
        if parent.is_some_and(|parent| *parent == *host) && !self.roots.contains(&name.bus) {
            self.roots.push(name.bus);
        }
        self.functions.push(function);
        Ok(())
    }

    fn finish(self, mut capture: Capture) -> Capture {
        capture.functions = self.functions;
        config::mark_virtual(&mut capture.functions, &self.virtuals);
        capture.root_buses = self.roots;
        capture.linux_groups = self.groups.into_values().collect();
        if self.is_short {
            capture.unseen.push(
                "everything beyond 64 bytes of configuration space, ACS among it (root sees it)"
                    .to_owned(),
            );
        }
        let count = |what: fn(&Captured) -> bool| {
            capture.functions.iter().filter(|function| what(function)).count()
        };
        let half = count(|function| {
            let is_express = function.kind.is_some_and(|kind| kind != Kind::Conventional);
            is_express && !function.acs_is_known
        });
        if half > 0 {
            capture.unseen.push(format!("ACS, ARI and SR-IOV of {half} functions"));
        }
        if capture.linux_groups.is_empty() {
            capture.unseen.push("groups: this kernel has no IOMMU in use".to_owned());
        }
        capture
    }
}

/// `ssss:bb:dd.f`, with more digits of the segment where it has them.
fn address(text: &str) -> Option<(u32, Name)> {
    let (segment, name) = text.split_once(':')?;
    let all = segment.len() >= 4 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u32::from_str_radix(segment, 16).ok().filter(|_| all)?, name.parse().ok()?))
}

/// The last part of what the link `name` leads to.
fn link(folder: &Path, name: &str) -> Option<String> {
    let to = fs::read_link(folder.join(name)).ok()?;
    Some(to.file_name()?.to_string_lossy().into_owned())
}

/// The 16-bit number in the file `name`; `None` if there is no such file.
fn id(folder: &Path, name: &str) -> Result<Option<u16>, PciError> {
    Ok(number(folder, name, 0xffff)?.map(|number| number as u16))
}

/// The number up to `most` in the file `name`, as `0x1af4`; `None` if there is no such file.
fn number(folder: &Path, name: &str, most: u32) -> Result<Option<u32>, PciError> {
    let Some(text) = text(folder, name)? else { return Ok(None) };
    let digits = text.trim().strip_prefix("0x").unwrap_or_default();
    let number = u32::from_str_radix(digits, 16).ok().filter(|number| *number <= most);
    let fault = || {
        let file = folder.join(name).display().to_string();
        Fault::new(quote(text.trim()), format!("a number as 0x1af4, at most {most:#x}"))
            .at(&file, Place::Whole)
    };
    number.map(Some).ok_or_else(fault)
}

fn text(folder: &Path, name: &str) -> Result<Option<String>, PciError> {
    let file = folder.join(name);
    match fs::read(&file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PciError::Unreadable { file: file.display().to_string(), error }),
    }
}

/// Memory regions by the file `resource`, whose first six lines they are. Windows of bridges are
/// read from the header, since how many lines come before theirs depends on the kernel.
fn resources(folder: &Path, function: &mut Captured) -> Result<(), PciError> {
    /// `IORESOURCE_MEM`.
    const MEMORY: u64 = 0x200;
    let Some(text) = text(folder, "resource")? else { return Ok(()) };
    let mut regions = Vec::new();
    for (line, number) in text.lines().zip(1..).take(6) {
        let mut words = line.split_ascii_whitespace();
        let mut next = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        let Some(((first, last), flags)) = next().zip(next()).zip(next()) else {
            let file = folder.join("resource").display().to_string();
            let fault = Fault::new(quote(line), "0xfirst 0xlast 0xflags");
            return Err(fault.at(&file, Place::Line(number)));
        };
        if flags & MEMORY != 0 && first != 0 && first <= last {
            regions.push((first, last));
        }
    }
    function.regions = regions;
    Ok(())
}
