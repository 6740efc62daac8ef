//! `pviommu groups`: its options, its output.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pviommu_hypervisor::topology;
use pviommu_testbed::groups::{Difference, Grouped, Json, Text, differences, dot, svg};
use pviommu_testbed::pci::{self, Capture, Fault, Name, Place, sysfs};

use super::Verdict;

/// What is grouped when no file is given: the machine of this name, of the file that is built in.
const BUNDLED: (&str, &str, &[u8]) =
    ("bug219984", "real.json", include_bytes!("../../pci/real.json"));

/// The options of `groups`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Machines: pviommu-pci-1 JSON, or what lspci -xxxx or lspci -vvv -nn prints, plain or gzip; `-`
    /// for standard input [default: a real one that is built in]
    file: Option<PathBuf>,
    /// Group the devices of this Linux machine, and compare with its own groups
    #[arg(long, conflicts_with = "file")]
    sysfs: bool,
    /// How groups are formed
    #[arg(long, value_enum, default_value_t = Mode::Safe)]
    mode: Mode,
    /// Take these functions to isolate, whatever they say themselves: an override of access control, at the
    /// operator's risk. It parts nothing that shares ids
    #[arg(long, value_name = "BDF", value_delimiter = ',', value_parser = function)]
    vouch: Vec<Name>,
    /// Say why functions are together, and what would part them
    #[arg(long)]
    why: bool,
    /// Compare with the groups that Linux formed; the exit status is 1 if there is a difference
    #[arg(long)]
    compare: bool,
    /// Write the tree of buses, coloured by group, for Graphviz
    #[arg(long, value_name = "OUT.dot")]
    dot: Option<PathBuf>,
    /// Draw the tree of buses, coloured by group
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Mode {
    /// Nothing reaches anything of another group
    Safe,
    /// As Linux forms them at boot: to compare, not to rely on
    AsLinux,
}

/// A picture that cannot be written.
#[derive(Debug)]
struct Unwritable {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot be written: {}", self.path.display(), self.error)
    }
}

impl Error for Unwritable {}

/// Groups, and shows the groups.
pub(super) fn run(args: &Args) -> Result<Verdict, Box<dyn Error>> {
    let (file, mut captures) = captures(args)?;
    vouch(&args.vouch, &file, &mut captures)?;
    let mode = match args.mode {
        Mode::Safe => topology::Mode::Safe,
        Mode::AsLinux => topology::Mode::AsLinux,
    };
    let mut machines = Vec::new();
    for capture in captures {
        let name = capture.name.clone();
        let machine = Grouped::new(capture, mode, args.why).map_err(|contradiction| {
            Fault::new(contradiction, "a tree of buses").at(&file, Place::Topology(name))
        })?;
        machines.push(machine);
    }
    let compared = compare(args, &file, &machines)?;
    // First, so that a path that is wrong leaves nothing on the standard output.
    if let Some(path) = &args.dot {
        write_file(path, &dot(&machines))?;
    }
    if let Some(path) = &args.svg {
        write_file(path, &svg(&machines))?;
    }
    match print(args, &machines, &compared) {
        // Who reads the first lines of a long list only has what he wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    let count: usize = compared.iter().flatten().map(Vec::len).sum();
    if args.compare && args.json {
        eprintln!("differences from Linux's groups: {count}");
    }
    Ok(if args.compare && count > 0 { Verdict::Bad } else { Verdict::Good })
}

/// A function as `--vouch` names it.
fn function(text: &str) -> Result<Name, String> {
    text.parse().map_err(|()| "expected a function: bb:dd.f".to_owned())
}

/// Notes for which functions the operator vouches.
fn vouch(names: &[Name], file: &str, captures: &mut [Capture]) -> Result<(), Box<dyn Error>> {
    for name in names {
        let all = captures.iter_mut().flat_map(|capture| &mut capture.functions);
        let named = all.filter(|function| function.name == *name);
        let vouched = named.map(|function| function.vouched_for = true).count();
        if vouched == 0 {
            return Err(format!("{file}: there is no function {name} to vouch for").into());
        }
    }
    Ok(())
}

/// The machines, and where they come from.
fn captures(args: &Args) -> Result<(String, Vec<Capture>), Box<dyn Error>> {
    if args.sysfs {
        return Ok((sysfs::DEVICES.to_owned(), sysfs::read(Path::new(sysfs::DEVICES))?));
    }
    match &args.file {
        Some(path) if path.as_os_str() == "-" => {
            Ok(("standard input".to_owned(), pci::open(path)?))
        }
        Some(path) => Ok((path.display().to_string(), pci::open(path)?)),
        None => {
            let (name, file, bytes) = BUNDLED;
            let mut captures = pci::read(file, bytes)?;
            captures.retain(|capture| capture.name == name);
            Ok((file.to_owned(), captures))
        }
    }
}

/// Where each machine differs from Linux; nothing of those that are not compared.
fn compare(
    args: &Args,
    file: &str,
    machines: &[Grouped],
) -> Result<Vec<Option<Vec<Difference>>>, Box<dyn Error>> {
    let mut compared = Vec::new();
    for machine in machines {
        let has_groups = !machine.capture.linux_groups.is_empty();
        if args.compare && !has_groups {
            let fault = Fault::new("no groups of Linux's", "linux_groups to compare with");
            return Err(fault.at(file, Place::Topology(machine.capture.name.clone())).into());
        }
        let wanted = args.compare || (args.sysfs && has_groups);
        compared.push(wanted.then(|| differences(machine)));
    }
    Ok(compared)
}

fn write_file(path: &Path, text: &str) -> Result<(), Unwritable> {
    std::fs::write(path, text).map_err(|error| Unwritable { path: path.to_owned(), error })
}

fn print(
    args: &Args,
    machines: &[Grouped],
    compared: &[Option<Vec<Difference>>],
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &Json::new(machines))?;
        return writeln!(out);
    }
    for (place, (machine, differences)) in machines.iter().zip(compared).enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        write!(out, "{}", Text { machine, differences: differences.as_deref() })?;
    }
    for path in args.dot.iter().chain(&args.svg) {
        writeln!(out, "\ndrawn in {}", path.display())?;
    }
    Ok(())
}
