//! The paravirtual IOMMU service for hypervisors in C.
//!
//! ```text
//!  your hypervisor, in C               this crate                        the service
//! ┌──────────────────────────┐  ┌──────────────────────────────┐  ┌──────────────────────────┐
//! │ hypercall 43 ────────────┼─►│ pviommu_iommu_op ────────────┼─►│ Iommu::iommu_op          │
//! │ struct pviommu_platform ◄┼──┤ the traits, by your functions │◄─┤ platform traits          │
//! │ memory that you lend ────┼─►│ machine, domains, units      │  │                          │
//! └──────────────────────────┘  └──────────────────────────────┘  └──────────────────────────┘
//! ```
//!
//! The interface is `include/pviommu.h`, and what is to be known of it stands there. This crate is the other
//! side of that header: structures laid out as C has them, and functions that check what can be checked, make
//! of numbers what they mean, and call [`pviommu_hypervisor`]. It decides nothing, allocates nothing and has no
//! state of its own.
//!
//! From Rust it is of use to test against only, as here:
//!
//! ```
//! use pviommu_capi::{ALIGNMENT, API_VERSION, pviommu_alignment, pviommu_api_version};
//!
//! assert_eq!(pviommu_api_version(), API_VERSION);
//! assert_eq!(pviommu_alignment(), ALIGNMENT);
//! ```
//!
//! # What C promises
//!
//! That a pointer is null or points to what the header says, which stays as long as it says; that what the
//! library keeps in memory of C's is changed by the library only; and that the functions of the platform do what
//! it says of them. A pointer that is null or not aligned, an object that is none, a number that means nothing:
//! all these are `-EINVAL`.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `vtd` | on | tables of VT-d units, and their driver |
//! | `amdvi` | on | tables of AMD-Vi units, and their driver |
//! | `panic-handler` | on | without an operating system a panic calls `pviommu_panic` of the embedder |

#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(test, expect(clippy::panic, reason = "a test fails by a panic"))]

#[cfg(feature = "amdvi")]
mod amdvi;
mod calls;
mod config;
mod devices;
mod domain;
mod lent;
mod machine;
#[cfg(all(target_os = "none", feature = "panic-handler"))]
mod panic;
mod platform;
mod pointers;
mod stats;
mod status;
mod unit;
mod version;
#[cfg(all(feature = "vtd", target_arch = "x86_64"))]
mod vtd;

#[cfg(feature = "amdvi")]
pub use amdvi::{AmdViConfig, pviommu_amdvi_bring_up};
pub use calls::{
    BackedBy, Kept, KeptChange, KeptSweep, pviommu_flush_deferred, pviommu_iommu_op,
    pviommu_p2m_change_init, pviommu_p2m_changed, pviommu_reserved_device_memory_map,
    pviommu_retarget, pviommu_revoke_mmio, pviommu_set_default, pviommu_sweep_init,
    pviommu_teardown, pviommu_trim,
};
pub use config::{
    DeviceConfig, DomainConfig, DomainLimits, Facts, Faults, MachineConfig, Range, UnitConfig,
};
pub use devices::{
    FaultOf, pviommu_accept_risks, pviommu_assign, pviommu_plug, pviommu_quarantine,
    pviommu_reassign, pviommu_report_fault, pviommu_restart, pviommu_unassign, pviommu_unplug,
};
pub use domain::{
    Domain, pviommu_domain_fini, pviommu_domain_init, pviommu_domain_size, pviommu_limits_default,
    pviommu_renew_invalidations, pviommu_renew_log_lines,
};
pub use lent::{ALIGNMENT, Lent};
pub use machine::{Machine, pviommu_machine_init, pviommu_machine_size};
pub use platform::{
    Acquired, DomainRef, HostTable, InitialPiece, Operation, PlatformTable, RunOf, WantedPages,
};
pub use pointers::{In, Object, Out, Shared};
pub use stats::{
    ContextStats, DeviceStats, DomainStats, UnitStats, pviommu_context_stats, pviommu_device_stats,
    pviommu_domain_stats, pviommu_dump_line, pviommu_explain, pviommu_unit_stats,
};
pub use unit::{
    DrivenUnit, EventOf, MemoryOf, RegistersOf, pviommu_unit_crash_shutdown, pviommu_unit_facts,
    pviommu_unit_isolates_interrupts, pviommu_unit_next_event, pviommu_unit_resume,
    pviommu_unit_size, pviommu_unit_suspend,
};
pub use version::{API_VERSION, pviommu_alignment, pviommu_api_version, pviommu_runs_push};
#[cfg(all(feature = "vtd", target_arch = "x86_64"))]
pub use vtd::{VtdConfig, pviommu_vtd_bring_up};
