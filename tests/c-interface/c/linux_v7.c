/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The calls of the Linux driver for PV-IOMMU RFC v7, in its order: linux_driver.h makes them.
 */
#include "linux_driver.h"

static void probing_sets_the_service_up_once(struct bed *bed)
{
    struct pviommu_capabilities caps;
    CHECK(query(bed, &caps) == 0 && caps.max_ctx_no == 0);
    CHECK(!caps.pad0[0] && !caps.pad0[1] && caps.max_pasid == 0);
    CHECK(probe(bed, &caps) == 0);
    CHECK(caps.max_ctx_no == 128);
    CHECK(caps.pgsize_mask == PAGE);
    CHECK(caps.max_iova_addr == bed->last_bfn * PAGE + PAGE - 1);
    CHECK(!(caps.cap_flags & (PVIOMMU_CAP_DEFAULT_IDENTITY | PVIOMMU_CAP_NESTED | PVIOMMU_CAP_PASID)));
    CHECK(init(bed, 128, 12) == -PVIOMMU_EACCES);
    /* A second driver finds what the first one left. */
    CHECK(probe(bed, &caps) == 0 && caps.max_ctx_no == 128);
}

static void init_beyond_limits_is_refused(struct bed *bed)
{
    uint16_t ctx;
    CHECK(alloc(bed, &ctx) == -PVIOMMU_ENOSPC);
    CHECK(init(bed, 0xffffffff, 12) == -PVIOMMU_E2BIG);
    CHECK(init(bed, 128, 40) == -PVIOMMU_ENOMEM);
    CHECK(init(bed, 128, 12) == 0);
}

static void every_device_has_a_context_of_its_own(struct bed *bed)
{
    struct pviommu_capabilities caps;
    uint16_t one, two;
    CHECK(probe(bed, &caps) == 0);
    CHECK(alloc(bed, &one) == 0 && alloc(bed, &two) == 0 && one && two && one != two);
    CHECK(attach(bed, bed->first, one) == 0 && attach(bed, bed->second, two) == 0);
    struct pviommu_map_pages arg = a_map(one, FIRST, 0x100, 1);
    CHECK(map(bed, &arg) == 0);
    arg = a_map(two, FIRST + 1, 0x100, 1);
    CHECK(map(bed, &arg) == 0);
    CHECK(reaches(bed, bed->first, 0x100, FIRST) && reaches(bed, bed->second, 0x100, FIRST + 1));
    CHECK(reaches(bed, bed->first, 0x100, FIRST));
}

static void a_device_moves_between_contexts(struct bed *bed)
{
    uint16_t one, two;
    CHECK(ready(bed, &one) == 0 && alloc(bed, &two) == 0);
    struct pviommu_map_pages arg = a_map(one, FIRST, 0x100, 1);
    CHECK(map(bed, &arg) == 0 && reaches(bed, bed->first, 0x100, FIRST));
    CHECK(attach(bed, bed->first, one) == 0);
    CHECK(attach(bed, bed->first, two) == 0 && refused(bed, bed->first, 0x100));
    CHECK(attach(bed, bed->first, one) == 0 && reaches(bed, bed->first, 0x100, FIRST));
    /* Back to the default context, which lets nothing pass here. */
    CHECK(attach(bed, bed->first, PVIOMMU_DEFAULT_CONTEXT) == 0 && refused(bed, bed->first, 0x100));
    CHECK(attach(bed, bed->first, 77) == -PVIOMMU_ENOENT);
    CHECK(attach(bed, bed->others, one) == -PVIOMMU_ENODEV);
    const struct pviommu_pci_device nobody = { .seg = 0, .bus = 9, .devfn = 0 };
    CHECK(attach(bed, nobody, one) == -PVIOMMU_ENODEV);
}

static void a_loop_of_single_pages_adds_up_in_one_structure(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, 0, 0, 1);
    /* Every other page, the last first, as a scattered buffer of a PV guest is. */
    for (uint32_t i = 0; i < 40; i++) {
        arg.gfn = FIRST + 2 * (39 - i);
        arg.dfn = 0x4000 + i;
        arg.nr_pages = 1;
        CHECK(map(bed, &arg) == 0);
        CHECK(arg.mapped == i + 1);
    }
    for (uint32_t i = 0; i < 40; i++)
        CHECK(reaches(bed, bed->first, 0x4000 + i, FIRST + 2 * (39 - i)));
    CHECK(refused(bed, bed->first, 0x4000 + 40));
    struct pviommu_unmap_pages gone = an_unmap(ctx, 0x4000, 1);
    for (uint32_t i = 0; i < 40; i++) {
        gone.dfn = 0x4000 + i;
        gone.nr_pages = 1;
        CHECK(unmap(bed, &gone) == 0 && gone.unmapped == i + 1);
        CHECK(refused(bed, bed->first, 0x4000 + i));
    }
}

static void a_range_is_mapped_by_one_call(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x8000, 700);
    CHECK(map(bed, &arg) == 0 && arg.mapped == 700);
    for (uint32_t i = 0; i < 700; i += 13)
        CHECK(reaches(bed, bed->first, 0x8000 + i, FIRST + i));
    struct pviommu_unmap_pages gone = an_unmap(ctx, 0x8000, 700);
    CHECK(unmap(bed, &gone) == 0 && gone.unmapped == 700);
    for (uint32_t i = 0; i < 700; i += 13)
        CHECK(refused(bed, bed->first, 0x8000 + i));
}

static void a_call_that_gives_way_goes_on_from_its_structure(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    bed->set_busy(bed->board, 1);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x8000, 1500);
    CHECK(bed->guest_write(bed->board, ARG, &arg, sizeof arg) == 0);
    CHECK(pviommu_iommu_op(bed->machine, bed->domain, 0, 64, PVIOMMU_SUBOP_MAP_PAGES, ARG) == PVIOMMU_CONTINUE);
    CHECK(bed->guest_read(bed->board, ARG, &arg, sizeof arg) == 0);
    CHECK(arg.mapped > 0 && arg.mapped < 1500 && arg.nr_pages == 1500 - arg.mapped);
    CHECK(arg.gfn == FIRST + arg.mapped && arg.dfn == 0x8000 + arg.mapped);
    CHECK(map(bed, &arg) == 0 && arg.mapped == 1500);
    struct pviommu_unmap_pages gone = an_unmap(ctx, 0x8000, 1500);
    CHECK(unmap(bed, &gone) == 0 && gone.unmapped == 1500);
    bed->set_busy(bed->board, 0);
}

static void an_error_keeps_what_came_before(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    /* The last four of these frames are no memory. */
    struct pviommu_map_pages arg = a_map(ctx, bed->pages - 6, 0x300, 10);
    arg.mapped = 5;
    CHECK(map(bed, &arg) == -PVIOMMU_ENOENT && arg.mapped == 5 + 6);
    CHECK(reaches(bed, bed->first, 0x305, bed->pages - 1) && refused(bed, bed->first, 0x306));
    arg = a_map(ctx, FIRST, 0x2fe, 4);
    CHECK(map(bed, &arg) == -PVIOMMU_EADDRINUSE && arg.mapped == 2);
    CHECK(reaches(bed, bed->first, 0x2ff, FIRST + 1) && reaches(bed, bed->first, 0x300, bed->pages - 6));
}

static void an_unmap_stops_at_a_hole_and_counts(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x100, 8);
    CHECK(map(bed, &arg) == 0);
    struct pviommu_unmap_pages gone = an_unmap(ctx, 0x104, 1);
    CHECK(unmap(bed, &gone) == 0 && gone.unmapped == 1);
    gone.dfn = 0x100;
    gone.nr_pages = 8;
    CHECK(unmap(bed, &gone) == -PVIOMMU_ENOENT && gone.unmapped == 5);
    CHECK(refused(bed, bed->first, 0x103) && reaches(bed, bed->first, 0x105, FIRST + 5));
}

static void a_context_with_devices_is_not_freed(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x100, 3);
    CHECK(map(bed, &arg) == 0);
    CHECK(release(bed, ctx) == -PVIOMMU_EBUSY && reaches(bed, bed->first, 0x100, FIRST));
    CHECK(attach(bed, bed->first, PVIOMMU_DEFAULT_CONTEXT) == 0);
    CHECK(release(bed, ctx) == 0 && release(bed, ctx) == -PVIOMMU_ENOENT);
    CHECK(attach(bed, bed->first, ctx) == -PVIOMMU_ENOENT);
    CHECK(release(bed, PVIOMMU_DEFAULT_CONTEXT) == -PVIOMMU_EINVAL);
    struct pviommu_domain_stats stats;
    CHECK(pviommu_domain_stats(bed->domain, &stats) == 0 && stats.pinned_pages == 0 && stats.contexts == 0);
}

static void padding_is_ignored_and_preserved(struct bed *bed)
{
    static const uint8_t untouched[6] = { 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5 };
    struct pviommu_alloc_context opened;
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x100, 1);
    CHECK(map(bed, &arg) == 0 && !memcmp((uint8_t *)&arg + 2, untouched, 6));
    struct pviommu_unmap_pages gone = an_unmap(ctx, 0x100, 1);
    CHECK(unmap(bed, &gone) == 0 && !memcmp((uint8_t *)&gone + 2, untouched, 6));
    CHECK(!memcmp((uint8_t *)&gone + 28, untouched, 4));
    memset(&opened, 0xa5, sizeof opened);
    opened.alloc_flags = 0;
    CHECK(iommu_op(bed, PVIOMMU_SUBOP_ALLOC_CONTEXT, &opened, sizeof opened) == 0);
    CHECK(!memcmp((uint8_t *)&opened + 2, untouched, 2));
}

static void a_mapping_to_read_is_not_written(struct bed *bed)
{
    uint16_t ctx;
    uint64_t word;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x100, 1);
    arg.map_flags = PVIOMMU_MAP_READABLE | PVIOMMU_MAP_CACHE;
    CHECK(map(bed, &arg) == 0);
    CHECK(bed->dma_read(bed->board, bed->first, 0x100 * PAGE, &word, sizeof word) == 0);
    CHECK(refused(bed, bed->first, 0x100));
    arg = a_map(ctx, FIRST, 0x200, 1);
    arg.map_flags = 0;
    CHECK(map(bed, &arg) == -PVIOMMU_EINVAL && arg.mapped == 0);
}

static void what_makes_no_sense_is_refused(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x100, 0);
    CHECK(map(bed, &arg) == 0 && arg.mapped == 0);
    arg = a_map(ctx, FIRST, ~UINT64_C(0), 2);
    CHECK(map(bed, &arg) == -PVIOMMU_EINVAL);
    arg = a_map(ctx, ~UINT64_C(0), 0x100, 2);
    CHECK(map(bed, &arg) == -PVIOMMU_EINVAL);
    arg = a_map(ctx, FIRST, bed->last_bfn, 2);
    CHECK(map(bed, &arg) == -PVIOMMU_EINVAL && arg.mapped == 0);
    arg = a_map(ctx, FIRST, 0x200, 1);
    arg.pgsize = 2 << 20;
    CHECK(map(bed, &arg) == -PVIOMMU_EINVAL);
    arg.pgsize = 0;
    CHECK(map(bed, &arg) == 0);
    arg = a_map(PVIOMMU_DEFAULT_CONTEXT, FIRST, 0x100, 1);
    CHECK(map(bed, &arg) == -PVIOMMU_EINVAL);
    struct pviommu_unmap_pages gone = an_unmap(PVIOMMU_DEFAULT_CONTEXT, 0x100, 1);
    CHECK(unmap(bed, &gone) == -PVIOMMU_EINVAL);
}

static void what_is_not_served_says_so(struct bed *bed)
{
    uint8_t arg[24] = { 0 };
    CHECK(iommu_op(bed, PVIOMMU_SUBOP_NOOP, arg, sizeof arg) == 0);
    for (uint32_t subop = PVIOMMU_SUBOP_ALLOC_NESTED; subop <= PVIOMMU_SUBOP_DETACH_PASID; subop++)
        CHECK(iommu_op(bed, subop, arg, sizeof arg) == -PVIOMMU_EOPNOTSUPP);
    CHECK(iommu_op(bed, 14, arg, sizeof arg) == -PVIOMMU_EOPNOTSUPP);
    struct pviommu_remote_cmd other = { .domid = 2, .subop = PVIOMMU_SUBOP_NOOP };
    CHECK(iommu_op(bed, PVIOMMU_SUBOP_REMOTE_CMD, &other, sizeof other) == -PVIOMMU_EPERM);
    CHECK(pviommu_iommu_op(bed->machine, bed->domain, 0, 32, PVIOMMU_SUBOP_NOOP, 0) == -PVIOMMU_EOPNOTSUPP);
    const uint64_t nowhere = bed->pages * PAGE - 4;
    CHECK(pviommu_iommu_op(bed->machine, bed->domain, 0, 64, PVIOMMU_SUBOP_INIT, nowhere) == -PVIOMMU_EFAULT);
}

static void reserved_ranges_are_counted_then_told(struct bed *bed)
{
    struct pviommu_xen_reserved_device_memory ranges[16];
    uint32_t count;
    CHECK(reserved(bed, bed->first, ranges, 16, &count) == 0 && count == bed->machine_ranges);
    CHECK(reserved(bed, bed->second, ranges, 16, &count) == 0 && count == bed->machine_ranges + 1);
    CHECK(ranges[0].start_pfn == bed->direct.first);
    CHECK(ranges[0].nr_pages == bed->direct.last - bed->direct.first + 1);
    /* What is not the guest's has none. */
    CHECK(reserved(bed, bed->others, ranges, 16, &count) == 0 && count == 0);
}

static void a_buffer_that_is_too_small_holds_the_first(struct bed *bed)
{
    struct pviommu_xen_reserved_device_memory ranges[2];
    struct pviommu_xen_reserved_device_memory_map arg = {
        .flags = PVIOMMU_XENMEM_RDM_ALL, .nr_entries = 0, .buffer = BUFFER };
    memset(ranges, 0xa5, sizeof ranges);
    CHECK(bed->guest_write(bed->board, BUFFER, ranges, sizeof ranges) == 0);
    CHECK(bed->guest_write(bed->board, ARG, &arg, sizeof arg) == 0);
    CHECK(pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 64, ARG) == -PVIOMMU_ENOBUFS);
    CHECK(bed->guest_read(bed->board, ARG, &arg, sizeof arg) == 0 && arg.nr_entries == 1 + bed->machine_ranges);
    arg.nr_entries = 1;
    CHECK(bed->guest_write(bed->board, ARG, &arg, sizeof arg) == 0);
    int status = pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 64, ARG);
    CHECK(status == (bed->machine_ranges ? -PVIOMMU_ENOBUFS : 0));
    CHECK(bed->guest_read(bed->board, BUFFER, ranges, sizeof ranges) == 0);
    CHECK(ranges[0].start_pfn == bed->direct.first && ranges[1].start_pfn == UINT64_C(0xa5a5a5a5a5a5a5a5));

    arg.flags = 2;
    CHECK(bed->guest_write(bed->board, ARG, &arg, sizeof arg) == 0);
    CHECK(pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 64, ARG) == -PVIOMMU_EINVAL);
    CHECK(pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 32, ARG) == -PVIOMMU_EOPNOTSUPP);
    CHECK(pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 64, ~UINT64_C(0)) == -PVIOMMU_EFAULT);
    arg = (struct pviommu_xen_reserved_device_memory_map){
        .nr_entries = 4, .buffer = bed->pages * PAGE, .dev = bed->second };
    CHECK(bed->guest_write(bed->board, ARG, &arg, sizeof arg) == 0);
    CHECK(pviommu_reserved_device_memory_map(bed->machine, bed->domain, 0, 64, ARG) == -PVIOMMU_EFAULT);
}

static void reserved_ranges_cannot_be_mapped(struct bed *bed)
{
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0 && attach(bed, bed->second, ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, bed->direct.first - 1, 3);
    CHECK(map(bed, &arg) == -PVIOMMU_EADDRNOTAVAIL && arg.mapped == 0);
    struct pviommu_unmap_pages gone = an_unmap(ctx, bed->direct.last, 1);
    CHECK(unmap(bed, &gone) == -PVIOMMU_EADDRNOTAVAIL);
    /* The interrupt window, which the driver knows by itself. */
    arg = a_map(ctx, FIRST, 0xfeeff, 1);
    CHECK(map(bed, &arg) == -PVIOMMU_EADDRNOTAVAIL);
    arg = a_map(ctx, FIRST, 0xfef00, 1);
    CHECK(map(bed, &arg) == 0);
}

static void drivers_come_and_go_for_ever(struct bed *bed)
{
    struct pviommu_capabilities caps;
    uint16_t ctx;
    CHECK(probe(bed, &caps) == 0);
    /* More often than there are contexts. */
    for (uint32_t i = 0; i < 300; i++) {
        CHECK(alloc(bed, &ctx) == 0 && attach(bed, bed->first, ctx) == 0);
        struct pviommu_map_pages arg = a_map(ctx, FIRST + i, 0x100 + i, 2);
        CHECK(map(bed, &arg) == 0 && reaches(bed, bed->first, 0x101 + i, FIRST + i + 1));
        CHECK(attach(bed, bed->first, PVIOMMU_DEFAULT_CONTEXT) == 0 && release(bed, ctx) == 0);
    }
}

#define TEST(name) { #name, name }
const struct test linux_v7[] = {
    TEST(probing_sets_the_service_up_once),
    TEST(init_beyond_limits_is_refused),
    TEST(every_device_has_a_context_of_its_own),
    TEST(a_device_moves_between_contexts),
    TEST(a_loop_of_single_pages_adds_up_in_one_structure),
    TEST(a_range_is_mapped_by_one_call),
    TEST(a_call_that_gives_way_goes_on_from_its_structure),
    TEST(an_error_keeps_what_came_before),
    TEST(an_unmap_stops_at_a_hole_and_counts),
    TEST(a_context_with_devices_is_not_freed),
    TEST(padding_is_ignored_and_preserved),
    TEST(a_mapping_to_read_is_not_written),
    TEST(what_makes_no_sense_is_refused),
    TEST(what_is_not_served_says_so),
    TEST(reserved_ranges_are_counted_then_told),
    TEST(a_buffer_that_is_too_small_holds_the_first),
    TEST(reserved_ranges_cannot_be_mapped),
    TEST(drivers_come_and_go_for_ever),
    { NULL, NULL },
};
