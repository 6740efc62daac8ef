/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a hypervisor calls of its own accord. */
#include <stdlib.h>

#include "linux_driver.h"

/* Sets `status` to the last one of a call that is made for as long as it is to be made again. */
#define FINISH(call)                       \
    do                                     \
        status = (call);                   \
    while (status == PVIOMMU_CONTINUE)

/* The machine frame behind a bus frame of a context, as a debug key prints it; 0 if there is none. */
static uint64_t frame_behind(struct bed *bed, uint16_t ctx, uint64_t dfn)
{
    char line[100];
    uint64_t from = dfn;
    int status;
    do {
        status = pviommu_dump_line(bed->machine, bed->domain, 1, ctx, &from, line, sizeof line);
        const char *arrow = strstr(line, "-> ");
        if (arrow && strtoull(line, NULL, 16) <= dfn)
            return strtoull(arrow + 3, NULL, 16) + dfn - strtoull(line, NULL, 16);
    } while (status == PVIOMMU_CONTINUE);
    return 0;
}

/* A batch of elements that are alike, on a context. */
static int batch(struct bed *bed, uint16_t ctx, struct pviommu_batch_element *elements, uint32_t count)
{
    struct pviommu_batch arg = { .size = sizeof arg, .ctx_id = ctx, .domid = PVIOMMU_DOMID_SELF,
                                 .owner = PVIOMMU_DOMID_SELF, .nr_ops = count,
                                 .elem_size = sizeof *elements, .ops = BUFFER };
    if (bed->guest_write(bed->board, BUFFER, elements, count * sizeof *elements))
        return -PVIOMMU_EFAULT;
    int status = iommu_op(bed, PVIOMMU_SUBOP_BATCH, &arg, sizeof arg);
    return bed->guest_read(bed->board, BUFFER, elements, count * sizeof *elements) ? -PVIOMMU_EFAULT : status;
}

static void scattered_pages_are_acquired_by_a_list(struct bed *bed)
{
    /* No two follow each other, and one is named twice; behind the last there is nothing. */
    static const uint64_t gfns[] = { FIRST + 5, FIRST + 1, FIRST + 3, FIRST + 1, UINT64_MAX };
    struct pviommu_batch_element elements[5] = { { 0 } };
    uint16_t ctx;
    struct pviommu_domain_stats stats;
    CHECK(ready(bed, &ctx) == 0);
    for (unsigned i = 0; i < 5; i++) {
        elements[i].op = PVIOMMU_BATCH_OP_MAP;
        elements[i].flags = PVIOMMU_ELEM_READ | PVIOMMU_ELEM_WRITE;
        elements[i].bfn = 0x100 + 2 * i;
        elements[i].page = gfns[i];
        elements[i].nr = 1;
    }
    CHECK(batch(bed, ctx, elements, 5) == 0);
    for (unsigned i = 0; i < 4; i++)
        CHECK(elements[i].status == 0 && reaches(bed, bed->first, elements[i].bfn, gfns[i]));
    CHECK(elements[4].status == -PVIOMMU_ENOENT && refused(bed, bed->first, elements[4].bfn));
    CHECK(pviommu_domain_stats(bed->domain, &stats) == 0 && stats.pinned_pages == 4);
    for (unsigned i = 0; i < 4; i++) {
        elements[i].op = PVIOMMU_BATCH_OP_UNMAP;
        elements[i].flags = 0;
        elements[i].page = 0;
        elements[i].done = 0;
    }
    CHECK(batch(bed, ctx, elements, 4) == 0);
    CHECK(pviommu_domain_stats(bed->domain, &stats) == 0 && stats.pinned_pages == 0);
}

static void pages_that_leave_are_taken_out(struct bed *bed)
{
    uint16_t ctx;
    int status;
    struct pviommu_sweep sweep;
    struct pviommu_domain_stats stats;
    CHECK(ready(bed, &ctx) == 0);
    struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x100, 4);
    CHECK(map(bed, &arg) == 0);
    uint64_t frame = frame_behind(bed, ctx, 0x102);
    CHECK(frame != 0);
    const struct pviommu_range frames = { frame, frame };
    bed->set_busy(bed->board, 1);
    CHECK(pviommu_sweep_init(&sweep) == 0);
    FINISH(pviommu_retarget(bed->machine, bed->domain, 1, &frames, 1, &sweep));
    CHECK(status == 0);
    CHECK(refused(bed, bed->first, 0x102) && reaches(bed, bed->first, 0x101, FIRST + 1));
    CHECK(pviommu_domain_stats(bed->domain, &stats) == 0 && stats.pinned_pages == 3);
    /* Memory is no register: nothing goes. */
    CHECK(pviommu_sweep_init(&sweep) == 0);
    FINISH(pviommu_revoke_mmio(bed->machine, bed->domain, 1, &frames, &sweep));
    CHECK(status == 0);
    CHECK(reaches(bed, bed->first, 0x103, FIRST + 3));
    bed->set_busy(bed->board, 0);
}

static void empty_tables_are_given_back(struct bed *bed)
{
    uint16_t ctx;
    int status;
    struct pviommu_sweep sweep;
    struct pviommu_domain_stats full, empty;
    CHECK(ready(bed, &ctx) == 0);
    for (uint64_t i = 0; i < 4; i++) {
        struct pviommu_map_pages arg = a_map(ctx, FIRST, 0x1000 + i * 512, 1);
        struct pviommu_unmap_pages gone = an_unmap(ctx, 0x1000 + i * 512, 1);
        CHECK(map(bed, &arg) == 0 && unmap(bed, &gone) == 0);
    }
    CHECK(pviommu_domain_stats(bed->domain, &full) == 0 && pviommu_sweep_init(&sweep) == 0);
    FINISH(pviommu_trim(bed->machine, bed->domain, 1, &sweep));
    CHECK(status == 0);
    CHECK(pviommu_domain_stats(bed->domain, &empty) == 0);
    CHECK(empty.table_frames < full.table_frames);
    FINISH(pviommu_flush_deferred(bed->machine, bed->domain, 1));
    CHECK(status == 0);
    CHECK(pviommu_renew_invalidations(bed->domain) == 0);
    CHECK(pviommu_renew_log_lines(bed->domain) == 0);
}

static void only_a_maintained_map_follows_the_p2m(struct bed *bed)
{
    struct pviommu_p2m_change change;
    struct pviommu_backing backing = { .first = 0x100, .access = PVIOMMU_ACCESS_READ };
    uint64_t old = 0x200;
    int status;
    CHECK(pviommu_set_default(bed->machine, bed->domain, 1, PVIOMMU_DEFAULT_MAP_HOST) == -PVIOMMU_EPERM);
    CHECK(pviommu_p2m_change_init(&change, 5, 1, &old, &backing) == 0);
    FINISH(pviommu_p2m_changed(bed->machine, bed->domain, 1, &change));
    CHECK(status == 0);
    CHECK(refused(bed, bed->first, 5));
    /* Nothing is backed, so that none of it is mapped. */
    backing.access = 0;
    CHECK(pviommu_p2m_change_init(&change, 5, 1, NULL, &backing) == 0);
    FINISH(pviommu_p2m_changed(bed->machine, bed->domain, 1, &change));
    CHECK(status == 0);
}

static void devices_go_where_they_are_given(struct bed *bed)
{
    struct pviommu_device_stats device;
    struct pviommu_context_stats context;
    uint16_t ctx;
    CHECK(ready(bed, &ctx) == 0);
    CHECK(pviommu_device_stats(bed->machine, bed->first, &device) == 0);
    CHECK(device.home == PVIOMMU_HOME_CONTEXT && device.context == ctx);
    CHECK(pviommu_context_stats(bed->machine, bed->domain, ctx, &context) == 0);
    CHECK(context.units == 1 && context.edited_by == PVIOMMU_EDITED_BY_GUEST && context.state == 0);
    CHECK(context.background == PVIOMMU_BACKGROUND_FAULT && context.aperture.last == bed->last_bfn);
    CHECK(pviommu_context_stats(bed->machine, bed->domain, ctx + 1, &context) == -PVIOMMU_ENOENT);
    CHECK(pviommu_assign(bed->machine, bed->domain, 1, bed->first) == -PVIOMMU_EBUSY);
    CHECK(pviommu_quarantine(bed->machine, 1, bed->first) == -PVIOMMU_EBUSY);
    CHECK(pviommu_reassign(bed->machine, bed->domain, bed->domain, 1, bed->first) == -PVIOMMU_EINVAL);
    CHECK(pviommu_plug(bed->machine, bed->first) == -PVIOMMU_EEXIST);
    CHECK(pviommu_unplug(bed->machine, bed->first) == -PVIOMMU_EBUSY);
    CHECK(pviommu_unassign(bed->machine, bed->domain, 1, bed->first) == 0);
    CHECK(pviommu_device_stats(bed->machine, bed->first, &device) == 0);
    CHECK(device.owner == PVIOMMU_DOMID_INVALID && device.home == PVIOMMU_HOME_BLOCKED);
    CHECK(attach(bed, bed->first, ctx) == -PVIOMMU_ENODEV);
    /* Firmware goes on using the memory of this one. */
    CHECK(pviommu_unassign(bed->machine, bed->domain, 1, bed->second) == 0);
    CHECK(pviommu_device_stats(bed->machine, bed->second, &device) == 0);
    CHECK(device.home == PVIOMMU_HOME_QUARANTINE);
    CHECK(pviommu_accept_risks(bed->machine, bed->first, 0, PVIOMMU_RISK_UNSAFE_INTERRUPTS) == 0);
    CHECK(pviommu_device_stats(bed->machine, bed->first, &device) == 0);
    CHECK(device.risks == PVIOMMU_RISK_UNSAFE_INTERRUPTS);
}

static void a_device_that_faults_without_end_is_stopped(struct bed *bed)
{
    struct pviommu_device_stats device;
    struct pviommu_fault fault = {
        .address = 0x5000, .source = bed->first, .access = PVIOMMU_ACCESS_WRITE,
        .reason = PVIOMMU_FAULT_NOT_MAPPED };
    CHECK(pviommu_report_fault(bed->machine, 0, &fault, 1) == PVIOMMU_REPORTED_RECORDED);
    int last = 0;
    for (int i = 0; i < 2000 && last != PVIOMMU_REPORTED_STOPPED; i++)
        last = pviommu_report_fault(bed->machine, 0, &fault, 1);
    CHECK(last == PVIOMMU_REPORTED_STOPPED);
    CHECK(pviommu_device_stats(bed->machine, bed->first, &device) == 0);
    CHECK(device.state == PVIOMMU_DEVICE_STATE_STOPPED && device.faults > 1024);
    CHECK(pviommu_restart(bed->machine, bed->first) == 0);
    CHECK(pviommu_device_stats(bed->machine, bed->first, &device) == 0 && device.state == 0);
    fault.source.bus = 9;
    CHECK(pviommu_report_fault(bed->machine, 0, &fault, 1) == -PVIOMMU_ENODEV);
    CHECK(pviommu_restart(bed->machine, fault.source) == -PVIOMMU_ENODEV);
}

#define TEST(name) { #name, name }
const struct test embedder[] = {
    TEST(scattered_pages_are_acquired_by_a_list),
    TEST(pages_that_leave_are_taken_out),
    TEST(empty_tables_are_given_back),
    TEST(only_a_maintained_map_follows_the_p2m),
    TEST(devices_go_where_they_are_given),
    TEST(a_device_that_faults_without_end_is_stopped),
    { NULL, NULL },
};
