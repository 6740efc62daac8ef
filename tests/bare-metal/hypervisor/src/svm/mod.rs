//! Guests, by AMD's SVM with nested paging: nothing of it concerns the IOMMU, but that a guest calls.
//!
//! ```text
//!  image.rs ──► Vm: nested tables, no port and no register of the machine    vm.rs, nested.rs
//!                │
//!                ▼
//!               Vcpu: registers, run() ──► switch.rs ──► the guest           vcpu.rs, vmcb.rs
//!                │ Exit
//!                ▼
//!               serve(): hypercalls, configuration space, or the end         serve.rs, config.rs
//! ```
//!
//! Guests have no interrupts, no timer, no MSRs, and of ports those two of configuration space. A hypervisor
//! for work has all of that, and decodes what is refused instead of ending the guest.
//!
//! Source: AMD64 Architecture Programmer's Manual, volume 2 (24593 rev. 3.42), chapter 15 and appendices B
//! and C. QEMU's model has neither decode assists nor a next RIP.

pub mod config;
pub mod image;
pub mod nested;
pub mod serve;
pub mod switch;
pub mod vcpu;
pub mod vm;
mod vmcb;
