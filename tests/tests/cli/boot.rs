//! `pviommu boot` where it cannot boot. Where it can, it is a check of its own.

use std::process::{Command, Output};

use crate::{stderr, stdout};

fn boot(path: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pviommu"));
    // What is installed is what this directory has.
    command.env("PATH", path).env_remove("CARGO").arg("boot").args(arguments).output().unwrap()
}

#[test]
fn without_qemu_it_says_in_one_line_how_to_get_it_and_ends_with_3() {
    for arguments in [&[][..], &["--json"], &["--unit", "amdvi", "--suite", "translation"]] {
        let output = boot("/nonexistent", arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert_eq!((message.lines().count(), stdout(&output).as_str()), (1, ""), "{message}");
        assert!(message.contains("qemu-system-x86_64 is not installed"), "{message}");
        assert!(message.contains("apt-get install"), "{message}");
    }
}

#[test]
fn a_suite_that_there_is_not_is_refused_with_the_names_of_those_there_are() {
    let arguments = ["--suite", "nothing"];
    let output = boot("/nonexistent", &arguments);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("translation, scratch, revocation"), "{message}");
}
