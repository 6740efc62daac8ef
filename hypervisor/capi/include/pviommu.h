/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A paravirtual IOMMU service for a hypervisor in C.
 *
 *  guest                      your hypervisor                           machine
 * +----------+  iommu_op   +-------------------------------+  MMIO   +------------+
 * | driver   | ----------> | hypercall handler             |         | IOMMU unit |
 * |          |             |   v                           | ------> | walks the  |
 * |          | <---------- | pviommu_iommu_op (library)    |         | tables     |
 * +----------+   status    |   v                           |         +-----^------+
 *                          | struct pviommu_platform (you) |               | DMA
 *                          +-------------------------------+         +-----+------+
 *                                                                    | device     |
 *                                                                    +------------+
 *
 * A guest with a passed-through device asks to map a bus frame (BFN) to one of its pages. The library checks
 * the request as hostile, takes a reference on the page by your `acquire`, puts the translation into a table
 * in the unit's own format, and gives the reference back by your `release` only after the flush that follows
 * the unmap.
 *
 * In four steps (hypervisor/capi/examples/embed.c does all of them in one file):
 *
 *  1. Fill in a struct pviommu_platform: functions for guest memory, ownership of pages, memory for page
 *     tables, names. They get back the `void *context` that you choose.
 *  2. For each IOMMU either have the library drive it (pviommu_vtd_bring_up, pviommu_amdvi_bring_up), or
 *     fill in `attach`, `block`, `invalidate`, `sync_map`, `stop` and `restart`, too.
 *  3. Ask pviommu_machine_size and pviommu_domain_size how much memory objects take, lend it, and make them
 *     with pviommu_machine_init and pviommu_domain_init.
 *  4. Give devices to domains (pviommu_assign) and call pviommu_iommu_op from your hypercall table.
 *
 * RULES, for all functions unless one says otherwise
 *
 *  Results     0, or a negative error code (-PVIOMMU_EINVAL, ...; pviommu_abi.h has the values, which are
 *              Xen's). Calls that may be long return PVIOMMU_CONTINUE, too: call again with the same
 *              arguments after whatever is due. A call always makes progress.
 *  Pointers    Null, misaligned, and what is no object of this kind, or not any more, are
 *              -PVIOMMU_EINVAL; as is a number that means nothing. Other bad pointers are bugs.
 *  Memory      Nothing is allocated and there is no global state. Objects live in memory that you lend, aligned
 *              to pviommu_alignment() bytes; it must stay where it is. Configurations are copied: arrays that
 *              they point to may go after the call.
 *  CPUs        `cpu` is the number of the calling CPU, below `nr_cpus`. Two calls with one number take turns,
 *              so an interrupt handler must not use the number of the CPU it interrupted. All functions may be
 *              called on any number of CPUs at the same time.
 *  Callbacks   They may be called on any CPU and at the same time, must return, and must not call this
 *              library (but pviommu_runs_push). Those marked [locked] may be called while the library holds
 *              locks of its own: they take no lock that is held around a call of the library. In all others
 *              you may take any one lock of yours, such as that of a P2M.
 *  Stack       16 KiB, of which the library takes some 4 KiB for a hypercall and leaves the rest to your
 *              callbacks; for the functions whose names end in _init, 32 KiB.
 *  Frames      All frames are of 4 KiB and named by number (address >> 12): a BFN is the bus's, a GFN the
 *              guest's, an MFN the machine's. Ranges name their first and their last frame.
 *
 * LINKING
 *
 *  cargo rustc -p pviommu-capi --lib --crate-type staticlib --release --target x86_64-unknown-none
 *
 *  makes libpviommu_capi.a: no red zone, no floating point or vector registers, position independent. All
 *  that it defines for you begins with pviommu_. It needs nothing of you: memcpy, memmove, memset, memcmp
 *  and bcmp come with it as weak symbols, and yours take precedence. Only if it is built without link-time
 *  optimisation, one symbol is left undefined: pviommu_panic.
 */
#ifndef PVIOMMU_H
#define PVIOMMU_H

#include <stddef.h>
#include <stdint.h>

#include "pviommu_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * [optional] Yours: ends the machine, because the library has found itself broken. Must not return.
 * `file`, `length` bytes without a NUL, and `line` say where. Nothing that a guest does gets here.
 */
void pviommu_panic(const char *file, size_t length, uint32_t line);

/* The version of this header. The library is of the same, or does not fit: compare at the start. */
#define PVIOMMU_API_VERSION 1U
uint32_t pviommu_api_version(void);

/* The alignment, in bytes, of memory that is lent for objects. */
size_t pviommu_alignment(void);

/* A call that is not done: make it again. */
#define PVIOMMU_CONTINUE 1

/* Objects. What they are is the library's business. */
struct pviommu_machine;
struct pviommu_domain;
struct pviommu_unit;
struct pviommu_runs;

/* Frames `first` to `last`, both included. */
struct pviommu_range {
    uint64_t first;
    uint64_t last;
};

/* ---------------------------------------------------------------------------------------------------------
 * The platform: what you provide
 * --------------------------------------------------------------------------------------------------------- */

/* The pages that a map asks for. */
struct pviommu_wanted {
#define PVIOMMU_WANTED_GUEST 0U /* guest frames of `owner` */
#define PVIOMMU_WANTED_GRANT 1U /* the page that `owner` granted to the domain that maps */
    uint32_t kind;
    /* Whose. Another one than the domain that maps is asked for on behalf of the hardware domain only. */
    uint16_t owner;
    uint16_t reserved;
    /* The first guest frame, or the number of the grant as the guest wrote it. */
    uint64_t first;
    uint64_t pages;
};

/* Machine frames that follow each other and were acquired alike. */
struct pviommu_run {
    uint64_t first;
    uint64_t pages; /* one at least */
#define PVIOMMU_PAGE_RAM     0U /* a reference is held until `release` */
#define PVIOMMU_PAGE_MMIO    1U /* registers of a device the domain may use: nothing is held or released */
#define PVIOMMU_PAGE_FOREIGN 2U /* another domain's, by a grant or a foreign mapping: that is pinned */
    uint32_t kind;
    uint32_t access; /* PVIOMMU_ACCESS_READ and _WRITE: at most what was asked for */
    uint64_t handle; /* of PVIOMMU_PAGE_FOREIGN: your name for what is pinned, not UINT64_MAX */
};

/*
 * Appends a run to what `acquire` or `acquire_list` has acquired; to be called in these only. -PVIOMMU_ENOBUFS:
 * the list is full, and nothing was appended: give its references back and return 0.
 * -PVIOMMU_EINVAL: it is more than was asked for.
 */
int pviommu_runs_push(struct pviommu_runs *runs, const struct pviommu_run *run);

/* A piece of the map that a domain starts with. */
struct pviommu_initial_run {
    struct pviommu_range bfns;
    uint32_t access; /* PVIOMMU_ACCESS_READ and _WRITE, one at least */
    uint32_t reserved;
};

/* What a caller is about to do. */
struct pviommu_operation {
    uint16_t caller;
    uint16_t target;     /* whose contexts it is about */
    uint16_t owner;      /* whose pages are to be mapped, if not the target's; else PVIOMMU_DOMID_INVALID */
    uint16_t has_device; /* 1 if `device` is one */
    uint32_t subop;      /* PVIOMMU_SUBOP_* */
    struct pviommu_pci_device device; /* as the machine names it */
};

/*
 * Your functions; each is called with your context first. Where nothing else is said, an int is 0
 * for yes or done, and a negative error code for no; and a function without the mark [optional]
 * must be there.
 */
struct pviommu_platform {
    /* --- The memory of guests: arguments of hypercalls. --- */

    /*
     * Copies `bytes` bytes at address `from` of the domain's memory to `to`; copy_out the other
     * way. Not 0 if any byte cannot be copied.
     */
    int (*copy_in)(void *context, uint16_t domain, uint64_t from, void *to, size_t bytes);
    int (*copy_out)(void *context, uint16_t domain, uint64_t to, const void *from, size_t bytes);

    /* --- Pages: who owns one, and the reference that keeps it. --- */

    /*
     * Acquires the pages `wanted` for `domain`, from the first on, and appends their frames to
     * `runs` in order. Stops without an error when that is full.
     *
     * YOU PROMISE that owner check, type check and reference are one step; that a frame is neither
     * given to anybody else nor loses a type that permits `access` before it is released; that
     * memory of the hypervisor and page tables are never acquired for writing; and that what may
     * only be read is never acquired for writing.
     *
     * Why the page after those appended could not be acquired: -PVIOMMU_ENOENT: nothing backs it.
     * -PVIOMMU_EPERM: the domain may not use it so. -PVIOMMU_EAGAIN: it is paged out or shared just
     * now. -PVIOMMU_EBUSY: its reference count would overflow. Those appended stay acquired.
     */
    int (*acquire)(void *context, uint16_t domain, const struct pviommu_wanted *wanted, uint32_t access,
                   struct pviommu_runs *runs);

    /*
     * [optional] The same for the `count` guest frames `gfns` of `owner`, in their order, which need not follow each
     * other and may be named twice; at most 256. Without it `acquire` is called for each stretch that follows on.
     */
    int (*acquire_list)(void *context, uint16_t domain, uint16_t owner, const uint64_t *gfns, size_t count,
                        uint32_t access, struct pviommu_runs *runs);

    /*
     * Gives back one reference on each frame of `run`: one that was appended, a part of one, or
     * several joined. No device and no cache can reach them by it any more. Never of
     * PVIOMMU_PAGE_MMIO.
     */
    void (*release)(void *context, uint16_t domain, const struct pviommu_run *run);

    /* [optional] The guest frame of `domain` that `mfn` backs. */
    int (*gfn_of)(void *context, uint16_t domain, uint64_t mfn, uint64_t *gfn);

    /*
     * [optional] The first piece of the map that `domain` starts with at or after bus frame `from`;
     * it may begin before. Of a host map: frames the hardware domain may reach for as long as it
     * lives. Of a guest map: guest frames that are backed. -PVIOMMU_ENOENT: there is no more.
     */
    int (*initial_map)(void *context, uint16_t domain, uint64_t from, struct pviommu_initial_run *run);

    /*
     * [optional] Not 0 (true) if no frame of these is memory of the hypervisor or of a domain, now
     * or later: what a device's firmware uses is mapped one to one wherever the device is. Without
     * it no device may need direct ranges.
     */
    int (*may_be_direct)(void *context, uint64_t first, uint64_t last);

    /* --- Memory for page tables, charged to a domain. --- */

    /*
     * Stores the number of a zeroed frame in `*mfn`. YOU PROMISE that nobody else is given it or
     * writes it until it is freed. From the pool of reserved frames it always succeeds while one is
     * left.
     */
#define PVIOMMU_POOL_OPEN     0U /* what is free */
#define PVIOMMU_POOL_RESERVED 1U /* what was put aside by reserve_tables */
    int (*alloc_table)(void *context, uint16_t domain, uint32_t pool, uint64_t *mfn);
    /* Takes it back; of the reserved pool it counts as reserved again. No unit can walk it any more. */
    void (*free_table)(void *context, uint16_t domain, uint64_t mfn, uint32_t pool);
    /* [optional] Puts frames aside, all or none. Without it only leaves of 4 KiB are formed by themselves. */
    int (*reserve_tables)(void *context, uint16_t domain, uint32_t frames);
    /* Gives reserved frames up that were not allocated. With reserve_tables only. */
    void (*unreserve_tables)(void *context, uint16_t domain, uint32_t frames);
    /* [optional] A zeroed frame that devices of the domain may use as they like; else a table frame is taken. */
    int (*alloc_scratch)(void *context, uint16_t domain, uint64_t *mfn);
    /* Takes it back. With alloc_scratch only. */
    void (*free_scratch)(void *context, uint16_t domain, uint64_t mfn);
    /*
     * [locked] The 512 words of a frame that was allocated as a table or as a scratch page; NULL if
     * it is none. Where it is must not change. The library uses atomic accesses of 64 bits.
     */
    uint64_t *(*table)(void *context, uint64_t mfn);
    /*
     * The first of these frames that is page-table memory, in `*mfn`; -PVIOMMU_ENOENT: none is. No
     * device is let at one. They may be many: compare ranges.
     */
    int (*first_table)(void *context, uint64_t first, uint64_t last, uint64_t *mfn);
    /*
     * [locked] [optional] Writes entries `first` to `last` of a table back from the caches (CLWB or
     * CLFLUSH, then SFENCE). Needed if a unit lacks PVIOMMU_UNIT_COHERENT.
     */
    void (*publish)(void *context, uint64_t mfn, uint32_t first, uint32_t last);

    /* --- Units that you drive. All but unit_failed may be NULL if the library drives all of them. ---
     *
     * YOU PROMISE that when one returns 0, the change or invalidation is in force, and every DMA that used what
     * was there before has drained; and that no unit lets a device through that was never attached. Waits are
     * bounded. Not 0: the unit has failed, and the library uses it no more. Calls for one device are not made at
     * the same time.
     */

    /*
     * [locked] Points the device entry of `source` at the table whose top frame is `root`, of
     * `levels` levels, under `tag`, in one step, whatever it was before, and forgets the cached
     * entry. -PVIOMMU_ENOMEM: nothing has changed, there is no room for an entry.
     */
    int (*attach)(void *context, uint16_t unit, struct pviommu_pci_device source, uint64_t root,
                  uint32_t levels, uint16_t tag);
    /* [locked] Makes the device entry refuse all DMA, and forgets the cached entry. */
    int (*block)(void *context, uint16_t unit, struct pviommu_pci_device source);
    /* [locked] Forgets what is cached under `tag`, drains, and waits until that is done. */
#define PVIOMMU_FORGET_LEAVES     0U /* translations of these bus frames; tables on the way may stay */
#define PVIOMMU_FORGET_TABLES     1U /* translations of these bus frames, and tables on the way */
#define PVIOMMU_FORGET_EVERYTHING 2U /* all under the tag; `first` and `last` mean nothing */
    int (*invalidate)(void *context, uint16_t unit, uint16_t tag, uint32_t what, uint64_t first,
                      uint64_t last);
    /*
     * [locked] Makes entries visible that turned from not present to present. For units with
     * PVIOMMU_UNIT_CACHES_NOT_PRESENT or PVIOMMU_UNIT_WRITE_BUFFER only.
     */
    int (*sync_map)(void *context, uint16_t unit, uint16_t tag, uint64_t first, uint64_t last);
    /*
     * [locked] Stops the device, perhaps in an interrupt: it does no DMA, and no fault of it is
     * recorded, whatever its entry says. Of a unit that the library drives, that has been done, and
     * this is for bus mastering. restart undoes it, after the device was reset.
     */
    void (*stop)(void *context, uint16_t unit, struct pviommu_pci_device source);
    void (*restart)(void *context, uint16_t unit, struct pviommu_pci_device source);
    /* [locked] [optional] Told once when a unit has failed: nothing behind it is edited any more. */
    void (*unit_failed)(void *context, uint16_t unit);

    /* --- Names, scheduling, policy. --- */

    /* The machine's function that `domain` means by `name`; -PVIOMMU_ENODEV: it has no such device. */
    int (*resolve)(void *context, uint16_t domain, struct pviommu_pci_device name,
                   struct pviommu_pci_device *function);
    /* [optional] The other way; else a device that is called by its own number is told by that. */
    int (*name_of)(void *context, uint16_t domain, struct pviommu_pci_device function,
                   struct pviommu_pci_device *name);
    /*
     * [optional] The state of a domain, kept alive until put_domain; NULL if there is none, or it
     * is dying. Without it nobody acts for another domain.
     */
    struct pviommu_domain *(*get_domain)(void *context, uint16_t domain);
    /* With get_domain only. */
    void (*put_domain)(void *context, struct pviommu_domain *domain);
    /* [locked] [optional] Not 0 (true) if this CPU has something better to do; only looks. */
    int (*should_yield)(void *context);
    /* [optional] Your mandatory access control, asked before a call has any effect: not 0 refuses it. */
    int (*allow)(void *context, const struct pviommu_operation *operation);
};

/* ---------------------------------------------------------------------------------------------------------
 * Units
 * --------------------------------------------------------------------------------------------------------- */

/* The format of page tables. */
#define PVIOMMU_FORMAT_VTD   0U /* VT-d second stage */
#define PVIOMMU_FORMAT_AMDVI 1U /* AMD I/O page tables, v1 */

/* What a unit does, or needs to have done for it. */
#define PVIOMMU_UNIT_COHERENT           (1U << 0)  /* its walks snoop CPU caches (VT-d: ECAP.C) */
#define PVIOMMU_UNIT_CACHES_NOT_PRESENT (1U << 1)  /* VT-d: CAP.CM; AMD: NpCache */
#define PVIOMMU_UNIT_WRITE_BUFFER       (1U << 2)  /* VT-d: CAP.RWBF */
#define PVIOMMU_UNIT_SNOOP_CONTROL      (1U << 3)  /* leaves can force snooping (VT-d: ECAP.SC; AMD: every unit) */
#define PVIOMMU_UNIT_LEAF_2M            (1U << 4)  /* VT-d: CAP.SLLPS bit 0; AMD: every unit */
#define PVIOMMU_UNIT_LEAF_1G            (1U << 5)  /* VT-d: CAP.SLLPS bit 1; AMD: every unit */
#define PVIOMMU_UNIT_LEVELS_3           (1U << 8)  /* 39 bits (VT-d: CAP.SAGAW bit 1; AMD: every unit) */
#define PVIOMMU_UNIT_LEVELS_4           (1U << 9)  /* 48 bits (VT-d: CAP.SAGAW bit 2; AMD: every unit) */
#define PVIOMMU_UNIT_LEVELS_5           (1U << 10) /* 57 bits (VT-d: CAP.SAGAW bit 3; AMD: EFR.HATS 1 or 2) */

/* What a unit can do. */
struct pviommu_unit_facts {
    uint32_t format;           /* PVIOMMU_FORMAT_* */
    uint32_t features;         /* PVIOMMU_UNIT_* */
    uint32_t tags;             /* domain ids it tells apart; 0 is not used */
    uint8_t bus_address_bits;  /* of addresses that devices use (VT-d: MGAW; AMD: VASize) */
    uint8_t host_address_bits; /* of addresses it puts out (VT-d: host address width; AMD: PASize) */
    uint16_t reserved;
};

/* Frames that follow each other and are lent to a unit, for as long as it is on. */
struct pviommu_memory {
    uint64_t *words; /* where the library finds them: mapped as memory always is, a multiple of 4096 */
    uint64_t frame;  /* where the unit finds them */
    size_t pages;
};

/* Registers, mapped uncached. */
struct pviommu_registers {
    void *base; /* a multiple of 8 */
    size_t size;
};

/* What the driver of a unit needs of the machine; called with the context of the unit. */
struct pviommu_host {
    /* Microseconds of a clock that does not go back: all waits are bounded by it. */
    uint64_t (*now_us)(void *context);
    /* [optional] Writes memory back from the caches (CLWB or CLFLUSH, then SFENCE). Needed as `publish` is. */
    void (*write_back)(void *context, const void *from, size_t bytes);
    /* [optional] AMD-Vi: what firmware (IVHD) wants of the entry of an id, its data byte and extended word. */
    int (*device_settings)(void *context, uint16_t id, uint8_t *data, uint32_t *extended);
};

/* What is held against a VT-d unit although its registers say otherwise. */
#define PVIOMMU_VTD_QUIRK_HIDE_SUPERPAGES          (1U << 0)
#define PVIOMMU_VTD_QUIRK_HIDE_SNOOP_CONTROL       (1U << 1)
#define PVIOMMU_VTD_QUIRK_CLAIM_WRITE_BUFFER       (1U << 2)
#define PVIOMMU_VTD_QUIRK_NO_PAGE_SELECTIVE        (1U << 3)
#define PVIOMMU_VTD_QUIRK_CLAIM_NOT_COHERENT       (1U << 4)
#define PVIOMMU_VTD_QUIRK_CLAIM_CACHES_NOT_PRESENT (1U << 5)

struct pviommu_vtd_config {
    struct pviommu_registers registers; /* DMAR: DRHD, register base address */
    struct pviommu_memory root;         /* one page */
    struct pviommu_memory contexts;     /* a page for each bus with devices; other buses have no DMA */
    struct pviommu_memory queue;        /* 1, 2, 4 ... 128 pages of 256 entries; one is enough for 64 CPUs */
    struct pviommu_memory status;       /* 8 bytes for each CPU */
    uint64_t timeout_us;                /* a unit that takes longer has failed, for ever: a second, say */
    uint32_t cpus;                      /* that may use it at the same time */
    uint16_t segment;                   /* of the devices behind it */
    uint16_t quirks;                    /* PVIOMMU_VTD_QUIRK_* */
    uint8_t host_address_bits;          /* DMAR: host address width */
    uint8_t reserved[7];
};

/* What an AMD-Vi unit announces and does not do well. */
#define PVIOMMU_AMDVI_QUIRK_NO_LEAF_1G         (1U << 0)
#define PVIOMMU_AMDVI_QUIRK_NO_LARGE_LEAVES    (1U << 1)
#define PVIOMMU_AMDVI_QUIRK_NO_LEVELS_5        (1U << 2)
#define PVIOMMU_AMDVI_QUIRK_CACHES_NOT_PRESENT (1U << 3)
#define PVIOMMU_AMDVI_QUIRK_NOT_COHERENT       (1U << 4)
#define PVIOMMU_AMDVI_QUIRK_NO_INVALIDATE_ALL  (1U << 5)
#define PVIOMMU_AMDVI_QUIRK_TAGS_256           (1U << 6)

struct pviommu_amdvi_config {
    struct pviommu_registers registers; /* IVHD: base address; 16 KiB at least */
    struct pviommu_memory device_table; /* 1 to 512 pages of 128 entries, from id 0 on */
    struct pviommu_memory commands;     /* 1, 2, 4 ... 128 pages of 256 commands */
    struct pviommu_memory events;       /* 1, 2, 4 ... 128 pages of 256 events */
    struct pviommu_memory status;       /* 8 bytes for each CPU */
    uint64_t timeout_us;                /* as of VT-d */
    uint64_t extended_features;         /* IVHD types 11h and 40h: EFR image */
    uint32_t cpus;
    uint32_t header;  /* the first word of its capability block, in configuration space */
    uint32_t iv_info; /* IVRS: IVinfo */
    uint32_t quirks;  /* PVIOMMU_AMDVI_QUIRK_* */
    uint16_t segment;
    uint8_t ivhd_flags;
    uint8_t has_extended_features; /* 1 if `extended_features` is told; else the unit is asked */
    uint8_t refuse_interrupts;     /* 1: interrupts of devices are refused; 0: they pass as they are */
    uint8_t reserved[3];
};

/* How many bytes a unit takes. */
size_t pviommu_unit_size(void);

/*
 * Switches a unit on, or takes it over from whoever left it on, without letting a device through;
 * then all devices behind it are blocked. `memory` are `bytes` bytes.
 *
 * -PVIOMMU_ENODEV: there are no registers. -PVIOMMU_EOPNOTSUPP: it is older than this driver, or
 * lacks what is asked for. -PVIOMMU_ENOMEM: `memory`, its queue or its status words are too small.
 * -PVIOMMU_EINVAL: memory is of a size that it may not have, or out of the unit's reach.
 * -PVIOMMU_EBUSY: firmware left a VT-d unit on in another mode. -PVIOMMU_EIO: it does not answer;
 * nothing behind it may be given away.
 */
int pviommu_vtd_bring_up(void *memory, size_t bytes, const struct pviommu_vtd_config *config,
                         const struct pviommu_host *host, void *context, struct pviommu_unit **unit);
int pviommu_amdvi_bring_up(void *memory, size_t bytes, const struct pviommu_amdvi_config *config,
                           const struct pviommu_host *host, void *context, struct pviommu_unit **unit);

/* What it can do. */
int pviommu_unit_facts(const struct pviommu_unit *unit, struct pviommu_unit_facts *facts);

/* 1 if the unit remaps interrupts now and lets none pass that it does not remap, 0 if not. */
int pviommu_unit_isolates_interrupts(const struct pviommu_unit *unit);

/* A request that a unit refused. */
struct pviommu_fault {
    uint64_t address; /* the byte asked for */
    struct pviommu_pci_device source;
    uint32_t access; /* PVIOMMU_ACCESS_READ, _WRITE */
    uint32_t reason; /* PVIOMMU_FAULT_* */
    uint32_t reserved;
};

struct pviommu_event {
#define PVIOMMU_EVENT_FAULT 0U /* `fault` is for pviommu_report_fault */
#define PVIOMMU_EVENT_LOST  1U /* some were lost */
#define PVIOMMU_EVENT_UNIT  2U /* something is wrong with the unit, by `code` of its specification */
    uint32_t kind;
    uint32_t code;
    struct pviommu_fault fault;
};

/*
 * Takes the oldest thing out of what the unit has recorded; -PVIOMMU_ENOENT: there is nothing.
 * Waits for nothing: for the handler of the unit's interrupt, on one CPU at a time.
 */
int pviommu_unit_next_event(const struct pviommu_unit *unit, struct pviommu_event *event);

/*
 * Before and after the machine sleeps; devices are quiet and no call is under way. -PVIOMMU_EIO:
 * the unit does not answer; after resume nothing behind it may do DMA then.
 */
int pviommu_unit_suspend(const struct pviommu_unit *unit);
int pviommu_unit_resume(const struct pviommu_unit *unit);

/* Leaves the unit to the kernel that runs after a crash: switched off, nothing cached. Takes no lock. */
int pviommu_unit_crash_shutdown(const struct pviommu_unit *unit);

/* ---------------------------------------------------------------------------------------------------------
 * The machine
 * --------------------------------------------------------------------------------------------------------- */

struct pviommu_unit_config {
    /* A unit that the library drives; NULL: your callbacks do, and `facts` says what it can do. */
    struct pviommu_unit *driven;
    struct pviommu_unit_facts facts;
};

/* Risks that are accepted with a device. */
#define PVIOMMU_RISK_SPLIT_GROUP            (1U << 0) /* it may be given without the rest of its group */
#define PVIOMMU_RISK_UNSAFE_INTERRUPTS      (1U << 1) /* to a guest, although it can raise others' interrupts */
#define PVIOMMU_RISK_UNTRANSLATED_NEIGHBOUR (1U << 2) /* to a guest, beside a function behind no unit */

/* What the units know as one device: a PCI function, or several whose requests cannot be told apart. */
struct pviommu_device_config {
    struct pviommu_pci_device function;
    uint16_t unit; /* its number: its place in `units` */
#define PVIOMMU_DEVICE_CONFIG_INTERRUPTS_ISOLATED (1U << 0) /* you vouch: no interrupts but those it was given */
#define PVIOMMU_DEVICE_CONFIG_BESIDE_UNTRANSLATED (1U << 1) /* a function of its group is behind no unit */
#define PVIOMMU_DEVICE_CONFIG_UNPLUGGED           (1U << 2) /* listed, and not there: see pviommu_plug */
    uint16_t flags;
    /*
     * Devices with the same number can reach each other without the IOMMU, so one domain has all of
     * them or none. What makes a group is yours to find: docs/groups.md says how.
     */
#define PVIOMMU_NO_GROUP UINT32_MAX
    uint32_t group;
    uint32_t risks; /* PVIOMMU_RISK_* */
    const struct pviommu_reserved_range *reserved;  /* what its DMA needs (RMRR, IVMD) or must not touch */
    const struct pviommu_pci_device *functions;     /* other functions that are one device with it */
    const struct pviommu_pci_device *aliases;       /* other ids that its requests carry; no functions */
    uint32_t nr_reserved;
    uint32_t nr_functions;
    uint32_t nr_aliases;
    uint32_t pad;
};

/* How many faults of one device are taken for what. All 0: 32 a second are recorded, more than 1024 stop it. */
struct pviommu_fault_rule {
    uint32_t window_ms; /* in which they are counted */
    uint32_t recorded;  /* most that are recorded in that time; the others are only counted */
    uint32_t storm;     /* a device with more is stopped; UINT32_MAX: none is */
};

struct pviommu_machine_config {
    const struct pviommu_unit_config *units;
    const struct pviommu_device_config *devices; /* sorted by segment, bus and devfn, each once */
    /* Bus frames that no guest may map, besides the interrupt window of x86 and AMD's HyperTransport range. */
    const struct pviommu_reserved_range *reserved;
    /* Machine frames that no device may reach, whoever owns them: registers of units, holes. */
    const struct pviommu_range *unreachable;
    /*
     * The pseudo-domain (PVIOMMU_DOMID_IO) whose contexts devices are in that nobody owns:
     * `nr_contexts` of it is the number of devices, its background is what they hit, its limits pay
     * for tables. NULL: they are blocked, and no device may need direct ranges.
     */
    struct pviommu_domain *quarantine;
    uint32_t nr_units;
    uint32_t nr_devices;
    uint32_t nr_reserved;
    uint32_t nr_unreachable;
    uint32_t nr_cpus;
    /* The shape of all tables: PVIOMMU_FORMAT_*, and 3, 4 or 5 levels; 0 levels: what all units can walk. */
    uint32_t format;
    uint32_t levels;
    struct pviommu_fault_rule faults;
};

/* How many bytes pviommu_machine_init needs for this configuration. */
int pviommu_machine_size(const struct pviommu_machine_config *config, size_t *bytes);

/*
 * Makes the service, in `memory`, which is `bytes` bytes. `why` is NULL or room for `why_size`
 * bytes: if the configuration is refused, what is wrong with it is told there, ended by a NUL.
 *
 * -PVIOMMU_EINVAL: see `why`. -PVIOMMU_ENOMEM: `bytes` is too small. -PVIOMMU_EOPNOTSUPP: the
 * tables' format is not built in.
 */
int pviommu_machine_init(void *memory, size_t bytes, const struct pviommu_machine_config *config,
                         const struct pviommu_platform *platform, void *context,
                         struct pviommu_machine **machine, char *why, size_t why_size);

/* ---------------------------------------------------------------------------------------------------------
 * Domains
 * --------------------------------------------------------------------------------------------------------- */

/* Upper bounds for a domain. Start with pviommu_limits_default. */
struct pviommu_limits {
    uint64_t max_pinned_pages;     /* pages that mappings hold, each as often as it is mapped */
    uint16_t max_contexts;         /* besides the default one; 0: every call is -PVIOMMU_ENODEV */
    uint16_t max_tags;             /* of one unit, besides the default context's */
    uint8_t max_arena_order;       /* table frames the guest can ask for, as a power of two */
    uint8_t refuse_unknown_flags;  /* 1: v7 flag bits that mean nothing are refused, not ignored */
    uint16_t reserved;
    uint32_t default_map_frames;   /* table frames from the start, for the default context */
    uint32_t max_deferred_pages;   /* pages that are unmapped and wait for a flush; 0: unmap always flushes */
    uint32_t max_foreign_pages;    /* mappings of grants and of other domains' pages */
    uint32_t max_invalidations;    /* until pviommu_renew_invalidations; UINT32_MAX: no bound */
    uint32_t max_batch;            /* elements of a batch */
    uint32_t max_log_lines;        /* until pviommu_renew_log_lines; the others are only counted */
};

/* What the Linux driver can live with: 128 contexts, 4096 table frames. */
int pviommu_limits_default(struct pviommu_limits *limits);

/* Risks that you take for a domain. */
#define PVIOMMU_OPT_IN_DIRECT_RANGES            (1U << 0) /* devices whose firmware needs memory of its own */
#define PVIOMMU_OPT_IN_UNSAFE_INTERRUPTS        (1U << 1) /* devices that can raise others' interrupts */
#define PVIOMMU_OPT_IN_SPLIT_GROUPS             (1U << 2) /* devices without the rest of their group */
#define PVIOMMU_OPT_IN_UNTRANSLATED_NEIGHBOURS  (1U << 3) /* devices beside a function behind no unit */

struct pviommu_domain_config {
    uint16_t id;
#define PVIOMMU_DOMAIN_HARDWARE      (1U << 0) /* it drives the machine, and may act for others (dom0) */
#define PVIOMMU_DOMAIN_TOGETHER_ONLY (1U << 1) /* its devices of one group are all in one context */
    uint16_t flags;
    uint32_t background;  /* PVIOMMU_BACKGROUND_*: what a bus frame hits that nobody mapped */
    uint32_t opt_ins;     /* PVIOMMU_OPT_IN_* */
    uint32_t nr_contexts; /* room for so many: `max_contexts` and one, for the default context */
    struct pviommu_limits limits;
};

/* How many bytes pviommu_domain_init needs for this configuration. */
int pviommu_domain_size(const struct pviommu_domain_config *config, size_t *bytes);

/* Makes the state of a domain, in `memory`, which is `bytes` bytes. */
int pviommu_domain_init(void *memory, size_t bytes, const struct pviommu_domain_config *config,
                        struct pviommu_domain **domain);

/*
 * Ends the use of the object, whose memory is yours again: after pviommu_teardown has returned 0,
 * when nobody can be using it any more. From now on it is refused as no domain.
 */
int pviommu_domain_fini(struct pviommu_domain *domain);

/*
 * The map that a domain's devices start with. Identity maps are maintained: you keep them in step
 * with the P2M, by pviommu_p2m_changed, and the guest never edits them. Host and guest maps are
 * made once, by `initial_map`; the guest may take them over.
 */
#define PVIOMMU_DEFAULT_MAP_BLOCKED      0U /* no DMA, until the guest takes the default context over */
#define PVIOMMU_DEFAULT_MAP_HOST         1U /* BFN == MFN; holds no references: for the hardware domain */
#define PVIOMMU_DEFAULT_MAP_GUEST        2U /* BFN == GFN; each page is held */
#define PVIOMMU_DEFAULT_MAP_IDENTITY_MFN 3U /* BFN == MFN of its own frames, maintained */
#define PVIOMMU_DEFAULT_MAP_IDENTITY_GFN 4U /* BFN == GFN, maintained */

/*
 * Gives a domain the map it starts with; without it, it is blocked. Long. -PVIOMMU_EPERM: a host
 * map for another than the hardware domain. -PVIOMMU_EBUSY: it has another one. -PVIOMMU_ENOMEM,
 * -PVIOMMU_ENOSPC: its limits are too small; nothing has changed. -PVIOMMU_EIO: a unit has failed.
 */
int pviommu_set_default(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                        uint32_t map);

/*
 * Takes everything from a dying domain: devices, contexts, pages, tables. Long. From the first call
 * on no other call for the domain has an effect.
 */
int pviommu_teardown(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu);

/* For a timer: lets the domain cause `max_invalidations` again. */
int pviommu_renew_invalidations(struct pviommu_domain *domain);

/* For a timer: lets the log be told `max_log_lines` of the domain again. */
int pviommu_renew_log_lines(struct pviommu_domain *domain);

/* For a timer: flushes what was unmapped to be flushed later. Long. -PVIOMMU_EIO: a flush did not complete. */
int pviommu_flush_deferred(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu);

/* ---------------------------------------------------------------------------------------------------------
 * Hypercalls
 * --------------------------------------------------------------------------------------------------------- */

/*
 * Serves `iommu_op` (hypercall 43) of `domain`, whose registers hold `subop` and `arg`; `width` is
 * 32 or 64, the width the caller runs at. What it returns goes into the result register, unless it
 * is PVIOMMU_CONTINUE: then have the guest execute the same instruction again with the same
 * registers.
 */
int pviommu_iommu_op(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                     uint32_t width, uint64_t subop, uint64_t arg);

/*
 * Serves `memory_op` (hypercall 12) with the command XENMEM_reserved_device_memory_map (27), for
 * drivers that know v7 only; all other commands are yours. Never PVIOMMU_CONTINUE.
 */
int pviommu_reserved_device_memory_map(struct pviommu_machine *machine, struct pviommu_domain *domain,
                                       uint32_t cpu, uint32_t width, uint64_t arg);

/* ---------------------------------------------------------------------------------------------------------
 * Pages that change
 * --------------------------------------------------------------------------------------------------------- */

/* What backs guest frames now. */
struct pviommu_backing {
    uint64_t first;  /* the frame of the first; the others follow on */
    uint32_t access; /* PVIOMMU_ACCESS_READ and _WRITE; 0: devices may do nothing there */
    uint32_t mmio;   /* 1 for registers of devices */
};

/* A change of a P2M, and how far it was carried over. Only the library looks inside. */
struct pviommu_p2m_change {
    uint64_t opaque[16];
};

/*
 * Begins a change: `pages` guest frames from `gfn` on were backed by `*old` and the frames that
 * follow, and are backed by `*new_backing` now; NULL: by nothing.
 */
int pviommu_p2m_change_init(struct pviommu_p2m_change *change, uint64_t gfn, uint64_t pages,
                            const uint64_t *old, const struct pviommu_backing *new_backing);

/*
 * Carries a change of the P2M over to the domain's default context, if that is maintained. Call it
 * for every change of frame, access or type, and free the old frames only after it is done. Long.
 * It may be called under the P2M lock, with a `cpu` that no other call uses meanwhile: it calls no
 * function of the platform for pages, names or policy.
 *
 * Whatever it says but -PVIOMMU_EIO, no device reaches the old frames any more.
 * -PVIOMMU_EADDRNOTAVAIL, -PVIOMMU_ERANGE, -PVIOMMU_EPERM, -PVIOMMU_ENOMEM: some of the new ones
 * are not mapped. -PVIOMMU_EIO: a unit has failed, and the old frames must never be used again.
 */
int pviommu_p2m_changed(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                        struct pviommu_p2m_change *change);

/* A pass over all contexts of a domain. Only the library looks inside. */
struct pviommu_sweep {
    uint64_t opaque[8];
};

/* Begins a pass, for one of the three functions that follow. */
int pviommu_sweep_init(struct pviommu_sweep *sweep);

/*
 * Takes every mapping of these machine frames, in 16 ranges at most, out of all contexts, and gives
 * back what held them: for pages that leave a guest. Make acquiring them impossible first. Long.
 * -PVIOMMU_EIO: a unit has failed.
 */
int pviommu_retarget(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                     const struct pviommu_range *frames, uint32_t nr_frames, struct pviommu_sweep *sweep);

/* The same of registers, before a BAR moves or changes hands. Long. */
int pviommu_revoke_mmio(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                        const struct pviommu_range *frames, struct pviommu_sweep *sweep);

/* Gives back every table of the domain that has no entries. Long. */
int pviommu_trim(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                 struct pviommu_sweep *sweep);

/* ---------------------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------------------- */

/*
 * At boot: puts a device that nobody owns into quarantine, where what its firmware needs is mapped.
 * Later ones go there by themselves.
 */
int pviommu_quarantine(struct pviommu_machine *machine, uint32_t cpu, struct pviommu_pci_device function);

/*
 * Gives the device, and with it its whole group, to `domain`, each in the default context: all or
 * none.
 *
 * -PVIOMMU_ENODEV: it is not behind an IOMMU. -PVIOMMU_EBUSY: one of the group has an owner.
 * -PVIOMMU_EBADF: one is broken or stopped. -PVIOMMU_EXDEV: a unit cannot walk these tables.
 * -PVIOMMU_EPERM: an opt-in is missing. -PVIOMMU_EAGAIN: the group is being changed.
 * -PVIOMMU_EADDRINUSE: what firmware needs is mapped otherwise. -PVIOMMU_ENOMEM, -PVIOMMU_ENOSPC:
 * no table frame, no tag. -PVIOMMU_ESRCH: the domain is dying. -PVIOMMU_EIO: a unit has failed.
 */
int pviommu_assign(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                   struct pviommu_pci_device function);

/* Takes it away, with all that was given in the same call. Reset it before somebody else gets it. */
int pviommu_unassign(struct pviommu_machine *machine, struct pviommu_domain *domain, uint32_t cpu,
                     struct pviommu_pci_device function);

/*
 * Takes it from one domain and gives it to another, and to nobody else in between. An error as of
 * pviommu_assign: `from` has it. The same error less PVIOMMU_REASSIGN_LOST: nobody has it.
 */
#define PVIOMMU_REASSIGN_LOST 1000
int pviommu_reassign(struct pviommu_machine *machine, struct pviommu_domain *from,
                     struct pviommu_domain *to, uint32_t cpu, struct pviommu_pci_device function);

/* From now on exactly these risks are accepted with the device, or with its `whole_group`. */
int pviommu_accept_risks(struct pviommu_machine *machine, struct pviommu_pci_device function,
                         int whole_group, uint32_t risks);

/* A listed device has come, or is about to go. -PVIOMMU_EBUSY: somebody has it, or others of its group. */
int pviommu_plug(struct pviommu_machine *machine, struct pviommu_pci_device function);
int pviommu_unplug(struct pviommu_machine *machine, struct pviommu_pci_device function);

/*
 * Takes in a fault of `unit`, at `now_ms` milliseconds of any clock that does not go back. For an
 * interrupt handler: it takes no lock, and calls `stop` at most. -PVIOMMU_ENODEV: it is of no
 * device behind this unit.
 */
#define PVIOMMU_REPORTED_RECORDED 0 /* the owner can read of it */
#define PVIOMMU_REPORTED_COUNTED  1 /* there are too many, or nobody is to be told */
#define PVIOMMU_REPORTED_STOPPED  2 /* there is no end of them: the device was stopped by this call */
int pviommu_report_fault(struct pviommu_machine *machine, uint16_t unit, const struct pviommu_fault *fault,
                         uint64_t now_ms);

/* Starts a device again that was stopped, after it was reset. -PVIOMMU_EBADF: it is broken. */
int pviommu_restart(struct pviommu_machine *machine, struct pviommu_pci_device function);

/* ---------------------------------------------------------------------------------------------------------
 * What an operator sees: nothing is changed. Machine frames are no guest's to know.
 * --------------------------------------------------------------------------------------------------------- */

struct pviommu_domain_stats {
    uint64_t pinned_pages;   /* that mappings hold, or that wait to be given back */
    uint64_t invalidations;  /* that it caused */
    uint64_t calls_put_off;  /* because its invalidations were used up */
    uint64_t lost_faults;    /* of which it was told nothing */
    uint64_t unknown_flags;  /* calls with flag bits that mean nothing */
    uint64_t leaked_pages;   /* never given back, because a unit failed */
    uint64_t leaked_tables;
    uint64_t log_lines_suppressed; /* there were too many */
    uint32_t contexts;       /* in use, besides the default one */
    uint32_t table_frames;
    uint32_t table_frames_allowed;
    uint32_t deferred_pages; /* that wait for a flush */
    uint32_t foreign_pages;  /* of other domains that are mapped */
#define PVIOMMU_DOMAIN_STATE_MAINTAINED  (1U << 0) /* the hypervisor maintains its default context */
#define PVIOMMU_DOMAIN_STATE_OWN_DEFAULT (1U << 1) /* it has taken its default context over */
    uint32_t state;
};

int pviommu_domain_stats(const struct pviommu_domain *domain, struct pviommu_domain_stats *stats);

struct pviommu_unit_stats {
    uint64_t commands; /* invalidations, and syncs of new entries */
    uint64_t faults;
    uint32_t tags_used;
    uint32_t tags_allowed;
    uint32_t devices;
    uint32_t assigned;
    uint32_t broken;
    uint32_t stopped;
#define PVIOMMU_UNIT_STATE_FAILED (1U << 0) /* nothing behind it is changed any more */
#define PVIOMMU_UNIT_STATE_SERVES (1U << 1) /* it can walk this machine's tables */
    uint32_t state;
    uint32_t reserved;
};

/* -PVIOMMU_ENODEV: there is no such unit. */
int pviommu_unit_stats(const struct pviommu_machine *machine, uint16_t unit, struct pviommu_unit_stats *stats);

struct pviommu_device_stats {
    uint64_t faults;
    struct pviommu_pci_device function;
    uint16_t unit;
    uint16_t owner; /* PVIOMMU_DOMID_INVALID: nobody */
#define PVIOMMU_HOME_BLOCKED    0U
#define PVIOMMU_HOME_QUARANTINE 1U
#define PVIOMMU_HOME_CONTEXT    2U /* `context` of its owner */
#define PVIOMMU_HOME_LEAVING    3U /* a context of a domain that goes away */
    uint32_t home;
    uint32_t context;
    uint32_t group; /* PVIOMMU_NO_GROUP: it is alone */
    uint32_t risks;
#define PVIOMMU_DEVICE_STATE_BROKEN  (1U << 0) /* nobody gets it any more */
#define PVIOMMU_DEVICE_STATE_STOPPED (1U << 1)
#define PVIOMMU_DEVICE_STATE_ALONE   (1U << 2) /* given without the rest of its group */
#define PVIOMMU_DEVICE_STATE_TAINTED (1U << 3) /* its group changed while somebody had of it */
#define PVIOMMU_DEVICE_STATE_ABSENT  (1U << 4) /* listed, and not there */
    uint32_t state;
    uint32_t storms; /* how often it was stopped for its faults */
};

/* -PVIOMMU_ENODEV: it is not behind an IOMMU. Asks get_domain for the owner. */
int pviommu_device_stats(const struct pviommu_machine *machine, struct pviommu_pci_device function,
                         struct pviommu_device_stats *stats);

struct pviommu_context_stats {
    struct pviommu_range aperture; /* bus frames that may be mapped */
    uint64_t root;                 /* the top table, as device entries name it */
    uint32_t levels;
    uint32_t background; /* PVIOMMU_BACKGROUND_FAULT or _SCRATCH */
#define PVIOMMU_CONTEXT_BUILDING      (1U << 0)
#define PVIOMMU_CONTEXT_DYING         (1U << 1)
#define PVIOMMU_CONTEXT_FROZEN        (1U << 2) /* a unit of it has failed */
#define PVIOMMU_CONTEXT_REMOVALS_WAIT (1U << 3) /* for a flush, or to be given back */
    uint32_t state;
#define PVIOMMU_EDITED_BY_NOBODY     0U /* the map the domain starts with */
#define PVIOMMU_EDITED_BY_GUEST      1U
#define PVIOMMU_EDITED_BY_HYPERVISOR 2U
    uint32_t edited_by;
    uint32_t kept_tables;     /* tables without mappings, kept for the next map */
    uint32_t units;           /* that have devices of it */
    uint32_t reserved_ranges; /* of its devices */
    uint32_t reserved;
};

/* -PVIOMMU_ENOENT: there is no such context in use. */
int pviommu_context_stats(const struct pviommu_machine *machine, const struct pviommu_domain *domain,
                          uint16_t context, struct pviommu_context_stats *stats);

/*
 * Why this access of a device faults, or does not, as the tables are now: what a unit's fault
 * record names, in words. -PVIOMMU_ENOBUFS: `text` holds the first `size` bytes of it.
 */
int pviommu_explain(const struct pviommu_machine *machine, uint32_t cpu, struct pviommu_pci_device source,
                    uint64_t address, uint32_t access, char *text, size_t size);

/*
 * The next stretch of a context's table at or after bus frame `*from`, as a line of 80 letters at
 * most; empty if none was found so far. PVIOMMU_CONTINUE: there may be more, from `*from` on.
 * -PVIOMMU_ENOENT: no such context.
 */
int pviommu_dump_line(const struct pviommu_machine *machine, const struct pviommu_domain *domain,
                      uint32_t cpu, uint16_t context, uint64_t *from, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* PVIOMMU_H */
