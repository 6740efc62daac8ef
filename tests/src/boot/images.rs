//! The images that are booted, and the disk of the guest.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::tools::{TARGET, cargo};

/// Where the workspace of the images is.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bare-metal");
/// How large the guest's disk is, in sectors of so many bytes.
const SECTORS: u64 = 8192;
const SECTOR: u64 = 512;

/// Files to boot.
#[derive(Clone, Debug)]
pub struct Images {
    /// The hypervisor.
    pub hypervisor: PathBuf,
    /// Its guest.
    pub guest: PathBuf,
    /// The guest's disk.
    pub disk: PathBuf,
}

/// Builds the images and the disk.
///
/// # Errors
/// What the compiler or the file system said.
pub fn build() -> anyhow::Result<Images> {
    let target = target_directory();
    let output = Command::new(cargo())
        .args(["build", "--locked", "--release", "--target-dir"])
        .arg(&target)
        // The linker arguments of the images are found from where they are built.
        .current_dir(WORKSPACE)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .output()
        .context("cargo cannot be run")?;
    if !output.status.success() {
        bail!("the images cannot be built:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let built = target.join(TARGET).join("release");
    let disk = target.join("disk.img");
    write_disk(&disk).with_context(|| format!("{}: cannot be written", disk.display()))?;
    let image = |name| built.join(name);
    Ok(Images { hypervisor: image("pviommu-metal"), guest: image("pviommu-metal-guest"), disk })
}

/// Beside what the workspace builds, and not among it: flags differ.
fn target_directory() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(usual, PathBuf::from).join("bare-metal")
}

/// Word number `index` of `sector`: the guest knows it, too.
fn word(sector: u64, index: u64) -> u64 {
    (sector << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn write_disk(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for sector in 0..SECTORS {
        for index in 0..SECTOR / 8 {
            file.write_all(&word(sector, index).to_le_bytes())?;
        }
    }
    file.flush()
}
