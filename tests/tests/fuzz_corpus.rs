//! The seeds of the fuzz targets, and the inputs that once failed: each must pass.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use pviommu_testbed::fuzzing::{TARGETS, Target, hypercall, seeds};

fn directory(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target.name)
}

#[test]
fn every_seed_passes() {
    for target in TARGETS {
        let entries = fs::read_dir(directory(&target)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= (target.seeds)().len(), "seeds of {} are missing", target.name);
        for file in files {
            // Shown when a check fails.
            println!("{}", file.display());
            (target.run)(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn the_files_are_the_seeds_the_code_has() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            let file = directory(&target).join(&name);
            assert!(
                fs::read(&file).unwrap() == bytes,
                "{} differs; write the seeds again with `cargo run -p pviommu-testbed --example \
                 fuzz_seeds -- fuzz/seeds`",
                file.display()
            );
        }
    }
}

/// Every seed cut off at every few bytes: what is missing counts as zero.
#[test]
fn every_beginning_of_a_seed_passes() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            println!("{name}");
            // Of large ones, not as many.
            let step = (bytes.len() / 40).max(7);
            for end in (0..bytes.len()).step_by(step) {
                (target.run)(&bytes[..end]);
            }
        }
    }
}

/// Every seed on machines whose domains start with other maps, and whose units are of another make.
#[test]
fn every_seed_passes_on_every_kind_of_machine() {
    for (name, mut input) in seeds() {
        for kind in 1..8 {
            println!("{name}, {kind}");
            input.machine = input.machine & 0x1f | kind << 5;
            hypercall(&input.to_bytes());
        }
    }
}
