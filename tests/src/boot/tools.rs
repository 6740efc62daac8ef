//! What booting needs besides this program: QEMU, and the compiler's target for bare metal.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The target that images are built for.
pub const TARGET: &str = "x86_64-unknown-none";
/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// Something is not installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The emulator.
    Qemu,
    /// The compiler's core library for bare metal.
    Target,
    /// Cargo, to build the images.
    Cargo,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qemu => write!(
                f,
                "{QEMU} is not installed; on Debian: \
                 apt-get install --no-install-recommends qemu-system-x86"
            ),
            Self::Target => write!(
                f,
                "the compiler's target {TARGET} is not installed: rustup target add {TARGET}"
            ),
            Self::Cargo => {
                f.write_str("cargo is not installed, which builds the images: https://rustup.rs")
            }
        }
    }
}

impl std::error::Error for Missing {}

/// Looks for all of it.
///
/// # Errors
/// The first thing that is missing.
pub fn look() -> Result<(), Missing> {
    if !answers(Command::new(QEMU).arg("--version")) {
        return Err(Missing::Qemu);
    }
    if !answers(Command::new(cargo()).arg("--version")) {
        return Err(Missing::Cargo);
    }
    let library =
        Command::new(rustc()).args(["--print", "target-libdir", "--target", TARGET]).output();
    let library = library.map_err(|_| Missing::Cargo)?;
    let library = PathBuf::from(String::from_utf8_lossy(&library.stdout).trim());
    if library.is_dir() { Ok(()) } else { Err(Missing::Target) }
}

/// The cargo that runs this program, or the usual one.
pub(super) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn rustc() -> String {
    std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned())
}

fn answers(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
