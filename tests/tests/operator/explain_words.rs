//! What a person at a console reads.

use pviommu_hypervisor::platform::Access;

use crate::{
    kinds,
    kit::{DEVICE, RW, with_guest},
    look::ask,
};

/// Word for word, but for frames of the machine.
#[test]
fn an_explanation_is_three_lines_who_why_and_the_walk() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x12345, 3, 1, RW - pviommu_abi::MapFlags::WRITEABLE), (0, 1));
        let said = ask(vm, DEVICE, 0x1234_5678, Access::WRITE).to_string();
        let lines: Vec<_> = said.lines().collect();
        let who = format!(
            "0000:00:03.0 behind unit 0, of domain 1, in context {context}: write at 0x12345678"
        );
        assert_eq!(lines[0], who);
        let (before, after) =
            ("bus frame 0x12345 leads to frame 0x", ", but r- (guest): the access faults");
        assert!(lines[1].starts_with(before) && lines[1].ends_with(after), "{said}");
        let words: Vec<_> = lines[2].split(' ').collect();
        assert_eq!((words.len(), words[0]), (5, "walk:"), "{said}");
        for (word, level) in words[1..].iter().zip(["3:", "2:", "1:", "0:"]) {
            assert!(word.starts_with(level) && word.len() == 18, "{said}");
        }
        if kinds::unit() == pviommu_testbed::machine::UnitKind::Vtd {
            assert!(words[4].ends_with('1'), "read, and not write: {said}");
        }
        vm.end();
    });
}
