/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the Linux driver for PV-IOMMU RFC v7 is made of, as far as a hypervisor sees it: one structure for many
 * calls, counts that add up, padding that nobody has set, flags 0.
 */
#ifndef LINUX_DRIVER_H
#define LINUX_DRIVER_H

#include <string.h>

#include "bed.h"

#define PAGE 4096u
#define RW (PVIOMMU_MAP_READABLE | PVIOMMU_MAP_WRITEABLE)
/* Where arguments lie: across two pages, which are no neighbours in the machine. */
#define ARG (PAGE - 20u)
/* Where a buffer lies. */
#define BUFFER (2u * PAGE)
/* The first of the guest's pages that are mapped. */
#define FIRST 16u

static inline int again(int status, unsigned *calls)
{
    ++*calls;
    return status == PVIOMMU_CONTINUE && *calls < 10000;
}

/* A hypercall, made again for as long as it is to be continued. */
static inline int iommu_op(struct bed *bed, uint32_t subop, void *arg, size_t bytes)
{
    unsigned calls = 0;
    int status;
    if (bed->guest_write(bed->board, ARG, arg, bytes))
        return -PVIOMMU_EFAULT;
    do
        status = pviommu_iommu_op(bed->machine, bed->domain, 0, 64, subop, ARG);
    while (again(status, &calls));
    return bed->guest_read(bed->board, ARG, arg, bytes) ? -PVIOMMU_EFAULT : status;
}

static inline int query(struct bed *bed, struct pviommu_capabilities *caps)
{
    memset(caps, 0xa5, sizeof *caps);
    return iommu_op(bed, PVIOMMU_SUBOP_QUERY_CAPABILITIES, caps, sizeof *caps);
}

static inline int init(struct bed *bed, uint32_t contexts, uint32_t order)
{
    struct pviommu_init arg = { .max_ctx_no = contexts, .arena_order = order };
    return iommu_op(bed, PVIOMMU_SUBOP_INIT, &arg, sizeof arg);
}

/* The driver's probe: query, init if nobody has, query again. */
static inline int probe(struct bed *bed, struct pviommu_capabilities *caps)
{
    int status = query(bed, caps);
    if (status || caps->max_ctx_no)
        return status;
    status = init(bed, 128, 12);
    if (status && status != -PVIOMMU_EACCES)
        return status;
    return query(bed, caps);
}

static inline int alloc(struct bed *bed, uint16_t *ctx)
{
    struct pviommu_alloc_context arg;
    memset(&arg, 0xa5, sizeof arg);
    arg.alloc_flags = 0;
    int status = iommu_op(bed, PVIOMMU_SUBOP_ALLOC_CONTEXT, &arg, sizeof arg);
    *ctx = arg.ctx_no;
    return status;
}

static inline int release(struct bed *bed, uint16_t ctx)
{
    struct pviommu_free_context arg;
    memset(&arg, 0xa5, sizeof arg);
    arg.ctx_no = ctx;
    arg.free_flags = 0;
    return iommu_op(bed, PVIOMMU_SUBOP_FREE_CONTEXT, &arg, sizeof arg);
}

static inline int attach(struct bed *bed, struct pviommu_pci_device dev, uint16_t ctx)
{
    struct pviommu_reattach_device arg;
    memset(&arg, 0xa5, sizeof arg);
    arg.ctx_no = ctx;
    arg.dev = dev;
    arg.pasid = 0;
    return iommu_op(bed, PVIOMMU_SUBOP_REATTACH_DEVICE, &arg, sizeof arg);
}

static inline struct pviommu_map_pages a_map(uint16_t ctx, uint64_t gfn, uint64_t dfn, uint32_t pages)
{
    struct pviommu_map_pages arg;
    memset(&arg, 0xa5, sizeof arg);
    arg.ctx_no = ctx;
    arg.gfn = gfn;
    arg.dfn = dfn;
    arg.map_flags = RW;
    arg.pgsize = PAGE;
    arg.nr_pages = pages;
    arg.mapped = 0;
    return arg;
}

static inline int map(struct bed *bed, struct pviommu_map_pages *arg)
{
    return iommu_op(bed, PVIOMMU_SUBOP_MAP_PAGES, arg, sizeof *arg);
}

static inline struct pviommu_unmap_pages an_unmap(uint16_t ctx, uint64_t dfn, uint32_t pages)
{
    struct pviommu_unmap_pages arg;
    memset(&arg, 0xa5, sizeof arg);
    arg.ctx_no = ctx;
    arg.dfn = dfn;
    arg.pgsize = PAGE;
    arg.nr_pages = pages;
    arg.unmapped = 0;
    return arg;
}

static inline int unmap(struct bed *bed, struct pviommu_unmap_pages *arg)
{
    return iommu_op(bed, PVIOMMU_SUBOP_UNMAP_PAGES, arg, sizeof *arg);
}

/* The reserved ranges of a device: how many, then which; -PVIOMMU_E2BIG if there is no room. */
static inline int reserved(struct bed *bed, struct pviommu_pci_device dev,
                    struct pviommu_xen_reserved_device_memory *ranges, uint32_t room, uint32_t *count)
{
    struct pviommu_xen_reserved_device_memory_map arg;
    int status;
    for (*count = 0;; *count = arg.nr_entries) {
        memset(&arg, 0xa5, sizeof arg);
        arg.flags = 0;
        arg.nr_entries = *count;
        arg.buffer = *count ? BUFFER : 0;
        arg.dev = dev;
        if (bed->guest_write(bed->board, ARG, &arg, sizeof arg))
            return -PVIOMMU_EFAULT;
        status = pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 64, ARG);
        if (bed->guest_read(bed->board, ARG, &arg, sizeof arg))
            return -PVIOMMU_EFAULT;
        if (status != -PVIOMMU_ENOBUFS)
            break;
        if (arg.nr_entries > room || arg.nr_entries <= *count)
            return -PVIOMMU_E2BIG;
    }
    *count = arg.nr_entries;
    return bed->guest_read(bed->board, BUFFER, ranges, *count * sizeof *ranges) ? -PVIOMMU_EFAULT : status;
}

/* The device writes to a bus frame, and the guest finds it in its frame, or not. */
static inline int reaches(struct bed *bed, struct pviommu_pci_device dev, uint64_t dfn, uint64_t gfn)
{
    uint64_t mark = dfn << 20 ^ gfn ^ 0x5eed, found = 0;
    if (bed->dma_write(bed->board, dev, dfn * PAGE + 64, &mark, sizeof mark))
        return 0;
    return !bed->guest_read(bed->board, gfn * PAGE + 64, &found, sizeof found) && found == mark;
}

static inline int refused(struct bed *bed, struct pviommu_pci_device dev, uint64_t dfn)
{
    uint64_t mark = 0;
    return bed->dma_write(bed->board, dev, dfn * PAGE, &mark, sizeof mark) != 0;
}

/* Probes, allocates a context and attaches the first device. */
static inline int ready(struct bed *bed, uint16_t *ctx)
{
    struct pviommu_capabilities caps;
    return probe(bed, &caps) || alloc(bed, ctx) || attach(bed, bed->first, *ctx);
}

#endif
