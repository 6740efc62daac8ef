//! The groups that Linux formed.

use pviommu_hypervisor::topology::Mode;

use crate::kit::{COMPLETE, captures, groups};

/// Snapshots that are not what a boot gives, and why.
const NO_BOOT: [(&str, &str); 4] = [
    ("igb-config-acs:with-vfs", "virtual functions came later, and never count as multifunction"),
    ("sriov-nvme:with-vfs", "the same"),
    ("regroup-acs-cleared:acs-cleared", "access control was cleared; the kernel keeps its groups"),
    (
        "rescan-multifunction:rescanned",
        "functions came one by one, before they were known to be several",
    ),
];

#[test]
fn every_topology_is_grouped_as_a_real_kernel_did() {
    let mut compared = 0;
    for file in COMPLETE {
        for capture in captures(file) {
            if NO_BOOT.iter().any(|(name, _)| *name == capture.name) {
                continue;
            }
            let mut linux = capture.linux_groups.clone();
            linux.iter_mut().for_each(|group| group.sort_unstable());
            linux.sort_unstable();
            assert_eq!(groups(&capture, Mode::AsLinux), linux, "{file}: {}", capture.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 41 + 6 + 250 + 100 + 163 + 21);
}

/// They would show a mistake, too: what they hold is no accident of this list.
#[test]
fn the_snapshots_that_are_left_out_exist() {
    let names: Vec<_> = captures("qemu.json.gz").into_iter().map(|capture| capture.name).collect();
    assert!(NO_BOOT.iter().all(|(name, _)| names.iter().any(|other| other == name)));
}

/// Machines of which only a boot log is known: nothing is left out, nothing is there twice.
#[test]
fn machines_of_which_little_is_known_are_grouped_all_the_same() {
    for capture in captures("real-partial.json.gz") {
        for mode in [Mode::Safe, Mode::AsLinux] {
            let mut members: Vec<_> = groups(&capture, mode).into_iter().flatten().collect();
            members.sort_unstable();
            let mut all: Vec<_> = capture.functions.iter().map(|function| function.name).collect();
            if mode == Mode::AsLinux {
                all.retain(|name| capture.linux_groups.iter().any(|group| group.contains(name)));
            }
            all.sort_unstable();
            assert_eq!(members, all, "{}", capture.name);
        }
    }
}
