/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A machine in a process for embed.c: a VT-d unit that walks second-stage tables (VT-d specification 4.1,
 * section 9.8), and remembers each translation until it is told to forget it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

const struct pviommu_pci_device machine_device = { .seg = 0, .bus = 0, .devfn = 3 << 3 };

struct pviommu_unit_facts machine_facts(void)
{
    const struct pviommu_unit_facts facts = {
        .format = PVIOMMU_FORMAT_VTD,
        .features = PVIOMMU_UNIT_COHERENT | PVIOMMU_UNIT_LEVELS_4,
        .tags = 16, .bus_address_bits = 48, .host_address_bits = 46,
    };
    return facts;
}

#define FIRST_FRAME 0x1000
static uint64_t (*memory)[512];
static size_t memory_frames;

/* The entry of the one device; no root: blocked. */
static uint64_t root;
static uint32_t root_levels;
static uint16_t root_tag;

/* The translation that was used last. */
static struct { int valid; uint16_t tag; uint64_t bfn, leaf; } cached;

uint64_t machine_first_frame(uint64_t (*frames)[512], size_t count)
{
    memory = frames;
    memory_frames = count;
    return FIRST_FRAME;
}

struct pviommu_unit *machine_unit(void) { return NULL; }

static uint64_t *frame(uint64_t mfn)
{
    if (mfn - FIRST_FRAME >= memory_frames) {
        fprintf(stderr, "simulated: nothing is at frame %#llx\n", (unsigned long long)mfn);
        exit(1);
    }
    return memory[mfn - FIRST_FRAME];
}

int machine_attach(void *context, uint16_t unit, struct pviommu_pci_device source, uint64_t to,
                   uint32_t levels, uint16_t tag)
{
    (void)context, (void)unit, (void)source;
    root = to, root_levels = levels, root_tag = tag;
    return 0;
}

int machine_block(void *context, uint16_t unit, struct pviommu_pci_device source)
{
    (void)context, (void)unit, (void)source;
    root = 0;
    return 0;
}

int machine_invalidate(void *context, uint16_t unit, uint16_t tag, uint32_t what, uint64_t first,
                       uint64_t last)
{
    (void)context, (void)unit;
    int within = what == PVIOMMU_FORGET_EVERYTHING || (first <= cached.bfn && cached.bfn <= last);
    if (cached.tag == tag && within)
        cached.valid = 0;
    return 0;
}

int machine_sync_map(void *context, uint16_t unit, uint16_t tag, uint64_t first, uint64_t last)
{
    (void)context, (void)unit, (void)tag, (void)first, (void)last;
    return 0; /* It caches nothing that is not present, and has no write buffer. */
}

void machine_stop(void *context, uint16_t unit, struct pviommu_pci_device source)
{
    (void)machine_block(context, unit, source);
}

void machine_restart(void *context, uint16_t unit, struct pviommu_pci_device source)
{
    (void)context, (void)unit, (void)source;
}

/* The leaf for a bus frame: bit 0 lets read, bit 1 lets write; 0 if there is none. */
static uint64_t translate(uint64_t bfn)
{
    if (!root || bfn >> (9 * root_levels))
        return 0;
    if (cached.valid && cached.tag == root_tag && cached.bfn == bfn)
        return cached.leaf;
    uint64_t entry = root << 12 | 3;
    for (int level = (int)root_levels - 1; level >= 0 && entry & 3; level--)
        entry = frame(entry >> 12 & 0xffffffffff)[bfn >> (9 * level) & 0x1ff];
    if (entry & 3) {
        cached.valid = 1, cached.tag = root_tag, cached.bfn = bfn, cached.leaf = entry;
    }
    return entry & 3 ? entry : 0;
}

int machine_dma_write(uint64_t address, const void *from, size_t bytes)
{
    uint64_t leaf = translate(address >> 12);
    if (!(leaf & 2))
        return -1;
    memcpy((char *)frame(leaf >> 12 & 0xffffffffff) + (address & 0xfff), from, bytes);
    return 0;
}

void machine_print(const char *line) { puts(line); }

/* Nothing gets here, see pviommu.h. */
void pviommu_panic(const char *file, size_t length, uint32_t line)
{
    fprintf(stderr, "panic at %.*s:%u\n", (int)length, file, line);
    abort();
}

int main(void) { return embed(); }
