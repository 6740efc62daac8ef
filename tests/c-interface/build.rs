//! Compiles the programs in C, by the compiler that `CC` names.

#![expect(clippy::expect_used, reason = "a panic is how a build fails")]

use std::{env, path::Path, process::Command};

/// What is compiled.
const SOURCES: [&str; 5] = [
    "c/linux_v7.c",
    "c/embedder.c",
    "c/refusals.c",
    "c/layout.c",
    "../../hypervisor/capi/examples/embed.c",
];
/// Where headers are, and what else makes it be compiled again.
const INCLUDE: [&str; 4] =
    ["c", "../../hypervisor/capi/examples", "../../hypervisor/capi/include", "../../abi/include"];

fn run(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}

fn main() {
    let out = env::var("OUT_DIR").expect("cargo says where");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    println!("cargo::rerun-if-env-changed=CC");
    let mut objects = Vec::new();
    for source in SOURCES {
        let name = Path::new(source).with_extension("o");
        let object = Path::new(&out).join(name.file_name().expect("a file"));
        let mut command = Command::new(&compiler);
        command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fPIC", "-c"]);
        command.args(INCLUDE.map(|directory| format!("-I{directory}")));
        run(command.arg(source).arg("-o").arg(&object));
        objects.push(object);
    }
    for path in INCLUDE {
        println!("cargo::rerun-if-changed={path}");
    }
    let library = Path::new(&out).join("libpviommu_c_tests.a");
    let _ = std::fs::remove_file(&library);
    run(Command::new("ar").arg("crs").arg(&library).args(&objects));
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=pviommu_c_tests");
}
