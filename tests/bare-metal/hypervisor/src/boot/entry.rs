//! From the loader's 32-bit entry, and from a second processor's 16-bit one, to Rust in long mode.
//!
//! ```text
//!  PVH loader ─► pvh_entry: page tables ─┐
//!                                        ├─► long_mode: paging on, 64 bits ─► boot_main(start info)
//!  SIPI ─► trampoline: 16 to 32 bits ────┘                                 └► processor_main(number)
//! ```
//!
//! The first 4 GiB are mapped one to one by pages of 2 MiB: below 2.75 GiB cached, for memory; above
//! uncached (PCD and PWT), for registers, because there this machine has no memory. Memory above 4 GiB
//! is not used.
//!
//! Sources: Xen's `docs/misc/pvh.pandoc` and `xen/include/public/elfnote.h`; Intel SDM volume 3,
//! sections 9.8 (into protected mode), 9.9 (into long mode) and 8.4.4 (starting processors).
#![expect(unsafe_code, reason = "the first instructions of all are assembly")]

use core::arch::global_asm;

global_asm!(
    // ELF note XEN_ELFNOTE_PHYS32_ENTRY; loaders of 64-bit images read 8 bytes of it.
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad pvh_entry",
    ".popsection",
    //
    ".pushsection .text.boot, \"ax\", @progbits",
    ".code32",
    ".global pvh_entry",
    "pvh_entry:",
    "cli",
    "cld",
    "mov edi, ebx", // first argument: where the start info is
    "mov esi, offset boot_main",
    "mov esp, offset boot_stack_end",
    "mov eax, offset boot_level3 + 3",
    "mov [boot_level4], eax",
    "mov eax, offset boot_level2 + 3",
    "xor ecx, ecx",
    "2:",
    "mov [boot_level3 + ecx * 8], eax",
    "add eax, 4096",
    "inc ecx",
    "cmp ecx, 4",
    "jne 2b",
    "xor ecx, ecx",
    "2:",
    "mov eax, ecx",
    "shl eax, 21",
    "or eax, 0x83", // present, writable, a page of 2 MiB
    "cmp ecx, 0x580",
    "jb 3f",
    "or eax, 0x18", // from 2.75 GiB on: PWT, PCD
    "3:",
    "mov [boot_level2 + ecx * 8], eax",
    "inc ecx",
    "cmp ecx, 2048",
    "jne 2b",
    //
    // edi: the argument; esi: the function; esp: the stack.
    "long_mode:",
    "mov eax, cr4",
    "or eax, 0x20", // PAE
    "mov cr4, eax",
    "mov eax, offset boot_level4",
    "mov cr3, eax",
    "mov ecx, 0xc0000080", // EFER
    "rdmsr",
    "or eax, 0x100", // LME
    "wrmsr",
    "mov eax, cr0",
    "and eax, 0x9ffffffb", // CD, NW and EM off
    "or eax, 0x80010003",  // PG, WP, MP, PE
    "mov cr0, eax",
    "lgdt [boot_gdt_pointer]",
    ".byte 0xea", // far jump
    ".long 4f",
    ".word 0x18",
    ".code64",
    "4:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov edi, edi", // the upper halves are not defined yet
    "mov esi, esi",
    "mov esp, esp",
    "xor ebp, ebp",
    "call rsi",
    "ud2",
    //
    // A second processor begins here, at a copy of this in a page below 1 MiB. It does not matter
    // in which: everything outside of it is named by its whole address.
    ".global trampoline_start, trampoline_end",
    ".code16",
    "trampoline_start:",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    ".byte 0x66, 0x0f, 0x01, 0x16", // lgdt of a 32-bit base, from this page
    ".word 5f - trampoline_start",
    "mov eax, cr0",
    "or al, 1",
    "mov cr0, eax",
    ".byte 0x66, 0xea", // far jump of 32 bits
    ".long 6f",
    ".word 0x08",
    "5:",
    ".word 31",
    ".long boot_gdt",
    "trampoline_end:",
    ".code32",
    "6:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov esp, [processor_stack]",
    "mov edi, [processor_number]",
    "mov esi, offset processor_main",
    "jmp long_mode",
    ".code64",
    ".popsection",
    //
    ".pushsection .rodata.boot, \"a\", @progbits",
    ".balign 8",
    "boot_gdt:",
    ".quad 0",
    ".quad 0x00cf9a000000ffff", // 0x08: code of 32 bits
    ".quad 0x00cf92000000ffff", // 0x10: data
    ".quad 0x00af9a000000ffff", // 0x18: code of 64 bits
    "boot_gdt_pointer:",
    ".word 31",
    ".quad boot_gdt",
    ".popsection",
    //
    ".pushsection .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    "boot_level4: .skip 4096",
    "boot_level3: .skip 4096",
    "boot_level2: .skip 4 * 4096",
    "boot_stack: .skip 256 * 1024",
    "boot_stack_end:",
    // What the next processor to be started finds: the end of its stack, and its number.
    ".global processor_stack, processor_number",
    "processor_stack: .skip 8",
    "processor_number: .skip 8",
    ".popsection",
);
