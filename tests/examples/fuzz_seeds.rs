//! Writes the seeds of the fuzz target: `fuzz_seeds fuzz/seeds/hypercall`.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: fuzz_seeds DIRECTORY"));
    };
    fs::create_dir_all(&directory)?;
    for (name, input) in pviommu_testbed::fuzzing::seeds() {
        fs::write(Path::new(&directory).join(name), input.to_bytes())?;
    }
    Ok(())
}
