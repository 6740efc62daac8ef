//! Writes the seeds of all fuzz targets: `fuzz_seeds fuzz/seeds`.

use std::{env, fs, io, path::Path};

use pviommu_testbed::fuzzing::TARGETS;

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: fuzz_seeds DIRECTORY"));
    };
    for target in TARGETS {
        let directory = Path::new(&directory).join(target.name);
        fs::create_dir_all(&directory)?;
        for (name, bytes) in (target.seeds)() {
            fs::write(directory.join(name), bytes)?;
        }
    }
    Ok(())
}
