//! A summary for people.

use std::fmt;

use super::Summary;
use crate::replay::options::Level;

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<22}{value}")
}

/// A row that is left out if there is none.
fn some(f: &mut fmt::Formatter<'_>, name: &str, count: u64, unit: &str) -> fmt::Result {
    if count == 0 { Ok(()) } else { row(f, name, format_args!("{count}{unit}")) }
}

impl Summary {
    fn is_of_dma(&self) -> bool {
        self.level == Level::Dma.name()
    }

    /// The hypercalls, as they are counted at level `iommu`.
    fn calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = format!("{} ({:.3} per operation", self.hypercalls, self.hypercalls_per_op);
        if self.batches == 0 {
            return row(f, "hypercalls", format_args!("{calls})"));
        }
        let Self { batches, batch_elements, largest_batch, .. } = self;
        let elements = *batch_elements as f64 / *batches as f64;
        let of = format!("{batches} of them batches of {elements:.1}, at most {largest_batch}");
        row(f, "hypercalls", format_args!("{calls}; {of})"))
    }

    /// The same at level `dma`.
    fn calls_of_dma(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dma_maps, dma_unmaps, map_batches, unmaps, .. } = self;
        row(f, "DMA API", format_args!("{dma_maps} maps, {dma_unmaps} unmaps"))?;
        row(f, "P, U of the trace", format_args!("{map_batches}, {unmaps}"))?;
        let Self { hypercalls, hypercalls_per_p, map_hypercalls, hypercalls_set_up, .. } = self;
        let calls = format!("{hypercalls} ({hypercalls_per_p:.3} per P; {map_hypercalls} map)");
        row(f, "hypercalls", format_args!("{calls}, and {hypercalls_set_up} to set up"))?;
        if self.reuse > 0 {
            let hits = self.reuse_hits as f64 * 100.0 / (*dma_maps).max(1) as f64;
            row(f, "mappings kept", format_args!("at most {} a device", self.reuse))?;
            row(f, "mapped again", format_args!("{} ({hits:.1} % of the maps)", self.reuse_hits))?;
        }
        Ok(())
    }

    fn flushes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_dma() {
            let Self { iotlb_flushes, map_flushes, unmaps_per_flush, .. } = self;
            let mut of = format!("{map_flushes} of maps");
            if iotlb_flushes > map_flushes {
                of.push_str(&format!("; {unmaps_per_flush:.1} unmaps for each other"));
            }
            return row(f, "IOTLB flushes", format_args!("{iotlb_flushes} ({of})"));
        }
        row(f, "IOTLB flushes", self.iotlb_flushes)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = format!("{} ({} maps, {} unmaps)", self.ops, self.maps, self.unmaps);
        row(f, "operations", operations)?;
        row(f, "background", self.background)?;
        row(f, "unmaps", self.mode)?;
        if self.is_of_dma() {
            self.calls_of_dma(f)?
        } else {
            self.calls(f)?
        }
        some(f, "of another domain", self.shared, " mappings")?;
        row(f, "devices, contexts", format_args!("{}, {}", self.devices, self.contexts))?;
        row(f, "DMA accesses checked", self.dma_checked)?;
        row(f, "mismatches", self.mismatches)?;
        let faults = format!("{} unexpected, {} expected", self.faults, self.faults_expected);
        row(f, "faults", faults)?;
        some(f, "scratch page hit", self.scratch_hits, " times")?;
        some(f, "hit before the flush", self.stale_hits, " times")?;
        self.flushes(f)?;
        row(f, "page references", format_args!("{} taken and given back", self.page_references))?;
        row(f, "peak live maps", self.peak_live_maps)?;
        row(f, "peak table frames", self.table_frames_peak)?;
        let leaks = format!("{} references, {} table frames", self.leaked_refs, self.leaked_frames);
        row(f, "leaked", leaks)?;
        some(f, "refused, reserved", self.refused_reserved, "")?;
        some(f, "oddities of the trace", self.oddities, "")?;
        row(f, "time in the service", format_args!("{:.0} ns per operation", self.ns_per_op))?;
        for finding in &self.findings {
            writeln!(f, "  ! {finding}")?;
        }
        let verdict = match (self.is_clean(), self.dma_checked, self.scratch_hits) {
            (true, 0, _) => "nothing went wrong, and there was nothing to check by DMA",
            (true, _, 0) => {
                "every access that must succeed moved the right bytes, all others faulted"
            }
            (true, ..) => {
                "every access that must succeed moved the right bytes, no other reached memory"
            }
            (false, ..) => "NOT as it must be",
        };
        write!(f, "{}: {verdict}", self.name)
    }
}
