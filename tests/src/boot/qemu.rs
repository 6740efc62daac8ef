//! One boot: the machine, its time limit, what it said.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::images::Images;
use super::suite::{Suite, Unit};
use super::tools::QEMU;

/// The exit status of an image that is content: it writes 0x10 to the exit device.
const CONTENT: i32 = 0x10 << 1 | 1;
const LIMIT: Duration = Duration::from_secs(90);

/// What is on every machine, behind the unit.
///
/// ```text
///  root bus ─┬─ 02.0, 03.0  edu
///            ├─ 04.0  disk
///            ├─ 05.0  root port ── edu
///            └─ 06.0  bridge to a conventional bus ── 01.0, 02.0  edu
/// ```
const DEVICES: &[&str] = &[
    "edu,addr=02.0,dma_mask=0xffffffffffffffff",
    "edu,addr=03.0,dma_mask=0xffffffffffffffff",
    "virtio-blk-pci,addr=04.0,drive=disk,iommu_platform=on,disable-legacy=on",
    "pcie-root-port,id=root-port,addr=05.0,chassis=1,slot=1",
    "edu,bus=root-port,dma_mask=0xffffffffffffffff",
    "pcie-pci-bridge,id=conventional,addr=06.0",
    "edu,bus=conventional,addr=01.0,dma_mask=0xffffffffffffffff",
    "edu,bus=conventional,addr=02.0,dma_mask=0xffffffffffffffff",
];

/// How a boot ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The image said that all was well.
    Content,
    /// The image, or QEMU, ended otherwise.
    Status(Option<i32>),
    /// It took too long and was ended.
    TooLong,
}

/// A boot that ended.
#[derive(Clone, Debug)]
pub struct Boot {
    /// How.
    pub end: End,
    /// What the image said.
    pub serial: String,
    /// What QEMU said.
    pub errors: String,
    /// How long it took.
    pub took: Duration,
}

/// Boots the machine with `unit` for `suite`.
///
/// # Errors
/// QEMU cannot be run.
pub fn boot(images: &Images, suite: &Suite, unit: Unit) -> anyhow::Result<Boot> {
    let begin = Instant::now();
    let mut child = command(images, suite, unit)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{QEMU} cannot be run"))?;
    let serial = listen(child.stdout.take());
    let errors = listen(child.stderr.take());
    let end = wait(&mut child, begin + LIMIT)?;
    Ok(Boot { end, serial: text(serial), errors: text(errors), took: begin.elapsed() })
}

/// The memory is what a whole GiB at a multiple of one takes.
fn command(images: &Images, suite: &Suite, unit: Unit) -> Command {
    let remaps = if suite.remaps_interrupts { "on" } else { "off" };
    let unit_device = match unit {
        Unit::Vtd => format!("intel-iommu,intremap={remaps},aw-bits=48"),
        Unit::AmdVi => format!("amd-iommu,intremap={remaps}"),
    };
    let mut command = Command::new(QEMU);
    command.args(["-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "2200M"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
    command.arg("-smp").arg(suite.cpus.to_string());
    if suite.cpus == 1 {
        // Each instruction takes a microsecond: what waits for a device's timer does not wait long.
        command.args(["-icount", "shift=10,sleep=off"]);
    }
    // Before the devices, or they are not behind it.
    command.arg("-device").arg(unit_device);
    let disk = format!("if=none,id=disk,format=raw,snapshot=on,file={}", images.disk.display());
    command.arg("-drive").arg(disk);
    for device in DEVICES {
        command.args(["-device", device]);
    }
    command.arg("-kernel").arg(&images.hypervisor).arg("-initrd").arg(&images.guest);
    command.arg("-append").arg(format!("suite={} unit={unit}", suite.name));
    command
}

/// Reads all of a stream meanwhile.
fn listen(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is worth showing, too.
            let _ = stream.read_to_end(&mut all);
        }
        all
    })
}

fn text(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).replace('\r', "")
}

fn wait(child: &mut Child, deadline: Instant) -> anyhow::Result<End> {
    loop {
        if let Some(status) = child.try_wait()? {
            let code = status.code();
            return Ok(if code == Some(CONTENT) { End::Content } else { End::Status(code) });
        }
        if Instant::now() >= deadline {
            // It may have ended by itself just now.
            let _ = child.kill();
            child.wait()?;
            return Ok(End::TooLong);
        }
        thread::sleep(Duration::from_millis(5));
    }
}
