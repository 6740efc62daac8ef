//! Structures are laid out by Rust as by C.

#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use pviommu_c_tests::layout::{Layout, of_c};
use pviommu_capi::{
    AmdViConfig, BackedBy, ContextStats, DeviceConfig, DeviceStats, DomainConfig, DomainLimits,
    DomainStats, EventOf, Facts, FaultOf, Faults, HostTable, InitialPiece, KeptChange, KeptSweep,
    MachineConfig, MemoryOf, Operation, PlatformTable, Range, RegistersOf, RunOf, UnitConfig,
    UnitStats, VtdConfig, WantedPages,
};

fn size_of_field<S, F>(_: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layouts {
    ($($kind:literal $Type:ident: $($field:ident)*;)*) => {
        vec![$(
            layout($kind, "", 0, size_of::<$Type>()),
            $(layout(
                $kind,
                stringify!($field),
                std::mem::offset_of!($Type, $field),
                size_of_field(|it: &$Type| &it.$field),
            ),)*
        )*]
    };
}

fn layout(kind: &str, field: &str, offset: usize, size: usize) -> Layout {
    Layout { kind: kind.to_owned(), field: field.to_owned(), offset, size }
}

/// In the order of the header.
fn of_rust() -> Vec<Layout> {
    layouts! {
    "pviommu_range" Range: first last;
    "pviommu_wanted" WantedPages: kind owner reserved first pages;
    "pviommu_run" RunOf: first pages kind access handle;
    "pviommu_initial_run" InitialPiece: bfns access reserved;
    "pviommu_operation" Operation: caller target owner has_device subop device;
    "pviommu_platform" PlatformTable: copy_in copy_out acquire acquire_list release gfn_of initial_map may_be_direct alloc_table free_table reserve_tables unreserve_tables alloc_scratch free_scratch table first_table publish attach block invalidate sync_map stop restart unit_failed resolve name_of get_domain put_domain should_yield allow;
    "pviommu_unit_facts" Facts: format features tags bus_address_bits host_address_bits reserved;
    "pviommu_memory" MemoryOf: words frame pages;
    "pviommu_registers" RegistersOf: base size;
    "pviommu_host" HostTable: now_us write_back device_settings;
    "pviommu_vtd_config" VtdConfig: registers root contexts queue status timeout_us cpus segment quirks host_address_bits reserved;
    "pviommu_amdvi_config" AmdViConfig: registers device_table commands events status timeout_us extended_features cpus header iv_info quirks segment ivhd_flags has_extended_features refuse_interrupts reserved;
    "pviommu_fault" FaultOf: address source access reason reserved;
    "pviommu_event" EventOf: kind code fault;
    "pviommu_unit_config" UnitConfig: driven facts;
    "pviommu_device_config" DeviceConfig: function unit flags group risks reserved functions aliases nr_reserved nr_functions nr_aliases pad;
    "pviommu_fault_rule" Faults: window_ms recorded storm;
    "pviommu_machine_config" MachineConfig: units devices reserved unreachable quarantine nr_units nr_devices nr_reserved nr_unreachable nr_cpus format levels faults;
    "pviommu_limits" DomainLimits: max_pinned_pages max_contexts max_tags max_arena_order refuse_unknown_flags reserved default_map_frames max_deferred_pages max_foreign_pages max_invalidations max_batch max_log_lines;
    "pviommu_domain_config" DomainConfig: id flags background opt_ins nr_contexts limits;
    "pviommu_backing" BackedBy: first access mmio;
    "pviommu_domain_stats" DomainStats: pinned_pages invalidations calls_put_off lost_faults unknown_flags leaked_pages leaked_tables log_lines_suppressed contexts table_frames table_frames_allowed deferred_pages foreign_pages state;
    "pviommu_unit_stats" UnitStats: commands faults tags_used tags_allowed devices assigned broken stopped state reserved;
    "pviommu_device_stats" DeviceStats: faults function unit owner home context group risks state storms;
    "pviommu_context_stats" ContextStats: aperture root levels background state edited_by kept_tables units reserved_ranges reserved;
    }
}

#[test]
fn structures_are_laid_out_as_in_c() {
    let of_c = of_c();
    // What only the library looks into has room at least.
    let opaque = |kind: &str| of_c.iter().find(|it| it.kind == kind).expect("a type").size;
    assert!(size_of::<KeptSweep>() <= opaque("pviommu_sweep"));
    assert!(size_of::<KeptChange>() <= opaque("pviommu_p2m_change"));
    let open =
        of_c.iter().filter(|it| !["pviommu_sweep", "pviommu_p2m_change"].contains(&&*it.kind));
    assert_eq!(open.cloned().collect::<Vec<_>>(), of_rust());
}
