/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The hypercall ABI of the pviommu service, for C and C++.
 *
 * Printed by abi/examples/gen_header.rs from the Rust declarations. Do not edit:
 * abi/check-header.sh fails if this file differs.
 *
 * A call is iommu_op(subop, arg): hypercall PVIOMMU_HYPERCALL_IOMMU_OP with a subop number and the
 * address of the subop's structure. It returns 0 or a negative error code; results are written into
 * the structure. On x86-64 the number of the hypercall is in rax, the arguments are in rdi and rsi,
 * and the result is in rax; rdi and rsi are clobbered (Xen public/arch-x86/xen-x86_64.h).
 *
 * All fields are little-endian. Callers are 64-bit. The number after @ is the offset of a field.
 * Structures of subops below PVIOMMU_SUBOP_BATCH are those of PV-IOMMU RFC v7, public/pv-iommu.h,
 * with their padding written out: it is ignored on input and preserved on output. Those from there
 * on begin with their size in bytes; their reserved fields must be 0, unknown flags are refused.
 */
#ifndef PVIOMMU_ABI_H
#define PVIOMMU_ABI_H

#include <stdint.h>

/* Hypercall numbers (Xen public/xen.h) and the memory operation a guest driver needs. */
/*
 * Number of iommu_op. Not assigned upstream; the value of PV-IOMMU RFC v7,
 * public/pv-iommu.h.
 */
#define PVIOMMU_HYPERCALL_IOMMU_OP                43U
/* Number of memory_op (Xen public/xen.h). */
#define PVIOMMU_HYPERCALL_MEMORY_OP               12U
/* Number of grant_table_op (Xen public/xen.h). */
#define PVIOMMU_HYPERCALL_GRANT_TABLE_OP          20U
/* The memory_op command that lists the reserved ranges of a device (Xen public/memory.h). */
#define PVIOMMU_XENMEM_RESERVED_DEVICE_MEMORY_MAP 27U

/*
 * What iommu_op is asked to do: its first argument.
 *
 * 0 to 12 are PV-IOMMU RFC v7, public/pv-iommu.h; 13 is the deferred-flush extension of it;
 * from 0x40 on they are this project's own, and a service may offer any of them or none (see
 * the capability bits). An unknown subop is -EOPNOTSUPP; a hypervisor without the service
 * answers -ENOSYS.
 */
/* Does nothing and succeeds; the argument is ignored. */
#define PVIOMMU_SUBOP_NOOP                        0U
/* Tells what the service can do. */
#define PVIOMMU_SUBOP_QUERY_CAPABILITIES          1U
/* Sets up the domain's contexts and table memory; once. */
#define PVIOMMU_SUBOP_INIT                        2U
/* Allocates an empty context. */
#define PVIOMMU_SUBOP_ALLOC_CONTEXT               3U
/* Frees a context. */
#define PVIOMMU_SUBOP_FREE_CONTEXT                4U
/* Moves a device to a context. */
#define PVIOMMU_SUBOP_REATTACH_DEVICE             5U
/* Maps a range of pages. */
#define PVIOMMU_SUBOP_MAP_PAGES                   6U
/* Unmaps a range of pages. */
#define PVIOMMU_SUBOP_UNMAP_PAGES                 7U
/* Runs one of the other subops for another domain. */
#define PVIOMMU_SUBOP_REMOTE_CMD                  8U
/* Reserved for nested contexts; -EOPNOTSUPP. */
#define PVIOMMU_SUBOP_ALLOC_NESTED                9U
/* Reserved for nested contexts; -EOPNOTSUPP. Its argument is empty. */
#define PVIOMMU_SUBOP_FLUSH_NESTED                10U
/* Reserved for PASIDs; -EOPNOTSUPP. */
#define PVIOMMU_SUBOP_ATTACH_PASID                11U
/* Reserved for PASIDs; -EOPNOTSUPP. */
#define PVIOMMU_SUBOP_DETACH_PASID                12U
/* Flushes a range that was mapped with MAP_NO_FLUSH. */
#define PVIOMMU_SUBOP_FLUSH_PAGES                 13U
/* Runs an array of operations, each with its own status. */
#define PVIOMMU_SUBOP_BATCH                       0x40U
/* Lists the ranges a guest may not map. */
#define PVIOMMU_SUBOP_QUERY_RESERVED              0x41U
/* Takes over, or gives back, the default context. */
#define PVIOMMU_SUBOP_TAKE_OWNERSHIP              0x42U
/* Tells what a BFN maps to. */
#define PVIOMMU_SUBOP_LOOKUP                      0x43U
/* Tells how a device is isolated. */
#define PVIOMMU_SUBOP_QUERY_DEVICE                0x44U
/* Drains the domain's fault records. */
#define PVIOMMU_SUBOP_READ_FAULTS                 0x45U
/* Tells aperture, page sizes and quotas. */
#define PVIOMMU_SUBOP_QUERY_LIMITS                0x46U
/* Allocates a context with a chosen background and aperture. */
#define PVIOMMU_SUBOP_ALLOC_CONTEXT_EXT           0x47U

/* Error codes (Xen public/errno.h): positive here, returned negated. */
/* Not permitted: the page, the domain or the missing opt-in forbids it. */
#define PVIOMMU_EPERM                             1
/* No such context, domain, page or mapping. */
#define PVIOMMU_ENOENT                            2
/* No such domain. */
#define PVIOMMU_ESRCH                             3
/* The hardware did not answer; what the call touched stays out of use. */
#define PVIOMMU_EIO                               5
/* No such device or address. */
#define PVIOMMU_ENXIO                             6
/* More was asked for than policy allows. */
#define PVIOMMU_E2BIG                             7
/* The device has been marked broken. */
#define PVIOMMU_EBADF                             9
/* Not now: the page is paged out or shared; ask again. */
#define PVIOMMU_EAGAIN                            11
/* No memory, or the memory granted at init is used up. */
#define PVIOMMU_ENOMEM                            12
/* Not in this state: done before, or the hypervisor maintains this map. */
#define PVIOMMU_EACCES                            13
/* A guest pointer is bad. */
#define PVIOMMU_EFAULT                            14
/* Devices are attached, or the group or the frame is in use. */
#define PVIOMMU_EBUSY                             16
/* It exists already. */
#define PVIOMMU_EEXIST                            17
/* The device cannot be assigned: the domain's state or the device's unit does not allow it. */
#define PVIOMMU_EXDEV                             18
/* No such device, or no IOMMU for this domain. */
#define PVIOMMU_ENODEV                            19
/* An argument is not valid. */
#define PVIOMMU_EINVAL                            22
/* No free context, no hardware tag left, or as many pages are held as may be. */
#define PVIOMMU_ENOSPC                            28
/* The page can only be read. */
#define PVIOMMU_EROFS                             30
/* A number is outside the domain of the operation. */
#define PVIOMMU_EDOM                              33
/* A number is out of range. */
#define PVIOMMU_ERANGE                            34
/* The operation would wait for itself. */
#define PVIOMMU_EDEADLK                           35
/* The hypervisor does not have this hypercall. */
#define PVIOMMU_ENOSYS                            38
/* A buffer is shorter than the operation needs. */
#define PVIOMMU_ENODATA                           61
/* Time is over. */
#define PVIOMMU_ETIME                             62
/* The message cannot be understood. */
#define PVIOMMU_EBADMSG                           74
/* A value does not fit its field. */
#define PVIOMMU_EOVERFLOW                         75
/* An illegal sequence. */
#define PVIOMMU_EILSEQ                            84
/* The message is too long. */
#define PVIOMMU_EMSGSIZE                          90
/* The subop, or the option asked for, is not supported. */
#define PVIOMMU_EOPNOTSUPP                        95
/* The BFN is mapped already. */
#define PVIOMMU_EADDRINUSE                        98
/* The BFN is reserved. */
#define PVIOMMU_EADDRNOTAVAIL                     99
/* The buffer is too small; the count field holds the size needed. */
#define PVIOMMU_ENOBUFS                           105
/* Connected already. */
#define PVIOMMU_EISCONN                           106
/* Not connected. */
#define PVIOMMU_ENOTCONN                          107
/* It took too long. */
#define PVIOMMU_ETIMEDOUT                         110

/* Pages. */
/* log2 of the size of the page that frame numbers count. */
#define PVIOMMU_PAGE_SHIFT                        12U
/* The size in bytes of the page that frame numbers count. */
#define PVIOMMU_PAGE_SIZE                         4096U

/*
 * A domain. Real domains are below FIRST_RESERVED; the values from there on have meanings of
 * their own (Xen public/xen.h).
 */
/* The calling domain. */
#define PVIOMMU_DOMID_SELF                        0x7ff0U
/* The owner of I/O pages, and of quarantined devices. */
#define PVIOMMU_DOMID_IO                          0x7ff1U
/* The hypervisor. */
#define PVIOMMU_DOMID_XEN                         0x7ff2U
/* The owner of pages shared copy-on-write. */
#define PVIOMMU_DOMID_COW                         0x7ff3U
/* No domain. */
#define PVIOMMU_DOMID_INVALID                     0x7ff4U
/* Any domain. */
#define PVIOMMU_DOMID_ANY                         0x7ff5U
/* The idle domain. */
#define PVIOMMU_DOMID_IDLE                        0x7fffU

/* Special contexts. */
/* The context every device of the domain starts in. */
#define PVIOMMU_DEFAULT_CONTEXT                   0U

/*
 * What a service can do: cap_flags of QUERY_CAPABILITIES. Bits 0 to 4 are PV-IOMMU RFC v7,
 * public/pv-iommu.h; bit 5 is its deferred-flush extension; bits from 16 on announce the
 * subops from 0x40 on, one each, in order.
 */
/* The default context maps the domain's memory; clear: it blocks all DMA. */
#define PVIOMMU_CAP_DEFAULT_IDENTITY              (1U << 0)
/* MAP_CACHE has an effect. */
#define PVIOMMU_CAP_CACHE                         (1U << 1)
/* ALLOC_NESTED and FLUSH_NESTED are supported. */
#define PVIOMMU_CAP_NESTED                        (1U << 2)
/* ATTACH_PASID, DETACH_PASID and pasid of REATTACH_DEVICE are supported. */
#define PVIOMMU_CAP_PASID                         (1U << 3)
/* ALLOC_IDENTITY is supported. */
#define PVIOMMU_CAP_IDENTITY                      (1U << 4)
/* MAP_NO_FLUSH and FLUSH_PAGES are supported. */
#define PVIOMMU_CAP_DEFERRED_FLUSH                (1U << 5)
/* Subop BATCH is supported. */
#define PVIOMMU_CAP_BATCH                         (1U << 16)
/* Subop QUERY_RESERVED is supported. */
#define PVIOMMU_CAP_QUERY_RESERVED                (1U << 17)
/* Subop TAKE_OWNERSHIP is supported. */
#define PVIOMMU_CAP_TAKE_OWNERSHIP                (1U << 18)
/* Subop LOOKUP is supported. */
#define PVIOMMU_CAP_LOOKUP                        (1U << 19)
/* Subop QUERY_DEVICE is supported. */
#define PVIOMMU_CAP_QUERY_DEVICE                  (1U << 20)
/* Subop READ_FAULTS is supported. */
#define PVIOMMU_CAP_READ_FAULTS                   (1U << 21)
/* Subop QUERY_LIMITS is supported. */
#define PVIOMMU_CAP_QUERY_LIMITS                  (1U << 22)
/* Subop ALLOC_CONTEXT_EXT is supported. */
#define PVIOMMU_CAP_ALLOC_CONTEXT_EXT             (1U << 23)

/* alloc_flags of ALLOC_CONTEXT (PV-IOMMU RFC v7, public/pv-iommu.h). */
/* The new context maps the domain's memory one to one. Needs the IDENTITY capability. */
#define PVIOMMU_ALLOC_IDENTITY                    (1U << 0)

/* free_flags of FREE_CONTEXT (PV-IOMMU RFC v7, public/pv-iommu.h). */
/*
 * Move the devices of the context to the default context first, instead of failing with
 * -EBUSY.
 */
#define PVIOMMU_FREE_REATTACH_DEFAULT             (1U << 0)

/*
 * map_flags of MAP_PAGES (PV-IOMMU RFC v7, public/pv-iommu.h; bit 3 its deferred-flush
 * extension). At least one of READABLE and WRITEABLE is needed.
 */
/* Devices may read the pages. */
#define PVIOMMU_MAP_READABLE                      (1U << 0)
/* Devices may write the pages. */
#define PVIOMMU_MAP_WRITEABLE                     (1U << 1)
/* DMA must be coherent with the caches of the processors. */
#define PVIOMMU_MAP_CACHE                         (1U << 2)
/*
 * Do not flush in this call: FLUSH_PAGES follows before a device uses the range. Ignored,
 * and flushed, without the DEFERRED_FLUSH capability.
 */
#define PVIOMMU_MAP_NO_FLUSH                      (1U << 3)

/* What a device may do, or tried to do. */
/* Read memory. */
#define PVIOMMU_ACCESS_READ                       (1U << 0)
/* Write memory. */
#define PVIOMMU_ACCESS_WRITE                      (1U << 1)
/* Fetch instructions. */
#define PVIOMMU_ACCESS_EXECUTE                    (1U << 2)
/* In a fault: the request was privileged. */
#define PVIOMMU_ACCESS_PRIVILEGED                 (1U << 3)

/* What a BFN that nobody mapped does. */
/* In: what the embedder chose for the domain. Never told. */
#define PVIOMMU_BACKGROUND_DEFAULT                0U
/* DMA there is blocked and recorded. */
#define PVIOMMU_BACKGROUND_FAULT                  1U
/* DMA there goes to a page of the context's own that nobody else reads. */
#define PVIOMMU_BACKGROUND_SCRATCH                2U

/* What the id of a device handle is. */
/* No device, or one the caller may not see. */
#define PVIOMMU_DEVICE_KIND_NONE                  0U
/* A PCI function: segment in bits 31 to 16, bus in 15 to 8, devfn in 7 to 0. */
#define PVIOMMU_DEVICE_KIND_PCI                   1U
/* A device without PCI: a number the embedder gives it. */
#define PVIOMMU_DEVICE_KIND_PLATFORM              2U

/* Why a range is reserved. */
/*
 * Mapped one to one in every context the device is attached to, because its firmware needs
 * it.
 */
#define PVIOMMU_RESERVED_KIND_DIRECT              1U
/* As DIRECT, but a driver that takes the device over no longer needs it: told, not enforced. */
#define PVIOMMU_RESERVED_KIND_DIRECT_RELAXABLE    2U
/* May not be used, for a reason that is not told. */
#define PVIOMMU_RESERVED_KIND_RESERVED            3U
/* Writes there are interrupts, and are not translated. */
#define PVIOMMU_RESERVED_KIND_MSI                 4U
/* A window in which software maps the doorbell of interrupts, and nothing else is mapped. */
#define PVIOMMU_RESERVED_KIND_SW_MSI              5U
/* Forwarded by a bridge below the IOMMU: DMA there reaches another device and not memory. */
#define PVIOMMU_RESERVED_KIND_BRIDGE_WINDOW       6U

/* flags of QUERY_RESERVED. */
/* Tell the ranges of device. Clear: those of context ctx_id, and device is zero. */
#define PVIOMMU_QUERY_RESERVED_DEVICE             (1U << 0)

/* What is known of a device. */
/* The service translates its DMA. Clear, as for emulated devices: it uses guest addresses. */
#define PVIOMMU_DEVICE_BEHIND_IOMMU               (1U << 0)
/* Its group has members the caller may not see. */
#define PVIOMMU_DEVICE_HIDDEN_MEMBERS             (1U << 1)
/* It and all others of its group can raise no interrupts but those they were given. */
#define PVIOMMU_DEVICE_INTERRUPTS_ISOLATED        (1U << 2)
/*
 * Other devices can send requests in its name, or reach it untranslated: those of its group.
 * Without DEVICE_HIDDEN_MEMBERS all of them are of the same domain.
 */
#define PVIOMMU_DEVICE_SHARING_RISK               (1U << 3)
/* Its DMA is coherent with the caches of the processors. */
#define PVIOMMU_DEVICE_COHERENT                   (1U << 4)
/*
 * It was stopped, because it faulted without end or because its group has changed: it does
 * no DMA until whoever drives the machine starts it again.
 */
#define PVIOMMU_DEVICE_STOPPED                    (1U << 5)

/* What an element of a batch does. Pages are of 4 KiB. */
/* Maps nr guest frames from page on at nr BFNs from bfn on. */
#define PVIOMMU_BATCH_OP_MAP                      1U
/* Unmaps nr BFNs from bfn on. */
#define PVIOMMU_BATCH_OP_UNMAP                    2U
/* Maps the nr guest frames listed at address page, an array of u64, at nr BFNs from bfn on. */
#define PVIOMMU_BATCH_OP_MAP_LIST                 3U
/*
 * Maps the page that domain owner granted with reference page at bfn. nr is 1. The grant is
 * in use until the flush after its unmap; the hypervisor may take the mapping out before, if
 * the granter is gone.
 */
#define PVIOMMU_BATCH_OP_MAP_GRANT                4U
/*
 * Flushes nr BFNs from bfn on; nr 0: the whole context, and bfn is 0. When it is finished,
 * no device reaches what was unmapped there, and its pages are given back.
 */
#define PVIOMMU_BATCH_OP_FLUSH                    5U
/* Tells what bfn maps to: writes page and the access bits of flags. nr is 1. */
#define PVIOMMU_BATCH_OP_LOOKUP                   6U

/* flags of a batch. */
/*
 * Run all elements, whatever the status of those before. Clear: stop after the first that
 * fails.
 */
#define PVIOMMU_BATCH_RUN_ALL                     (1U << 0)

/* flags of an element. */
/* Map: devices may read. Lookup, out: they may. */
#define PVIOMMU_ELEM_READ                         (1U << 0)
/* Map: devices may write. Lookup, out: they may. */
#define PVIOMMU_ELEM_WRITE                        (1U << 1)
/* Map: DMA must be coherent with the caches of the processors. */
#define PVIOMMU_ELEM_CACHE                        (1U << 2)
/*
 * Map: do not flush in this call. Unmap: the flush may come later, within the bounds that
 * QUERY_LIMITS tells; the pages stay referenced until it has.
 */
#define PVIOMMU_ELEM_NO_FLUSH                     (1U << 3)
/* Map: devices may not fetch instructions. */
#define PVIOMMU_ELEM_NOEXEC                       (1U << 4)
/* Map: the pages are registers of a device, not memory. */
#define PVIOMMU_ELEM_MMIO                         (1U << 5)
/* Map: only privileged requests may use the pages. */
#define PVIOMMU_ELEM_PRIVILEGED                   (1U << 6)
/*
 * Unmap: a BFN without a mapping is passed over instead of -ENOENT. Without NO_FLUSH, what
 * was unmapped there before and waits for its flush is flushed, too.
 */
#define PVIOMMU_ELEM_SKIP_HOLES                   (1U << 7)

/* The form of the ownership switch of context 0. */
/*
 * Start from the background, as a native IOMMU driver does: a new table with nothing but
 * reserved ranges takes the place of the initial map as a whole.
 */
#define PVIOMMU_OWNERSHIP_CLEAR                   1U
/*
 * The initial entries stay until the guest maps over them or unmaps them; none of them
 * counts as a conflict.
 */
#define PVIOMMU_OWNERSHIP_KEEP                    2U
/*
 * The initial map comes back, what the guest mapped goes away, and the guest can edit
 * nothing until it takes over again; for the next kernel.
 */
#define PVIOMMU_OWNERSHIP_GIVE_BACK               3U

/* Who made an entry. */
/* The map that was set up at creation and then left alone. */
#define PVIOMMU_ORIGIN_INITIAL                    1U
/* The hypervisor, which keeps it in step with the domain's memory. */
#define PVIOMMU_ORIGIN_MAINTAINED                 2U
/* The guest. */
#define PVIOMMU_ORIGIN_GUEST                      3U
/* A reserved range. */
#define PVIOMMU_ORIGIN_RESERVED                   4U

/* Which results of LOOKUP are there. */
/* gfn is known. Clear where the embedder keeps no table from machine frames to guest frames. */
#define PVIOMMU_LOOKUP_RESULT_GFN                 (1U << 0)
/* mfn is told, because the caller may see it. */
#define PVIOMMU_LOOKUP_RESULT_MFN                 (1U << 1)
/* The page is registers of a device. */
#define PVIOMMU_LOOKUP_RESULT_MMIO                (1U << 2)
/* The page is another domain's: a grant or a foreign mapping. */
#define PVIOMMU_LOOKUP_RESULT_FOREIGN             (1U << 3)

/* Why a request of a device was refused. */
/* Another reason, or one the hardware does not tell. */
#define PVIOMMU_FAULT_OTHER                       0U
/* Nothing is mapped at the address. */
#define PVIOMMU_FAULT_NOT_MAPPED                  1U
/* The mapping does not allow to read. */
#define PVIOMMU_FAULT_READ_DENIED                 2U
/* The mapping does not allow to write. */
#define PVIOMMU_FAULT_WRITE_DENIED                3U
/* The address is above what the context can translate. */
#define PVIOMMU_FAULT_ABOVE_APERTURE              4U
/* The device is attached to no context. */
#define PVIOMMU_FAULT_BLOCKED                     5U
/* The request came as already translated, which is never allowed. */
#define PVIOMMU_FAULT_TRANSLATED_REQUEST          6U
/*
 * Nothing was refused: the scratch page of the context was written, and what was written is
 * lost. Told once.
 */
#define PVIOMMU_FAULT_SCRATCH_WRITTEN             7U
/* The hardware could not read its own tables. */
#define PVIOMMU_FAULT_TABLE_ERROR                 8U
/* The request was an interrupt the device may not raise. */
#define PVIOMMU_FAULT_INTERRUPT_DENIED            9U

/* State of a domain and a context. */
/*
 * The hypervisor maintains the domain's default context, so the guest can neither edit it
 * nor take it over, ever.
 */
#define PVIOMMU_LIMIT_NEED_IOMMU                  (1U << 0)
/*
 * A map flushes before it returns, because the hardware caches what is not mapped or because
 * there is a scratch page: batches are worth while.
 */
#define PVIOMMU_LIMIT_MAP_FLUSHES                 (1U << 1)
/*
 * The guest owns the default context, and edits it: after TAKE_OWNERSHIP, until it gives it
 * back.
 */
#define PVIOMMU_LIMIT_OWNED                       (1U << 2)

/* Flags of other hypercalls (Xen public/memory.h, public/grant_table.h). */
/* In flags of XenReservedDeviceMemoryMap: the ranges of all devices, not of one. */
#define PVIOMMU_XENMEM_RDM_ALL                    1U
/* Map flag of grant_table_op: map the grant for devices too. */
#define PVIOMMU_GNTMAP_DEVICE_MAP                 1U

/*
 * A PCI function as the guest numbers it (Xen public/physdev.h, physdev_pci_device).
 *
 * 4 bytes.
 */
struct pviommu_pci_device {
    /* @0: Segment, also called PCI domain. */
    uint16_t seg;
    /* @2: Bus. */
    uint8_t bus;
    /* @3: Device in bits 7 to 3, function in bits 2 to 0. */
    uint8_t devfn;
};

/*
 * Argument of QUERY_CAPABILITIES: what the service can do for the calling domain.
 *
 * Errors: -ENODEV: the domain has no IOMMU, or may not use the service.
 *
 * PVIOMMU_SUBOP_QUERY_CAPABILITIES; 24 bytes.
 */
struct pviommu_capabilities {
    /*
     * @0: Out: the greatest byte address a device can use, and so max_iova_addr >> 12 the
     * greatest BFN.
     */
    uint64_t max_iova_addr;
    /* @8: Out: what is supported. */
    uint32_t cap_flags;
    /* @12: Out: page sizes, in bytes, one bit each. Bit 12 (4 KiB) is always set. */
    uint32_t pgsize_mask;
    /* @16: Out: the greatest PASID; 0 without PASID support. */
    uint32_t max_pasid;
    /*
     * @20: Out: how many contexts beside the default one can be allocated in all; 0 before
     * INIT.
     */
    uint16_t max_ctx_no;
    /* @22: Padding; the hypervisor writes 0. */
    uint8_t pad0[2];
};

/*
 * Argument of INIT: sets up the domain's contexts and the memory for their tables. Once per
 * domain.
 *
 * Errors: -EACCES: done before. -E2BIG: more contexts than policy allows. -ENOMEM: no
 * memory, or an arena greater than policy allows.
 *
 * PVIOMMU_SUBOP_INIT; 8 bytes.
 */
struct pviommu_init {
    /* @0: In: how many contexts beside the default one, below 0xffffffff. */
    uint32_t max_ctx_no;
    /* @4: In: log2 of the number of 4 KiB frames set aside for tables; 0: none. */
    uint32_t arena_order;
};

/*
 * Argument of ALLOC_CONTEXT: a new context with nothing mapped.
 *
 * Errors: -ENOSPC: none is free, or INIT was not called. -EOPNOTSUPP: a flag without its
 * capability.
 *
 * PVIOMMU_SUBOP_ALLOC_CONTEXT; 8 bytes.
 */
struct pviommu_alloc_context {
    /* @0: Out: the context, never 0. */
    uint16_t ctx_no;
    /* @2: Padding. */
    uint8_t pad0[2];
    /* @4: In: properties of the context. */
    uint32_t alloc_flags;
};

/*
 * Argument of FREE_CONTEXT: unmaps all of a context and gives it back.
 *
 * Errors: -EINVAL: context 0. -ENOENT: no such context. -EBUSY: devices are attached, and
 * the flag to move them is not set.
 *
 * PVIOMMU_SUBOP_FREE_CONTEXT; 8 bytes.
 */
struct pviommu_free_context {
    /* @0: In: the context, not 0. */
    uint16_t ctx_no;
    /* @2: Padding. */
    uint8_t pad0[2];
    /* @4: In: what to do with attached devices. */
    uint32_t free_flags;
};

/*
 * Argument of REATTACH_DEVICE: moves a device, and whatever shares its requester id, to a
 * context.
 *
 * Errors: -ENODEV: not a device of the domain. -ENOENT: no such context. -EINVAL: the
 * context is being freed. -EADDRINUSE: a direct range of the device is mapped to something
 * else there. -EPERM: the device is not isolated well enough, and nobody opted in. -ENOSPC:
 * the hardware has no tag left, or the domain has as many as it may. -EIO: the hardware did
 * not answer.
 *
 * PVIOMMU_SUBOP_REATTACH_DEVICE; 12 bytes.
 */
struct pviommu_reattach_device {
    /* @0: In: the context to move to; 0 is the default context. */
    uint16_t ctx_no;
    /* @2: In: the device, as the guest numbers it. */
    struct pviommu_pci_device dev;
    /* @6: Padding. */
    uint8_t pad0[2];
    /* @8: In: ignored without the PASID capability. */
    uint32_t pasid;
};

/*
 * Argument of REMOTE_CMD: runs another subop, of numbers 0 to 13, for another domain.
 *
 * Errors: -EPERM: the caller may not. -ENOENT: no such domain. -EINVAL: the inner subop is
 * REMOTE_CMD. Otherwise what the inner subop answers.
 *
 * PVIOMMU_SUBOP_REMOTE_CMD; 16 bytes.
 */
struct pviommu_remote_cmd {
    /* @0: In: the domain to act for. */
    uint16_t domid;
    /* @2: In: the inner subop. */
    uint16_t subop;
    /* @4: Padding. */
    uint8_t pad0[4];
    /* @8: In: address of the inner argument, in the caller's memory. */
    uint64_t arg;
};

/*
 * Argument of MAP_PAGES: maps consecutive guest frames at consecutive BFNs.
 *
 * Stops at the first error; what was mapped before stays. mapped is added to, so that a
 * caller can issue many calls with one structure and read the sum.
 *
 * Errors: -EINVAL: context 0 or unknown, no permission bit, bad pgsize, or the range wraps
 * or leaves the aperture. -EADDRNOTAVAIL: a BFN is reserved. -EADDRINUSE: a BFN is mapped.
 * -ENOENT: no page behind a GFN. -EPERM: not the caller's page, or its type forbids the
 * access. -ENOMEM: no memory for tables. -ENOSPC: as many pages are held as the domain may
 * hold. -EBUSY: the page is mapped too often. -EIO: the hardware did not answer.
 *
 * PVIOMMU_SUBOP_MAP_PAGES; 40 bytes.
 */
struct pviommu_map_pages {
    /* @0: In: the context, not 0. */
    uint16_t ctx_no;
    /* @2: Padding. */
    uint8_t pad0[6];
    /* @8: In, updated: the first guest frame. */
    uint64_t gfn;
    /* @16: In, updated: the first bus frame. */
    uint64_t dfn;
    /* @24: In: what devices may do; at least one of readable and writeable. */
    uint32_t map_flags;
    /*
     * @28: In: bytes that one of nr_pages covers, a single bit of pgsize_mask; 0 is taken
     * for 4096.
     */
    uint32_t pgsize;
    /* @32: In, updated: how many pages of pgsize; 0 maps nothing and succeeds. */
    uint32_t nr_pages;
    /* @36: In and out: the number of pages of pgsize mapped is added to it. */
    uint32_t mapped;
};

/*
 * Argument of UNMAP_PAGES: takes mappings away, and returns when no device can use them.
 *
 * Stops at the first error; what was unmapped before stays so. unmapped is added to.
 *
 * Errors: -EINVAL: context 0 or unknown, bad pgsize, or the range wraps or leaves the
 * aperture. -EADDRNOTAVAIL: a BFN is reserved. -ENOENT: a BFN has no mapping. -EIO: the
 * hardware did not answer.
 *
 * PVIOMMU_SUBOP_UNMAP_PAGES; 32 bytes.
 */
struct pviommu_unmap_pages {
    /* @0: In: the context, not 0. */
    uint16_t ctx_no;
    /* @2: Padding. */
    uint8_t pad0[6];
    /* @8: In, updated: the first bus frame. */
    uint64_t dfn;
    /*
     * @16: In: bytes that one of nr_pages covers, a single bit of pgsize_mask; 0 is taken
     * for 4096.
     */
    uint32_t pgsize;
    /* @20: In, updated: how many pages of pgsize; 0 does nothing and succeeds. */
    uint32_t nr_pages;
    /* @24: In and out: the number of pages of pgsize unmapped is added to it. */
    uint32_t unmapped;
    /* @28: Padding. */
    uint8_t pad1[4];
};

/*
 * Argument of FLUSH_PAGES: makes mappings made with MAP_NO_FLUSH visible to devices, and
 * flushes what was unmapped there to be flushed later (ELEM_NO_FLUSH). Needs the
 * DEFERRED_FLUSH capability.
 *
 * Errors: -EOPNOTSUPP: without the capability. -EINVAL: as for UNMAP_PAGES. -EIO: the
 * hardware did not answer.
 *
 * PVIOMMU_SUBOP_FLUSH_PAGES; 24 bytes.
 */
struct pviommu_flush_pages {
    /* @0: In: the context, not 0. */
    uint16_t ctx_no;
    /* @2: Padding. */
    uint8_t pad0[6];
    /* @8: In: the first bus frame. */
    uint64_t dfn;
    /*
     * @16: In: bytes that one of nr_pages covers, a single bit of pgsize_mask; 0 is taken
     * for 4096.
     */
    uint32_t pgsize;
    /* @20: In: how many pages of pgsize. */
    uint32_t nr_pages;
};

/*
 * Argument of ALLOC_NESTED. Not served: -EOPNOTSUPP.
 *
 * PVIOMMU_SUBOP_ALLOC_NESTED; 24 bytes.
 */
struct pviommu_alloc_nested {
    /* @0: Out: the context. */
    uint16_t ctx_no;
    /* @2: Padding. */
    uint8_t pad0[6];
    /* @8: In: the guest frame of the root of the guest's own table. */
    uint64_t pgtable_gfn;
    /* @16: In: no bit is defined. */
    uint64_t nested_flags;
};

/*
 * Argument of ATTACH_PASID. Not served: -EOPNOTSUPP.
 *
 * PVIOMMU_SUBOP_ATTACH_PASID; 12 bytes.
 */
struct pviommu_attach_pasid {
    /* @0: In: the context. */
    uint16_t ctx_no;
    /* @2: In: the device, as the guest numbers it. */
    struct pviommu_pci_device dev;
    /* @6: Padding. */
    uint8_t pad0[2];
    /* @8: In: the PASID, not 0. */
    uint32_t pasid;
};

/*
 * Argument of DETACH_PASID. Not served: -EOPNOTSUPP.
 *
 * PVIOMMU_SUBOP_DETACH_PASID; 8 bytes.
 */
struct pviommu_detach_pasid {
    /* @0: In: the device, as the guest numbers it. */
    struct pviommu_pci_device dev;
    /* @4: In: the PASID, not 0. */
    uint32_t pasid;
};

/*
 * A device as the guest names it; the hypervisor knows which one of the machine that is.
 *
 * 16 bytes.
 */
struct pviommu_device_handle {
    /* @0: What id is. */
    uint32_t kind;
    /* @4: Must be 0; kept for a PASID. */
    uint32_t pasid;
    /* @8: The device. */
    uint64_t id;
};

/*
 * One reserved range.
 *
 * 32 bytes.
 */
struct pviommu_reserved_range {
    /* @0: Out: the first BFN. */
    uint64_t first;
    /* @8: Out: the last BFN, not below first. */
    uint64_t last;
    /* @16: Out: why. */
    uint32_t kind;
    /* @20: Out: what devices may do there. */
    uint32_t access;
    /* @24: Out: 0. */
    uint64_t reserved;
};

/*
 * Argument of QUERY_RESERVED: the BFNs a guest may not map, and those it is told about.
 *
 * Of a context: those of the machine, and of each device attached to it. Of a device: those
 * of a context that it alone is attached to. They come in ascending order of first, and of
 * last where that is the same; those of different kinds or devices may overlap.
 *
 * To learn the number, call with nr_entries 0: unless there are none, the answer is
 * -ENOBUFS. It can change when a device is attached.
 *
 * Errors: -ENOBUFS: nr_entries holds the number needed, and the buffer as many as fit, the
 * first ones. -ENOENT: no such context. -ENODEV: no such device. -EINVAL: a bad elem_size;
 * or one of ctx_id and device is not asked for, and not 0.
 *
 * PVIOMMU_SUBOP_QUERY_RESERVED; 48 bytes.
 */
struct pviommu_query_reserved {
    /* @0: In: the caller's size of this structure, 48. */
    uint32_t size;
    /* @4: In: of what. */
    uint32_t flags;
    /* @8: In: the context, without QUERY_RESERVED_DEVICE; else 0. */
    uint32_t ctx_id;
    /* @12: In: the domain acted for. */
    uint16_t domid;
    /* @14: Must be 0. */
    uint16_t reserved;
    /* @16: In: the device, with QUERY_RESERVED_DEVICE; else all 0. */
    struct pviommu_device_handle device;
    /*
     * @32: In: how many entries the buffer holds. Out: how many there are, also if more than
     * fit.
     */
    uint32_t nr_entries;
    /* @36: In: the size of an entry, 32. */
    uint32_t elem_size;
    /* @40: In: address of an array of ReservedRange; not used if nr_entries is 0. */
    uint64_t entries;
};

/*
 * Argument of QUERY_DEVICE: how a device is isolated.
 *
 * Errors: -ENODEV: no such device, or none of the domain's. -EINVAL: a pasid in the handle.
 *
 * PVIOMMU_SUBOP_QUERY_DEVICE; 64 bytes.
 */
struct pviommu_query_device {
    /* @0: In: the caller's size of this structure, 64. */
    uint32_t size;
    /* @4: In: no bit is defined. */
    uint32_t flags;
    /* @8: In: the domain acted for. */
    uint16_t domid;
    /* @10: Must be 0. */
    uint16_t reserved0;
    /* @12: Must be 0. */
    uint32_t reserved1;
    /* @16: In: the device. */
    struct pviommu_device_handle device;
    /*
     * @32: Out: its group, the smallest set the IOMMU can isolate, which is given to a
     * domain whole. Only good for comparing, and only with DEVICE_BEHIND_IOMMU; else 0, as
     * are the next one and ctx_id.
     */
    uint64_t group;
    /*
     * @40: Out: the devices with the same number move between contexts together: they can
     * share a requester id, or the hypervisor wants all of a group in one context. Only good
     * for comparing.
     */
    uint64_t moves_with;
    /* @48: Out: what is known of it. */
    uint32_t state;
    /* @52: Out: the context it is attached to. */
    uint32_t ctx_id;
    /* @56: Must be 0. */
    uint64_t reserved2;
};

/*
 * Argument of BATCH.
 *
 * Returns 0 if the array was run to its end or to the first element that failed; how each
 * element went is in its status.
 *
 * An owner other than the domain acted for matters to elements that map only: MAP_GRANT maps
 * what it granted to the domain acted for; MAP and MAP_LIST map its guest frames, for the
 * hardware domain only.
 *
 * Errors: -EINVAL: nr_done above nr_ops, a bad elem_size, an unknown context. -E2BIG: more
 * elements than QUERY_LIMITS allows. -EACCES: context 0, and the guest does not own it:
 * TAKE_OWNERSHIP first, which LIMIT_NEED_IOMMU rules out. -EIO: a flush failed, and the
 * elements it was for say so; or a unit behind the context had failed before, and nothing
 * was done.
 *
 * PVIOMMU_SUBOP_BATCH; 40 bytes.
 */
struct pviommu_batch {
    /* @0: In: the caller's size of this structure, 40. */
    uint32_t size;
    /* @4: In: how to run. */
    uint32_t flags;
    /* @8: In: the context all elements act on. */
    uint32_t ctx_id;
    /* @12: In: the domain acted for. */
    uint16_t domid;
    /* @14: In: whose pages or grants are mapped: DOMID_SELF for pages of domid. */
    uint16_t owner;
    /* @16: In: how many elements there are. */
    uint32_t nr_ops;
    /*
     * @20: In: with how many elements to begin finished, 0 at first. Out: how many are
     * finished.
     */
    uint32_t nr_done;
    /* @24: In: the size of an element, 32. */
    uint32_t elem_size;
    /* @28: Must be 0. */
    uint32_t reserved;
    /* @32: In: address of the array of elements. */
    uint64_t ops;
};

/*
 * One operation of a batch.
 *
 * Errors: In status: -EOPNOTSUPP: unknown op, or ELEM_PRIVILEGED where the hardware does not
 * tell privileged requests from others. -EINVAL: unknown or missing flags, a bad nr, a range
 * that wraps or leaves the aperture. -EADDRNOTAVAIL: a BFN is reserved. -EADDRINUSE: a BFN
 * is mapped, and not only by the initial map. -ENOENT: nothing is mapped there, or nothing
 * is behind the guest frame or the grant. -EPERM: not a page or a grant that owner lets the
 * caller map so: another owner with MAP or MAP_LIST and not for the hardware domain, a grant
 * to another domain, WRITE for what may only be read. -EAGAIN: the page is paged out or
 * shared; repeat. -ENOMEM: no memory for tables. -ENOSPC: as many pages held, or grants and
 * foreign mappings, as QUERY_LIMITS allows. -EBUSY: the page is mapped too often. -EFAULT: a
 * bad list. -EIO: the hardware did not answer; what the element was for may be in any state.
 *
 * 32 bytes.
 */
struct pviommu_batch_element {
    /* @0: In: what to do. */
    uint16_t op;
    /* @2: In: how. Out for LOOKUP: the access. */
    uint16_t flags;
    /* @4: Out: 0 or a negative error code. */
    int32_t status;
    /* @8: In: the first bus frame. */
    uint64_t bfn;
    /*
     * @16: In: the first guest frame, the grant reference, or the address of a list, as op
     * says; 0 for UNMAP, FLUSH and LOOKUP. Out for LOOKUP: the guest frame, all ones if it
     * is not known.
     */
    uint64_t page;
    /* @24: In: how many pages. */
    uint32_t nr;
    /*
     * @28: Out: how many pages are done, with SKIP_HOLES those passed over included. In for
     * MAP, UNMAP and MAP_LIST with the number nr_done: how many were, 0 at first.
     */
    uint32_t done;
};

/*
 * Argument of TAKE_OWNERSHIP: the default context changes hands, between the map the
 * hypervisor set up and the guest's own. Until then the guest can look it up and not edit
 * it: v7's subops answer -EINVAL, BATCH -EACCES. From then on it is a context like any
 * other.
 *
 * At each moment every DMA is translated by one map or the other, and reserved ranges are
 * mapped in both. A call for the state that is reached already succeeds and changes nothing:
 * the guest owns the context, after CLEAR and after KEEP, or it does not. A guest that may
 * have inherited mappings gives back first, then takes over. A call that was interrupted is
 * finished by the next one, whatever its form.
 *
 * Errors: -EACCES: the hypervisor maintains the map (LIMIT_NEED_IOMMU), and always will.
 * -EINVAL: unknown mode, or a background other than BACKGROUND_DEFAULT with a mode that is
 * not CLEAR. -EOPNOTSUPP: no such background here. -ENOMEM, and for GIVE_BACK -EAGAIN or
 * -EBUSY (a page is paged out, or held too often): the new map cannot be built; the old one
 * stays. -EADDRINUSE: what the firmware of two devices needs cannot be in one map; the old
 * one stays. -ENOSPC: no hardware tag left; the old one stays. -EIO: the hardware did not
 * answer; a device may use either map, or none.
 *
 * PVIOMMU_SUBOP_TAKE_OWNERSHIP; 24 bytes.
 */
struct pviommu_take_ownership {
    /* @0: In: the caller's size of this structure, 24. */
    uint32_t size;
    /* @4: In: no bit is defined. */
    uint32_t flags;
    /* @8: In: the domain acted for. */
    uint16_t domid;
    /* @10: Must be 0. */
    uint16_t reserved0;
    /* @12: In: the form of the switch. */
    uint32_t mode;
    /* @16: In, with CLEAR: what unmapped BFNs do from now on. */
    uint32_t background;
    /* @20: Must be 0. */
    uint32_t reserved1;
};

/*
 * Argument of ALLOC_CONTEXT_EXT: a new context with a chosen background and aperture.
 *
 * Errors: -ENOSPC: no context is free, or INIT was not called. -EINVAL: a size that does not
 * reach over ctx_id, an aperture that is empty or wider than QUERY_LIMITS tells.
 * -EOPNOTSUPP: a non-zero parent or format, or no such background here. -ENOMEM: no memory
 * for its tables.
 *
 * PVIOMMU_SUBOP_ALLOC_CONTEXT_EXT; 48 bytes.
 */
struct pviommu_alloc_context_ext {
    /* @0: In: the caller's size of this structure, 48. */
    uint32_t size;
    /* @4: In: no bit is defined. */
    uint32_t flags;
    /* @8: In: the domain acted for. */
    uint16_t domid;
    /* @10: Must be 0. */
    uint16_t reserved0;
    /* @12: In: what unmapped BFNs do. */
    uint32_t background;
    /* @16: In: the first BFN that may be mapped. */
    uint64_t aperture_first;
    /* @24: In: the last BFN that may be mapped; with 0 in both, the widest the service has. */
    uint64_t aperture_last;
    /* @32: Out: the context, never 0. */
    uint32_t ctx_id;
    /* @36: Must be 0; kept for the context a nested one stands on. */
    uint32_t parent;
    /* @40: Must be 0; kept for the format of a table the guest owns. */
    uint32_t format;
    /* @44: Must be 0. */
    uint32_t reserved1;
};

/*
 * Argument of LOOKUP: what a BFN maps to.
 *
 * Errors: -ENOENT: no such context, or only the background is there. -EINVAL: outside the
 * aperture.
 *
 * PVIOMMU_SUBOP_LOOKUP; 56 bytes.
 */
struct pviommu_lookup {
    /* @0: In: the caller's size of this structure, 56. */
    uint32_t size;
    /* @4: In: no bit is defined. */
    uint32_t flags;
    /* @8: In: the context. */
    uint32_t ctx_id;
    /* @12: In: the domain acted for. */
    uint16_t domid;
    /* @14: Must be 0. */
    uint16_t reserved;
    /* @16: In: the bus frame. */
    uint64_t bfn;
    /* @24: Out: the guest frame behind it, with LOOKUP_RESULT_GFN. */
    uint64_t gfn;
    /* @32: Out: the machine frame behind it, with LOOKUP_RESULT_MFN; else 0. */
    uint64_t mfn;
    /* @40: Out: what devices may do. */
    uint32_t access;
    /* @44: Out: who made the entry. */
    uint32_t origin;
    /* @48: Out: log2 of the number of 4 KiB pages that the entry covers. */
    uint32_t order;
    /* @52: Out: which of the results are there. */
    uint32_t result;
};

/*
 * One fault, or several alike.
 *
 * 56 bytes.
 */
struct pviommu_fault_record {
    /* @0: Out: the device. */
    struct pviommu_device_handle device;
    /* @16: Out: the byte address it asked for. */
    uint64_t address;
    /* @24: Out: the number of the record; a gap in the sequence is a record lost. */
    uint64_t sequence;
    /* @32: Out: the context it was attached to. */
    uint32_t ctx_id;
    /* @36: Out: why. */
    uint32_t reason;
    /* @40: Out: what it tried to do. */
    uint32_t access;
    /* @44: Out: how many faults the record stands for, at least 1; stays at its maximum. */
    uint32_t count;
    /* @48: Out: 0. */
    uint64_t reserved;
};

/*
 * Argument of READ_FAULTS: takes the oldest fault records of the domain out of its ring.
 *
 * Errors: -EINVAL: a bad elem_size. Nothing to read is no error: nr_records is 0.
 *
 * PVIOMMU_SUBOP_READ_FAULTS; 40 bytes.
 */
struct pviommu_read_faults {
    /* @0: In: the caller's size of this structure, 40. */
    uint32_t size;
    /* @4: In: no bit is defined. */
    uint32_t flags;
    /* @8: In: the domain acted for. */
    uint16_t domid;
    /* @10: Must be 0. */
    uint16_t reserved0;
    /* @12: In: how many records the buffer holds. Out: how many were written. */
    uint32_t nr_records;
    /* @16: In: the size of a record, 56. */
    uint32_t elem_size;
    /* @20: Must be 0. */
    uint32_t reserved1;
    /* @24: Out: how many records were lost since the last call because the ring was full. */
    uint64_t lost;
    /* @32: In: address of an array of FaultRecord. */
    uint64_t records;
};

/*
 * Argument of QUERY_LIMITS. Quotas are of the domain; the other results are of context
 * ctx_id.
 *
 * Errors: -ENOENT: no such context.
 *
 * PVIOMMU_SUBOP_QUERY_LIMITS; 128 bytes.
 */
struct pviommu_query_limits {
    /* @0: In: the caller's size of this structure, 128. */
    uint32_t size;
    /* @4: In: no bit is defined. */
    uint32_t flags;
    /* @8: In: the context. */
    uint32_t ctx_id;
    /* @12: In: the domain acted for. */
    uint16_t domid;
    /* @14: Must be 0. */
    uint16_t reserved0;
    /* @16: Out: the first BFN that can be mapped. */
    uint64_t aperture_first;
    /* @24: Out: the last BFN that can be mapped. */
    uint64_t aperture_last;
    /* @32: Out: the sizes of pages the hardware can use, in bytes, one bit each. */
    uint64_t page_sizes;
    /* @40: Out: the state. */
    uint32_t state;
    /* @44: Out: what unmapped BFNs do. */
    uint32_t background;
    /* @48: Out: contexts in use beside the default one. */
    uint32_t contexts_used;
    /* @52: Out: contexts allowed beside the default one. */
    uint32_t contexts_allowed;
    /* @56: Out: 4 KiB frames in use for tables. */
    uint64_t table_frames_used;
    /* @64: Out: 4 KiB frames allowed for tables. */
    uint64_t table_frames_allowed;
    /*
     * @72: Out: pages held by mappings, each as often as it is mapped; while other calls go
     * on it may be a little more than that.
     */
    uint64_t pinned_pages_used;
    /* @80: Out: pages that may be held so; all ones: there is no bound. One more is -ENOSPC. */
    uint64_t pinned_pages_allowed;
    /*
     * @88: Out: pages unmapped with NO_FLUSH that wait for a flush, or to be given back
     * after it.
     */
    uint64_t deferred_pages_used;
    /* @96: Out: pages that may wait so; the next one flushes. 0: unmapping always flushes. */
    uint64_t deferred_pages_allowed;
    /*
     * @104: Out: mappings of grants and of other domains' pages, in all contexts; also of
     * guest frames that are one themselves.
     */
    uint32_t foreign_used;
    /* @108: Out: such mappings allowed. One more is -ENOSPC. */
    uint32_t foreign_allowed;
    /* @112: Out: the most elements of a batch. */
    uint32_t max_batch_ops;
    /* @116: Out: the most pages of one element of a batch. */
    uint32_t max_element_pages;
    /*
     * @120: Out: contexts beside the default one that have devices behind the same unit, of
     * the unit where it is most of them.
     */
    uint32_t tags_used;
    /* @124: Out: how many may. Moving a device to one more is -ENOSPC. */
    uint32_t tags_allowed;
};

/*
 * One range of reserved device memory (Xen public/memory.h, xen_reserved_device_memory).
 *
 * 16 bytes.
 */
struct pviommu_xen_reserved_device_memory {
    /* @0: Out: the first frame. */
    uint64_t start_pfn;
    /* @8: Out: how many frames of 4 KiB. */
    uint64_t nr_pages;
};

/*
 * Argument of XENMEM_RESERVED_DEVICE_MEMORY_MAP (Xen public/memory.h,
 * xen_reserved_device_memory_map).
 *
 * The call answers 0 if all ranges fit the buffer. To learn the number, call with nr_entries
 * 0.
 *
 * Errors: -ENOBUFS: nr_entries holds the number needed. (The comment in Xen's header says
 * -ERANGE; its code answers -ENOBUFS.) -EINVAL: unknown bits in flags.
 *
 * 24 bytes.
 */
struct pviommu_xen_reserved_device_memory_map {
    /* @0: In: 0 or XENMEM_RDM_ALL. */
    uint32_t flags;
    /* @4: In: how many entries the buffer holds. Out: how many there are. */
    uint32_t nr_entries;
    /* @8: In: address of an array of XenReservedDeviceMemory. */
    uint64_t buffer;
    /* @16: In: the device, without XENMEM_RDM_ALL. */
    struct pviommu_pci_device dev;
    /* @20: Padding. */
    uint8_t pad0[4];
};

/* A compiler that lays the structures out differently stops here. */
typedef char pviommu_check_pci_device
    [sizeof(struct pviommu_pci_device) == 4 ? 1 : -1];
typedef char pviommu_check_capabilities
    [sizeof(struct pviommu_capabilities) == 24 ? 1 : -1];
typedef char pviommu_check_init
    [sizeof(struct pviommu_init) == 8 ? 1 : -1];
typedef char pviommu_check_alloc_context
    [sizeof(struct pviommu_alloc_context) == 8 ? 1 : -1];
typedef char pviommu_check_free_context
    [sizeof(struct pviommu_free_context) == 8 ? 1 : -1];
typedef char pviommu_check_reattach_device
    [sizeof(struct pviommu_reattach_device) == 12 ? 1 : -1];
typedef char pviommu_check_remote_cmd
    [sizeof(struct pviommu_remote_cmd) == 16 ? 1 : -1];
typedef char pviommu_check_map_pages
    [sizeof(struct pviommu_map_pages) == 40 ? 1 : -1];
typedef char pviommu_check_unmap_pages
    [sizeof(struct pviommu_unmap_pages) == 32 ? 1 : -1];
typedef char pviommu_check_flush_pages
    [sizeof(struct pviommu_flush_pages) == 24 ? 1 : -1];
typedef char pviommu_check_alloc_nested
    [sizeof(struct pviommu_alloc_nested) == 24 ? 1 : -1];
typedef char pviommu_check_attach_pasid
    [sizeof(struct pviommu_attach_pasid) == 12 ? 1 : -1];
typedef char pviommu_check_detach_pasid
    [sizeof(struct pviommu_detach_pasid) == 8 ? 1 : -1];
typedef char pviommu_check_device_handle
    [sizeof(struct pviommu_device_handle) == 16 ? 1 : -1];
typedef char pviommu_check_reserved_range
    [sizeof(struct pviommu_reserved_range) == 32 ? 1 : -1];
typedef char pviommu_check_query_reserved
    [sizeof(struct pviommu_query_reserved) == 48 ? 1 : -1];
typedef char pviommu_check_query_device
    [sizeof(struct pviommu_query_device) == 64 ? 1 : -1];
typedef char pviommu_check_batch
    [sizeof(struct pviommu_batch) == 40 ? 1 : -1];
typedef char pviommu_check_batch_element
    [sizeof(struct pviommu_batch_element) == 32 ? 1 : -1];
typedef char pviommu_check_take_ownership
    [sizeof(struct pviommu_take_ownership) == 24 ? 1 : -1];
typedef char pviommu_check_alloc_context_ext
    [sizeof(struct pviommu_alloc_context_ext) == 48 ? 1 : -1];
typedef char pviommu_check_lookup
    [sizeof(struct pviommu_lookup) == 56 ? 1 : -1];
typedef char pviommu_check_fault_record
    [sizeof(struct pviommu_fault_record) == 56 ? 1 : -1];
typedef char pviommu_check_read_faults
    [sizeof(struct pviommu_read_faults) == 40 ? 1 : -1];
typedef char pviommu_check_query_limits
    [sizeof(struct pviommu_query_limits) == 128 ? 1 : -1];
typedef char pviommu_check_xen_reserved_device_memory
    [sizeof(struct pviommu_xen_reserved_device_memory) == 16 ? 1 : -1];
typedef char pviommu_check_xen_reserved_device_memory_map
    [sizeof(struct pviommu_xen_reserved_device_memory_map) == 24 ? 1 : -1];

#endif /* PVIOMMU_ABI_H */
