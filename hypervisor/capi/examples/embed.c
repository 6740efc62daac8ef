/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A hypervisor of one guest and one CPU that embeds pviommu, as short as it gets. A real one takes the lock of
 * a P2M where it says so.
 */
#include <string.h>

#include "machine.h"

#define GUEST 1          /* the number of the guest */
#define GUEST_FRAMES 32  /* its memory, in frames */
#define TABLE_FRAMES 64  /* memory for page tables */
#define ALL_FRAMES (GUEST_FRAMES + TABLE_FRAMES)

/* The machine's memory, as far as it is ours: the guest's, then that of page tables. */
static _Alignas(4096) uint64_t frames[ALL_FRAMES][512];
static uint64_t first_frame;

/* The frame table: references of devices to a guest's frame; whether a table frame is in use. */
static unsigned users[ALL_FRAMES];

/* What the guest's frame is in `frames`. Its memory is scattered: here, backwards. */
static size_t p2m(uint64_t gfn) { return GUEST_FRAMES - 1 - (size_t)gfn; }

/* The machine's frame number in `frames`, or one that is too large. */
static size_t index_of(uint64_t mfn)
{
    return mfn - first_frame < ALL_FRAMES ? (size_t)(mfn - first_frame) : ALL_FRAMES;
}

/* --- Step 1: the platform -------------------------------------------------------------------------------- */

static unsigned char *guest_byte(uint64_t address)
{
    if (address >> 12 >= GUEST_FRAMES)
        return NULL;
    return (unsigned char *)frames[p2m(address >> 12)] + (address & 0xfff);
}

static int copy_in(void *context, uint16_t domain, uint64_t from, void *to, size_t bytes)
{
    (void)context, (void)domain;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char *byte = guest_byte(from + i);
        if (!byte)
            return -PVIOMMU_EFAULT;
        ((unsigned char *)to)[i] = *byte;
    }
    return 0;
}

static int copy_out(void *context, uint16_t domain, uint64_t to, const void *from, size_t bytes)
{
    (void)context, (void)domain;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char *byte = guest_byte(to + i);
        if (!byte)
            return -PVIOMMU_EFAULT;
        *byte = ((const unsigned char *)from)[i];
    }
    return 0;
}

static int acquire(void *context, uint16_t domain, const struct pviommu_wanted *wanted, uint32_t access,
                   struct pviommu_runs *runs)
{
    (void)context;
    if (wanted->kind != PVIOMMU_WANTED_GUEST || wanted->owner != domain)
        return -PVIOMMU_EPERM;
    /* Here: the lock of the P2M. */
    for (uint64_t i = 0; i < wanted->pages; i++) {
        if (wanted->first + i >= GUEST_FRAMES)
            return -PVIOMMU_ENOENT;
        size_t frame = p2m(wanted->first + i);
        const struct pviommu_run run = {
            .first = first_frame + frame, .pages = 1, .kind = PVIOMMU_PAGE_RAM, .access = access };
        if (pviommu_runs_push(runs, &run))
            return 0; /* The list is full; the library comes again. */
        users[frame]++;
    }
    return 0;
}

static void release(void *context, uint16_t domain, const struct pviommu_run *run)
{
    (void)context, (void)domain;
    for (uint64_t i = 0; i < run->pages; i++)
        users[index_of(run->first) + i]--;
}

static int alloc_table(void *context, uint16_t domain, uint32_t pool, uint64_t *mfn)
{
    (void)context, (void)domain, (void)pool;
    for (size_t frame = GUEST_FRAMES; frame < ALL_FRAMES; frame++) {
        if (users[frame] == 0) {
            users[frame] = 1;
            memset(frames[frame], 0, sizeof frames[frame]);
            *mfn = first_frame + frame;
            return 0;
        }
    }
    return -PVIOMMU_ENOMEM;
}

static void free_table(void *context, uint16_t domain, uint64_t mfn, uint32_t pool)
{
    (void)context, (void)domain, (void)pool;
    users[index_of(mfn)] = 0;
}

static uint64_t *table(void *context, uint64_t mfn)
{
    (void)context;
    size_t frame = index_of(mfn);
    return frame >= GUEST_FRAMES && frame < ALL_FRAMES && users[frame] ? frames[frame] : NULL;
}

static int first_table(void *context, uint64_t first, uint64_t last, uint64_t *mfn)
{
    (void)context;
    uint64_t begin = first_frame + GUEST_FRAMES, end = first_frame + ALL_FRAMES - 1;
    if (last < begin || first > end)
        return -PVIOMMU_ENOENT;
    *mfn = first > begin ? first : begin;
    return 0;
}

static int resolve(void *context, uint16_t domain, struct pviommu_pci_device name,
                   struct pviommu_pci_device *function)
{
    (void)context;
    /* The guest knows its device by the machine's number. */
    *function = name;
    return domain == GUEST && !memcmp(&name, &machine_device, sizeof name) ? 0 : -PVIOMMU_ENODEV;
}

static const struct pviommu_platform platform = {
    .copy_in = copy_in, .copy_out = copy_out, .acquire = acquire, .release = release,
    .alloc_table = alloc_table, .free_table = free_table, .table = table, .first_table = first_table,
    /* Step 2: the IOMMU. */
    .attach = machine_attach, .block = machine_block, .invalidate = machine_invalidate,
    .sync_map = machine_sync_map, .stop = machine_stop, .restart = machine_restart,
    .resolve = resolve,
};

/* --- Step 3: objects in memory that is lent --------------------------------------------------------------- */

static _Alignas(128) unsigned char arena[256 * 1024];
static size_t lent;

static void *lend(size_t bytes)
{
    void *memory = arena + lent;
    lent += (bytes + pviommu_alignment() - 1) / pviommu_alignment() * pviommu_alignment();
    return lent <= sizeof arena ? memory : NULL;
}

static struct pviommu_machine *machine;
static struct pviommu_domain *guest;

static int start(void)
{
    size_t bytes;
    struct pviommu_domain_config domain = { .id = GUEST, .background = PVIOMMU_BACKGROUND_FAULT };
    if (pviommu_limits_default(&domain.limits))
        return -1;
    domain.limits.max_contexts = 4;
    domain.nr_contexts = domain.limits.max_contexts + 1u;
    if (pviommu_domain_size(&domain, &bytes) || pviommu_domain_init(lend(bytes), bytes, &domain, &guest))
        return -1;

    const struct pviommu_unit_config unit = { .driven = machine_unit(), .facts = machine_facts() };
    const struct pviommu_device_config device = {
        .function = machine_device, .group = PVIOMMU_NO_GROUP,
        .flags = PVIOMMU_DEVICE_CONFIG_INTERRUPTS_ISOLATED,
    };
    const struct pviommu_machine_config config = {
        .units = &unit, .nr_units = 1, .devices = &device, .nr_devices = 1, .nr_cpus = 1 };
    char why[128];
    if (pviommu_machine_size(&config, &bytes))
        return -1;
    int status = pviommu_machine_init(lend(bytes), bytes, &config, &platform, NULL, &machine, why, sizeof why);
    if (status)
        machine_print(why);
    return status;
}

/* --- Step 4: hypercalls ---------------------------------------------------------------------------------- */

/* The guest: its argument is at the begin of its memory, as its hypercall instruction would find it. */
static int hypercall(uint32_t subop, void *arg, size_t bytes)
{
    int status;
    if (copy_out(NULL, GUEST, 0, arg, bytes))
        return -PVIOMMU_EFAULT;
    do /* The guest executes the instruction again. */
        status = pviommu_iommu_op(machine, guest, 0, 64, subop, 0);
    while (status == PVIOMMU_CONTINUE);
    return copy_in(NULL, GUEST, 0, arg, bytes) ? -PVIOMMU_EFAULT : status;
}

#define EXPECT(what) do { if (!(what)) { machine_print("embed: failed: " #what); return 1; } } while (0)

int embed(void)
{
    EXPECT(pviommu_api_version() == PVIOMMU_API_VERSION);
    first_frame = machine_first_frame(frames, ALL_FRAMES);
    EXPECT(start() == 0);
    EXPECT(pviommu_assign(machine, guest, 0, machine_device) == 0);

    /* The guest asks for a context, and puts its device there. */
    struct pviommu_init init = { .max_ctx_no = 4, .arena_order = 5 };
    struct pviommu_alloc_context alloc = { 0 };
    EXPECT(hypercall(PVIOMMU_SUBOP_INIT, &init, sizeof init) == 0);
    EXPECT(hypercall(PVIOMMU_SUBOP_ALLOC_CONTEXT, &alloc, sizeof alloc) == 0);
    struct pviommu_reattach_device attach = { .ctx_no = alloc.ctx_no, .dev = machine_device };
    EXPECT(hypercall(PVIOMMU_SUBOP_REATTACH_DEVICE, &attach, sizeof attach) == 0);

    /* It maps two of its pages, which are no neighbours, and the device writes to the second. */
    struct pviommu_map_pages map = {
        .ctx_no = alloc.ctx_no, .gfn = 5, .dfn = 0x12345, .nr_pages = 2, .pgsize = 4096,
        .map_flags = PVIOMMU_MAP_READABLE | PVIOMMU_MAP_WRITEABLE };
    EXPECT(hypercall(PVIOMMU_SUBOP_MAP_PAGES, &map, sizeof map) == 0 && map.mapped == 2);
    EXPECT(users[p2m(5)] == 1 && users[p2m(6)] == 1);
    EXPECT(machine_dma_write(0x12346040, "written by a device", 20) == 0);
    EXPECT(!memcmp(guest_byte(0x6040), "written by a device", 20));
    machine_print("embed: a device wrote to a guest's page through a mapping");

    /* It unmaps them; the references are given back, and the device cannot reach them any more. */
    struct pviommu_unmap_pages unmap = { .ctx_no = alloc.ctx_no, .dfn = 0x12345, .nr_pages = 2, .pgsize = 4096 };
    EXPECT(hypercall(PVIOMMU_SUBOP_UNMAP_PAGES, &unmap, sizeof unmap) == 0 && unmap.unmapped == 2);
    EXPECT(users[p2m(5)] == 0 && users[p2m(6)] == 0);
    EXPECT(machine_dma_write(0x12346080, "again", 6) != 0);
    EXPECT(*guest_byte(0x6080) == 0);

    /* The domain ends, and leaves nothing. */
    int status;
    do
        status = pviommu_teardown(machine, guest, 0);
    while (status == PVIOMMU_CONTINUE);
    EXPECT(status == 0 && pviommu_domain_fini(guest) == 0);
    for (size_t frame = 0; frame < ALL_FRAMES; frame++)
        EXPECT(users[frame] == 0);
    EXPECT(pviommu_assign(machine, guest, 0, machine_device) == -PVIOMMU_EINVAL);
    machine_print("embed: done");
    return 0;
}
