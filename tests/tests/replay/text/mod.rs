//! Traces written as text, for tests.

pub(crate) mod corners;

use pviommu_hypervisor::Background;
use pviommu_testbed::replay::{Mode, Options, Summary, Units, run};
use pviommu_testbed::trace::{Trace, TraceError};

/// The first line of every trace.
pub(crate) const FIRST: &str = "# IOMMU trace of a real Linux kernel, format 1\n";

/// A machine with 4 GiB and two functions without reserved ranges of their own.
pub(crate) const HEADER: &str = "\
# IOMMU trace of a real Linux kernel, format 1
# name: synthetic
# what: written for a test
# ram: 00000000-ffffffff : System RAM
# pci: 0000:00:01.0 0x1b36:0x0010 class 0x010802 driver nvme group 1 type DMA
# pci: 0000:00:02.0 0x1af4:0x1042 class 0x010000 driver  group 2 type DMA
# group: 1 DMA | 0000:00:01.0  | 0x00000000fee00000 0x00000000feefffff msi;
# group: 2 DMA | 0000:00:02.0  | 0x00000000fee00000 0x00000000feefffff msi;
";

/// Reads the lines of `text` as a trace called `test`.
pub(crate) fn parse(text: &str) -> Result<Trace, TraceError> {
    Trace::read("test", text.as_bytes())
}

/// Events, one a line, after `header`; each gets a time and a CPU in front.
pub(crate) fn trace(header: &str, events: &str) -> Trace {
    let mut text = header.to_owned();
    for (time, event) in events.lines().map(str::trim).filter(|e| !e.is_empty()).enumerate() {
        text.push_str(&format!("{time} {} {event}\n", time % 3));
    }
    parse(&text).unwrap()
}

/// Replays `events` on the machine of [`HEADER`].
pub(crate) fn replay(events: &str) -> Summary {
    replay_with(HEADER, events)
}

/// Replays `events` on the machine of `header`.
pub(crate) fn replay_with(header: &str, events: &str) -> Summary {
    run(&trace(header, events), &Options::default(), &mut |_| ()).unwrap()
}

/// The same, where nothing may go wrong.
pub(crate) fn replay_clean(events: &str) -> Summary {
    replay_as(&Options::default(), events)
}

/// Replays `events` in a chosen way, where nothing may go wrong.
pub(crate) fn replay_as(options: &Options, events: &str) -> Summary {
    let summary = run(&trace(HEADER, events), options, &mut |_| ()).unwrap();
    assert!(summary.is_clean(), "{options:?}: {summary}");
    summary
}

/// Every way to replay a trace: backgrounds, batches, when unmaps are flushed, units.
pub(crate) fn every_way() -> Vec<Options> {
    let mut ways = Vec::new();
    for background in [Background::Scratch, Background::Fault] {
        for batch in [1, 16, 128] {
            for mode in [Mode::Strict, Mode::Lazy] {
                for units in Units::ALL {
                    let rest = Options::default();
                    ways.push(Options { background, batch, mode, units, ..rest });
                }
            }
        }
    }
    ways
}

/// The bundled trace whose name begins with `start`.
pub(crate) fn bundled(start: &str) -> Trace {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let matches = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
    };
    Trace::open(&files.find(matches).expect("a trace of that name")).unwrap()
}

/// The names of the bundled traces.
pub(crate) const BUNDLED: [&str; 7] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6"];
