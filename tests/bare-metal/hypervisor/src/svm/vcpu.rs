//! A virtual processor: where it begins, and why it was left.

use super::{
    switch::{Enabled, Registers},
    vm::Vm,
    vmcb::{self, Vmcb},
};
use crate::machine::frames::FREE;

/// INTR, NMI, INIT, RDPMC, HLT, INVLPGA, ports, registers, SHUTDOWN.
const INTERCEPTS: u32 = 1 | 1 << 1 | 1 << 3 | 1 << 15 | 1 << 24 | 0b111 << 26 | 1 << 31;
/// VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT; WBINVD, MONITOR, MWAIT, MWAIT when armed, XSETBV.
const MORE_INTERCEPTS: u32 = 0x7f | 0x1f << 9;
/// Physical interrupts stay the host's, which has none.
const MASK_INTERRUPTS: u64 = 1 << 24;
/// Everything is thrown out of the TLB at the next entry.
const FLUSH_ALL: u64 = 1 << 32;
const ASID: u64 = 1;

/// Where and with what a guest's processor begins, in long mode.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its first instruction.
    pub rip: u64,
    /// Its level 4 page table.
    pub cr3: u64,
    /// Its first three arguments: rdi, rsi, rdx.
    pub arguments: [u64; 3],
}

/// Why a guest was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It executed VMMCALL.
    Hypercall,
    /// It reads 32 bits, or writes them, at a port.
    Port {
        /// Which.
        port: u16,
        /// What it writes; `None` if it reads.
        write: Option<u32>,
    },
    /// It executed HLT.
    Halt,
    /// It touched an address that is not mapped, or not for that.
    NestedFault {
        /// The address.
        address: u64,
        /// Bit 1: it wrote; bit 4: it fetched.
        error: u64,
    },
    /// It can do nothing any longer: an exception within exceptions.
    Shutdown,
    /// Something else, by its code.
    Other(u64),
}

/// A virtual processor.
#[derive(Debug)]
pub struct Vcpu<'vm> {
    vmcb: Vmcb,
    registers: Registers,
    /// What it runs in stays for as long.
    _vm: &'vm Vm,
}

impl<'vm> Vcpu<'vm> {
    /// A processor of `vm`; `None` without memory.
    pub fn new(vm: &'vm Vm, start: Start) -> Option<Self> {
        /// A flat segment: limit of 4 GiB, present; for code long mode, too.
        const DATA: u64 = 0xffff_ffff_0c93_0010;
        const CODE: u64 = 0xffff_ffff_0a9b_0008;
        /// SVME, which has to be on, LMA and LME.
        const EFER: u64 = 1 << 12 | 1 << 10 | 1 << 8;
        /// PG, WP, NE, ET, PE.
        const CR0: u64 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1;
        const PAE: u64 = 1 << 5;
        let vmcb = Vmcb::new(FREE.alloc(1, 1)?);
        vmcb.set32(vmcb::INTERCEPTS, INTERCEPTS);
        vmcb.set32(vmcb::MORE_INTERCEPTS, MORE_INTERCEPTS);
        let fields = [
            (vmcb::PORT_MAP, vm.port_map()),
            (vmcb::REGISTER_MAP, vm.register_map()),
            (vmcb::ASID, ASID | FLUSH_ALL),
            (vmcb::INTERRUPTS, MASK_INTERRUPTS),
            (vmcb::NESTED, 1),
            (vmcb::NESTED_ROOT, vm.nested.root()),
            (vmcb::CS, CODE),
            (vmcb::SS, DATA),
            (vmcb::DS, DATA),
            (vmcb::ES, DATA),
            (vmcb::EFER, EFER),
            (vmcb::CR0, CR0),
            (vmcb::CR3, start.cr3),
            (vmcb::CR4, PAE),
            (vmcb::DR6, 0xffff_0ff0),
            (vmcb::DR7, 0x400),
            (vmcb::RFLAGS, 2),
            (vmcb::RIP, start.rip),
            (vmcb::PAT, 0x0007_0406_0007_0406),
        ];
        fields.iter().for_each(|(field, value)| vmcb.set(*field, *value));
        let [rdi, rsi, rdx] = start.arguments;
        let registers = Registers { rdi, rsi, rdx, ..Registers::default() };
        Some(Self { vmcb, registers, _vm: vm })
    }

    /// Runs it on this processor until it is left.
    pub fn run(&mut self, processor: &Enabled) -> Exit {
        processor.run(&self.vmcb, &mut self.registers);
        // Its tables do not change while it runs, so nothing stale is in the TLB from here on.
        self.vmcb.set(vmcb::ASID, ASID);
        self.exit()
    }

    fn exit(&self) -> Exit {
        let info = self.vmcb.get(vmcb::EXIT_INFO_1);
        match self.vmcb.get(vmcb::EXIT_CODE) {
            0x78 => Exit::Halt,
            // Bit 0: in; 2 and 3: of strings; 4 to 6: one, two, four bytes.
            0x7b if info & 0x7c == 0x40 => {
                let write = (info & 1 == 0).then(|| self.rax() as u32);
                Exit::Port { port: (info >> 16) as u16, write }
            }
            0x7f => Exit::Shutdown,
            0x81 => Exit::Hypercall,
            0x400 => Exit::NestedFault { address: self.vmcb.get(vmcb::EXIT_INFO_2), error: info },
            code => Exit::Other(code),
        }
    }

    /// The number of a hypercall, and its result.
    pub fn rax(&self) -> u64 {
        self.vmcb.get(vmcb::RAX)
    }

    /// The first three arguments of a hypercall.
    pub const fn arguments(&self) -> [u64; 3] {
        [self.registers.rdi, self.registers.rsi, self.registers.rdx]
    }

    /// Where it is.
    pub fn rip(&self) -> u64 {
        self.vmcb.get(vmcb::RIP)
    }

    /// Answers a hypercall and goes on behind it. Without this, it is executed again.
    pub fn answer(&mut self, result: i64) {
        /// Bytes of VMMCALL, which nothing tells here.
        const LENGTH: u64 = 3;
        self.vmcb.set(vmcb::RAX, result as u64);
        self.vmcb.set(vmcb::RIP, self.rip().wrapping_add(LENGTH));
    }

    /// Goes on behind an access to a port, with what was read.
    pub fn answer_port(&mut self, read: Option<u32>) {
        if let Some(value) = read {
            self.vmcb.set(vmcb::RAX, u64::from(value));
        }
        // The address of the next instruction (15.10.2).
        self.vmcb.set(vmcb::RIP, self.vmcb.get(vmcb::EXIT_INFO_2));
    }
}

impl Drop for Vcpu<'_> {
    fn drop(&mut self) {
        FREE.free(self.vmcb.frame(), 1);
    }
}
