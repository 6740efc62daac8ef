/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * QEMU's q35 machine for embed.c: its VT-d or AMD-Vi unit is driven by the library, and its device `edu` (QEMU's
 * docs/specs/edu.txt) does the DMA. The image runs in memory that is mapped one to one, without interrupts.
 */
#include <string.h>

#include "../machine.h"

/* What QEMU's DMAR and IVRS say, and the capability block of its AMD-Vi unit; a hypervisor reads all that. */
#define VTD_REGISTERS 0xfed90000
#define AMDVI_REGISTERS 0xfed80000
#define AMDVI_HEADER 0x1f03000f
#define IV_INFO (1u | 40u << 8) /* extended features; 40 bits of addresses */

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4 /* QEMU exits with twice the number that is written, and one */
#define PASSED 0x10u
#define FAILED 0x11u

const struct pviommu_pci_device machine_device = { .seg = 0, .bus = 0, .devfn = 3 << 3 };

/* The driver knows. */
struct pviommu_unit_facts machine_facts(void)
{
    const struct pviommu_unit_facts none = { .tags = 0 };
    return none;
}

static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void machine_print(const char *line)
{
    while (*line)
        out8(COM1, (uint8_t)*line++);
    out8(COM1, '\n');
}

static _Noreturn void finish(uint32_t how)
{
    out32(DEBUG_EXIT, how);
    for (;;)
        __asm__ volatile("hlt");
}

void pviommu_panic(const char *file, size_t length, uint32_t line)
{
    (void)line;
    machine_print("panic in");
    for (size_t i = 0; i < length; i++)
        out8(COM1, (uint8_t)file[i]);
    finish(FAILED);
}

/* --- The device ------------------------------------------------------------------------------------------ */

static uint32_t config_address(unsigned offset)
{
    return 1u << 31 | (uint32_t)machine_device.bus << 16 | (uint32_t)machine_device.devfn << 8 | offset;
}

static uint32_t config_read(unsigned offset)
{
    out32(0xcf8, config_address(offset));
    return in32(0xcfc);
}

static void config_write(unsigned offset, uint32_t value)
{
    out32(0xcf8, config_address(offset));
    out32(0xcfc, value);
}

static void set_bus_mastering(int on)
{
    uint32_t command = config_read(4) & 0xffff;
    config_write(4, on ? command | 6 : command & ~4u); /* and memory decode */
}

static volatile uint64_t *edu(unsigned offset)
{
    return (volatile uint64_t *)(uintptr_t)((config_read(0x10) & ~0xfu) + offset);
}

/* Has it copy between a bus address and the begin of its buffer. */
static void copy(uint64_t address, size_t bytes, int to_memory)
{
    const uint64_t buffer = 0x40000;
    *edu(0x80) = to_memory ? buffer : address;
    *edu(0x88) = to_memory ? address : buffer;
    *edu(0x90) = bytes;
    *edu(0x98) = to_memory ? 3 : 1;
    while (*edu(0x98) & 1)
        __asm__ volatile("pause");
}

/* What it is to write is in its buffer before anybody translates its requests. */
static const char message[] = "written by a device";

static uint64_t (*all_frames)[512];
static size_t frame_count;

uint64_t machine_first_frame(uint64_t (*frames)[512], size_t count)
{
    all_frames = frames;
    frame_count = count;
    return (uintptr_t)frames >> 12;
}

static uint64_t sum(void)
{
    uint64_t all = 0;
    for (size_t frame = 0; frame < frame_count; frame++)
        for (size_t word = 0; word < 512; word++)
            all += ((volatile uint64_t *)all_frames[frame])[word];
    return all;
}

static struct pviommu_unit *unit;
static int records_faults;

int machine_dma_write(uint64_t address, const void *from, size_t bytes)
{
    struct pviommu_event event;
    uint64_t before = sum();
    (void)from; /* It has its own. */
    copy(address, bytes, 1);
    int landed = sum() != before, status = pviommu_unit_next_event(unit, &event);
    /* A write that is refused vanishes, and the unit has recorded it; that of AMD-Vi in QEMU 7.2 never does. */
    int refused = status == 0 && event.kind == PVIOMMU_EVENT_FAULT && event.fault.address >> 12 == address >> 12
                  && event.fault.reason == PVIOMMU_FAULT_NOT_MAPPED;
    if (records_faults && refused == landed)
        machine_print("bare: a fault was recorded and none happened, or the other way round");
    return landed ? 0 : -1;
}

/* --- The unit -------------------------------------------------------------------------------------------- */

static uint64_t now_us(void *context)
{
    uint32_t low, high;
    (void)context;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ((uint64_t)high << 32 | low) / 1000; /* QEMU counts nanoseconds */
}

static _Alignas(4096) uint64_t pages[4][512];
static _Alignas(128) unsigned char unit_memory[4096];

static struct pviommu_memory page(int number)
{
    struct pviommu_memory memory = { pages[number], (uintptr_t)pages[number] >> 12, 1 };
    return memory;
}

static int bring_up(void)
{
    static const struct pviommu_host host = { .now_us = now_us }; /* what QEMU has is coherent */
    const struct pviommu_vtd_config vtd = {
        .registers = { (void *)(uintptr_t)VTD_REGISTERS, 0x1000 },
        .root = page(0), .contexts = page(1), .queue = page(2), .status = page(3),
        .timeout_us = 1000000, .cpus = 1, .host_address_bits = 39,
    };
    const struct pviommu_amdvi_config amdvi = {
        .registers = { (void *)(uintptr_t)AMDVI_REGISTERS, 0x4000 },
        .device_table = page(0), .commands = page(1), .events = page(2), .status = page(3),
        .timeout_us = 1000000, .cpus = 1, .header = AMDVI_HEADER, .iv_info = IV_INFO,
        .quirks = PVIOMMU_AMDVI_QUIRK_TAGS_256,
    };
    int status = pviommu_vtd_bring_up(unit_memory, sizeof unit_memory, &vtd, &host, NULL, &unit);
    records_faults = status == 0;
    if (status == -PVIOMMU_ENODEV)
        status = pviommu_amdvi_bring_up(unit_memory, sizeof unit_memory, &amdvi, &host, NULL, &unit);
    return status;
}

struct pviommu_unit *machine_unit(void)
{
    set_bus_mastering(1);
    copy((uintptr_t)message, sizeof message, 0);
    if (pviommu_unit_size() > sizeof unit_memory || bring_up())
        machine_print("bare: the unit is not driven");
    return unit;
}

/* The library drives the unit; what is left is bus mastering. */
void machine_stop(void *context, uint16_t number, struct pviommu_pci_device source)
{
    (void)context, (void)number, (void)source;
    set_bus_mastering(0);
}

void machine_restart(void *context, uint16_t number, struct pviommu_pci_device source)
{
    (void)context, (void)number, (void)source;
    set_bus_mastering(1);
}

int machine_attach(void *context, uint16_t number, struct pviommu_pci_device source, uint64_t root,
                   uint32_t levels, uint16_t tag)
{
    (void)context, (void)number, (void)source, (void)root, (void)levels, (void)tag;
    return -PVIOMMU_EIO;
}

int machine_block(void *context, uint16_t number, struct pviommu_pci_device source)
{
    (void)context, (void)number, (void)source;
    return -PVIOMMU_EIO;
}

int machine_invalidate(void *context, uint16_t number, uint16_t tag, uint32_t what, uint64_t first,
                       uint64_t last)
{
    (void)context, (void)number, (void)tag, (void)what, (void)first, (void)last;
    return -PVIOMMU_EIO;
}

int machine_sync_map(void *context, uint16_t number, uint16_t tag, uint64_t first, uint64_t last)
{
    (void)context, (void)number, (void)tag, (void)first, (void)last;
    return -PVIOMMU_EIO;
}

/* --- The begin ------------------------------------------------------------------------------------------- */

extern unsigned char stack[];

/* The stack that was used, in KiB: what was never written is still 0. */
static void print_stack(void)
{
    size_t left = 0;
    while (stack[left] == 0)
        left++;
    unsigned used = (unsigned)((64 * 1024 - left + 1023) / 1024);
    char line[] = "bare: used 00 KiB of stack";
    line[11] = (char)('0' + used / 10);
    line[12] = (char)('0' + used % 10);
    machine_print(line);
}

_Noreturn void bare_main(void)
{
    int failed = embed();
    print_stack();
    finish(failed ? FAILED : PASSED);
}
