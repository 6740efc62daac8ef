/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine below embed.c: an IOMMU, and one device that does DMA. There are three: simulated.c, which is a
 * program to run; bare/, which is real to the image that QEMU starts; and the project's testbed.
 */
#ifndef EMBED_MACHINE_H
#define EMBED_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "pviommu.h"

/* Tells where the embedder's frames are, once; the number of the first one. */
uint64_t machine_first_frame(uint64_t (*frames)[512], size_t count);

/* The IOMMU, if the library drives it; NULL: it can do what `machine_facts` says, and is driven by what follows. */
struct pviommu_unit *machine_unit(void);
struct pviommu_unit_facts machine_facts(void);

int machine_attach(void *context, uint16_t unit, struct pviommu_pci_device source, uint64_t root,
                   uint32_t levels, uint16_t tag);
int machine_block(void *context, uint16_t unit, struct pviommu_pci_device source);
int machine_invalidate(void *context, uint16_t unit, uint16_t tag, uint32_t what, uint64_t first,
                       uint64_t last);
int machine_sync_map(void *context, uint16_t unit, uint16_t tag, uint64_t first, uint64_t last);
void machine_stop(void *context, uint16_t unit, struct pviommu_pci_device source);
void machine_restart(void *context, uint16_t unit, struct pviommu_pci_device source);

/* The device writes to a bus address, within a page; not 0 if it was refused. */
extern const struct pviommu_pci_device machine_device;
int machine_dma_write(uint64_t address, const void *from, size_t bytes);

/* Writes a line. */
void machine_print(const char *line);

/* The example. 0 if all went as it should. */
int embed(void);

#endif
