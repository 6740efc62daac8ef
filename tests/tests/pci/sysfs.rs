//! The running machine, by folders made up as Linux has them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pviommu_testbed::pci::{Capture, Captured, Kind, sysfs};

use crate::data::load;

/// A folder of its own, as `/sys/bus/pci/devices`.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sysfs").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("devices")).unwrap();
    fs::create_dir_all(folder.join("bus")).unwrap();
    folder
}

/// Shows `function` in `root` as Linux does, `bytes` of it.
fn show(root: &Path, function: &Captured, bytes: usize, group: Option<usize>) -> PathBuf {
    let name = format!("0000:{}", function.name);
    let at = root.join(format!("devices/pci0000:{:02x}", function.name.bus)).join(&name);
    fs::create_dir_all(&at).unwrap();
    let put = |file: &str, text: String| fs::write(at.join(file), text).unwrap();
    fs::write(at.join("config"), &function.config[..bytes.min(function.config.len())]).unwrap();
    put("vendor", format!("{:#06x}\n", function.vendor));
    put("device", format!("{:#06x}\n", function.device));
    put("class", format!("{:#08x}\n", function.class));
    put("subsystem_vendor", "0x1af4\n".to_owned());
    put("subsystem_device", "0x1100\n".to_owned());
    put(
        "resource",
        "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n".to_owned()
            + "0x000000000000e000 0x000000000000e01f 0x0000000000040101\n",
    );
    if let Some(group) = group {
        symlink(format!("../../../kernel/iommu_groups/{group}"), at.join("iommu_group")).unwrap();
    }
    symlink(&at, root.join("bus").join(&name)).unwrap();
    at
}

/// The QEMU machine with virtual functions, shown up to `bytes` of each function.
fn machine(name: &str, bytes: usize) -> (Capture, Capture) {
    let captures = load("qemu.json.gz");
    let whole = captures.into_iter().find(|c| c.name == "sriov-nvme:with-vfs").unwrap();
    let root = folder(name);
    for function in &whole.functions {
        let group = whole.linux_groups.iter().position(|group| group.contains(&function.name));
        let at = show(&root, function, bytes, group);
        if let Some(physical) = function.physical {
            symlink(format!("../0000:{physical}"), at.join("physfn")).unwrap();
        }
    }
    let mut captures = sysfs::read(&root.join("bus")).unwrap();
    assert_eq!(captures.len(), 1);
    (captures.remove(0), whole)
}

#[test]
fn root_sees_everything() {
    let (capture, whole) = machine("root", 4096);
    assert_eq!(capture.functions.len(), 24);
    for (read, function) in capture.functions.iter().zip(&whole.functions) {
        assert_eq!((read.name, read.kind, read.acs), (function.name, function.kind, function.acs));
        assert_eq!(read.multifunction, function.multifunction);
        assert_eq!(read.physical, function.physical);
        assert_eq!(read.regions, [(0xfe00_0000, 0xfe00_3fff)]);
        assert_eq!(read.subsystem, Some((0x1af4, 0x1100)));
    }
    assert_eq!(capture.linux_groups, whole.linux_groups);
    assert!(capture.unseen.is_empty(), "{:?}", capture.unseen);
}

#[test]
fn others_see_64_bytes_and_the_links() {
    let (capture, whole) = machine("others", 64);
    for (read, function) in capture.functions.iter().zip(&whole.functions) {
        // Those without any capability say so in the 64 bytes.
        let is_plain = read.kind == Some(Kind::Conventional);
        assert_eq!(read.kind, if is_plain { function.kind } else { None }, "{}", read.name);
        assert_eq!(read.acs_is_known, is_plain, "{}", read.name);
        assert_eq!(read.physical, function.physical);
        assert_eq!((read.buses, &read.windows), (function.buses, &function.windows));
    }
    assert_eq!(capture.functions.iter().filter(|f| f.virtual_function).count(), 10);
    assert_eq!(capture.linux_groups, whole.linux_groups);
    assert!(capture.unseen[0].contains("beyond 64 bytes"), "{:?}", capture.unseen);
    assert!(capture.root_buses.contains(&0), "{:?}", capture.root_buses);
}

#[test]
fn without_groups_it_is_said_that_there_are_none() {
    let root = folder("ungrouped");
    let captures = load("qemu.json.gz");
    show(&root, &captures[0].functions[0], 4096, None);
    let capture = sysfs::read(&root.join("bus")).unwrap().remove(0);
    assert!(capture.linux_groups.is_empty());
    assert!(capture.unseen.iter().any(|text| text.contains("no IOMMU")), "{:?}", capture.unseen);
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let captures = load("qemu.json.gz");
    let function = &captures[0].functions[0];
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 5] = [
        (|at| fs::remove_file(at.join("config")).unwrap(), "config: cannot be read"),
        (|at| fs::write(at.join("config"), "abc").unwrap(), "found 3 bytes, expected at least 64"),
        (
            |at| fs::write(at.join("vendor"), "8086").unwrap(),
            "vendor: found \"8086\", expected a number",
        ),
        (|at| fs::write(at.join("device"), "0x12345").unwrap(), "at most 0xffff"),
        (
            |at| fs::write(at.join("resource"), "0x0 0x0\n").unwrap(),
            "resource:1: found \"0x0 0x0\"",
        ),
    ];
    for (number, (damage, expected)) in cases.into_iter().enumerate() {
        let root = folder(&format!("damaged-{number}"));
        damage(&show(&root, function, 4096, None));
        let message = sysfs::read(&root.join("bus")).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
    }
    let message = sysfs::read(Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(message.starts_with("/nonexistent: cannot be read"), "{message}");
    let root = folder("empty");
    let message = sysfs::read(&root.join("bus")).unwrap_err().to_string();
    assert!(message.ends_with("found no functions, expected at least one"), "{message}");
}
