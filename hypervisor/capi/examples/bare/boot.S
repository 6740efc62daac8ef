/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From a PVH loader's 32-bit entry to C in long mode, the first 4 GiB mapped one to one: below 3 GiB cached, above
 * uncached, for registers. Sources: Xen's docs/misc/pvh.pandoc and xen/include/public/elfnote.h; Intel SDM
 * volume 3, section 9.9.
 */
    /* ELF note XEN_ELFNOTE_PHYS32_ENTRY. */
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_entry

    .section .text.boot, "ax", @progbits
    .code32
    .global pvh_entry
pvh_entry:
    cli
    cld
    movl $stack_end, %esp
    movl $level3 + 3, level4
    movl $level2 + 3, %eax
    xorl %ecx, %ecx
1:  movl %eax, level3(, %ecx, 8)
    addl $4096, %eax
    incl %ecx
    cmpl $4, %ecx
    jne 1b
    xorl %ecx, %ecx
2:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax             /* present, writable, a page of 2 MiB */
    cmpl $0x600, %ecx
    jb 3f
    orl $0x18, %eax             /* PWT, PCD */
3:  movl %eax, level2(, %ecx, 8)
    incl %ecx
    cmpl $2048, %ecx
    jne 2b

    movl %cr4, %eax
    orl $0x20, %eax             /* PAE */
    movl %eax, %cr4
    movl $level4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      /* EFER: LME */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    andl $0x9ffffffb, %eax      /* CD, NW and EM off */
    orl $0x80010003, %eax       /* PG, WP, MP, PE */
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x08, $4f
    .code64
4:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %esp, %esp
    xorl %ebp, %ebp
    call bare_main
    ud2

    .section .rodata.boot, "a", @progbits
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff    /* 0x08: code of 64 bits */
    .quad 0x00cf92000000ffff    /* 0x10: data */
gdt_pointer:
    .word 23
    .quad gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
level4: .skip 4096
level3: .skip 4096
level2: .skip 4 * 4096
    .global stack, stack_end
stack:  .skip 64 * 1024
stack_end:

    .section .note.GNU-stack, "", @progbits
