//! The program as people and scripts run it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::process::Output;

mod boot;
mod groups;
mod replay;
mod show;

/// Where a bundled trace is.
fn trace(name: &str) -> String {
    format!("{}/traces/{name}.trace.gz", env!("CARGO_MANIFEST_DIR"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Checks that the program ended with status 2, and said why in one line.
fn is_refused(output: &Output, arguments: &[&str], expected: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.contains(expected), "{arguments:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    assert_eq!(stdout(output), "", "{arguments:?}");
}
