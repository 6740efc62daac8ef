/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A guest on the simulated machine, as programs in C see it. src/bed.rs makes it. */
#ifndef BED_H
#define BED_H

#include <stddef.h>
#include <stdint.h>

#include "pviommu.h"

struct bed {
    struct pviommu_machine *machine;
    struct pviommu_domain *domain;
    /* What the functions below are called with. */
    void *board;
    /* The guest's memory, by its physical addresses. */
    int (*guest_read)(void *board, uint64_t address, void *to, size_t bytes);
    int (*guest_write)(void *board, uint64_t address, const void *from, size_t bytes);
    /* A device of the machine reads or writes; not 0 if that is refused. */
    int (*dma_read)(void *board, struct pviommu_pci_device device, uint64_t address, void *to, size_t bytes);
    int (*dma_write)(void *board, struct pviommu_pci_device device, uint64_t address, const void *from,
                     size_t bytes);
    /* From now on calls are to give way whenever they ask, or never. */
    void (*set_busy)(void *board, int busy);
    /* Guest frames 0 to pages - 1 are RAM, scattered over the machine. */
    uint64_t pages;
    /* The guest's devices, and one that is somebody else's. */
    struct pviommu_pci_device first, second, others;
    /* What firmware needs of the second. */
    struct pviommu_range direct;
    /* Ranges of the machine, without the interrupt window. */
    uint32_t machine_ranges;
    /* The greatest bus frame. */
    uint64_t last_bfn;
    /* What was not as it should be, if anything. */
    const char *failed;
    int line;
};

/* A test, by its name. */
struct test {
    const char *name;
    void (*run)(struct bed *bed);
};

/* Ends a test in which something is not as it should be. */
#define CHECK(what)                 \
    do {                            \
        if (!(what)) {              \
            if (!bed->failed) {     \
                bed->failed = #what; \
                bed->line = __LINE__; \
            }                       \
            return;                 \
        }                           \
    } while (0)

#endif
