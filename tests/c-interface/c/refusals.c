/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What can be known to be wrong with a pointer or a number is refused, by every function. */
#include <stdlib.h>
#include <string.h>

#include "bed.h"

#define NO (-PVIOMMU_EINVAL)

static void null_is_no_object(struct bed *bed)
{
    struct pviommu_machine *m = bed->machine;
    struct pviommu_domain *d = bed->domain;
    struct pviommu_sweep sweep;
    struct pviommu_p2m_change change;
    struct pviommu_range range = { 1, 1 };
    struct pviommu_fault fault = { .access = PVIOMMU_ACCESS_READ };
    struct pviommu_domain_stats domain_stats;
    struct pviommu_unit_stats unit_stats;
    struct pviommu_device_stats device_stats;
    struct pviommu_context_stats context_stats;
    struct pviommu_unit_facts facts;
    struct pviommu_event event;
    uint64_t from = 0;
    char text[80];

    CHECK(pviommu_sweep_init(&sweep) == 0 && pviommu_p2m_change_init(&change, 0, 1, NULL, NULL) == 0);
    CHECK(pviommu_iommu_op(NULL, d, 0, 64, 0, 0) == NO && pviommu_iommu_op(m, NULL, 0, 64, 0, 0) == NO);
    CHECK(pviommu_reserved_device_memory_map(NULL, d, 0, 64, 0) == NO);
    CHECK(pviommu_reserved_device_memory_map(m, NULL, 0, 64, 0) == NO);
    CHECK(pviommu_set_default(NULL, d, 0, 0) == NO && pviommu_set_default(m, NULL, 0, 0) == NO);
    CHECK(pviommu_teardown(NULL, d, 0) == NO && pviommu_teardown(m, NULL, 0) == NO);
    CHECK(pviommu_flush_deferred(NULL, d, 0) == NO && pviommu_flush_deferred(m, NULL, 0) == NO);
    CHECK(pviommu_renew_invalidations(NULL) == NO && pviommu_domain_fini(NULL) == NO);
    CHECK(pviommu_renew_log_lines(NULL) == NO);
    CHECK(pviommu_p2m_changed(NULL, d, 0, &change) == NO && pviommu_p2m_changed(m, d, 0, NULL) == NO);
    CHECK(pviommu_p2m_change_init(NULL, 0, 1, NULL, NULL) == NO && pviommu_sweep_init(NULL) == NO);
    CHECK(pviommu_retarget(NULL, d, 0, &range, 1, &sweep) == NO);
    CHECK(pviommu_retarget(m, d, 0, NULL, 1, &sweep) == NO && pviommu_retarget(m, d, 0, &range, 1, NULL) == NO);
    CHECK(pviommu_revoke_mmio(NULL, d, 0, &range, &sweep) == NO && pviommu_revoke_mmio(m, d, 0, NULL, &sweep) == NO);
    CHECK(pviommu_trim(NULL, d, 0, &sweep) == NO && pviommu_trim(m, d, 0, NULL) == NO);
    CHECK(pviommu_quarantine(NULL, 0, bed->first) == NO);
    CHECK(pviommu_assign(NULL, d, 0, bed->first) == NO && pviommu_assign(m, NULL, 0, bed->first) == NO);
    CHECK(pviommu_unassign(NULL, d, 0, bed->first) == NO && pviommu_unassign(m, NULL, 0, bed->first) == NO);
    CHECK(pviommu_reassign(NULL, d, d, 0, bed->first) == NO && pviommu_reassign(m, d, NULL, 0, bed->first) == NO);
    CHECK(pviommu_accept_risks(NULL, bed->first, 0, 0) == NO);
    CHECK(pviommu_plug(NULL, bed->first) == NO && pviommu_unplug(NULL, bed->first) == NO);
    CHECK(pviommu_report_fault(NULL, 0, &fault, 0) == NO && pviommu_report_fault(m, 0, NULL, 0) == NO);
    CHECK(pviommu_restart(NULL, bed->first) == NO);
    CHECK(pviommu_domain_stats(NULL, &domain_stats) == NO && pviommu_domain_stats(d, NULL) == NO);
    CHECK(pviommu_unit_stats(NULL, 0, &unit_stats) == NO && pviommu_unit_stats(m, 0, NULL) == NO);
    CHECK(pviommu_device_stats(NULL, bed->first, &device_stats) == NO);
    CHECK(pviommu_device_stats(m, bed->first, NULL) == NO);
    CHECK(pviommu_context_stats(NULL, d, 0, &context_stats) == NO);
    CHECK(pviommu_explain(NULL, 0, bed->first, 0, PVIOMMU_ACCESS_READ, text, sizeof text) == NO);
    CHECK(pviommu_dump_line(NULL, d, 0, 0, &from, text, sizeof text) == NO);
    CHECK(pviommu_dump_line(m, d, 0, 0, NULL, text, sizeof text) == NO);
    CHECK(pviommu_unit_facts(NULL, &facts) == NO && pviommu_unit_next_event(NULL, &event) == NO);
    CHECK(pviommu_unit_isolates_interrupts(NULL) == NO && pviommu_unit_suspend(NULL) == NO);
    CHECK(pviommu_unit_resume(NULL) == NO && pviommu_unit_crash_shutdown(NULL) == NO);
    CHECK(pviommu_runs_push(NULL, NULL) == NO && pviommu_limits_default(NULL) == NO);
}

static void what_is_not_aligned_is_no_object(struct bed *bed)
{
    void *machine = (char *)bed->machine + 1, *domain = (char *)bed->domain + 4;
    CHECK(pviommu_iommu_op(machine, bed->domain, 0, 64, 0, 0) == NO);
    CHECK(pviommu_iommu_op(bed->machine, domain, 0, 64, 0, 0) == NO);
    struct pviommu_domain_stats stats[2];
    void *odd = (char *)stats + 2;
    CHECK(pviommu_domain_stats(bed->domain, odd) == NO);
}

static void another_kind_of_object_is_none(struct bed *bed)
{
    void *machine = bed->machine, *domain = bed->domain;
    static uint64_t nothing[512];
    void *none = nothing;
    CHECK(pviommu_iommu_op(domain, domain, 0, 64, 0, 0) == NO);
    CHECK(pviommu_iommu_op(machine, machine, 0, 64, 0, 0) == NO);
    CHECK(pviommu_unit_suspend(machine) == NO);
    CHECK(pviommu_iommu_op(none, domain, 0, 64, 0, 0) == NO && pviommu_domain_fini(none) == NO);
    struct pviommu_sweep sweep = { { 0 } };
    CHECK(pviommu_trim(bed->machine, bed->domain, 0, &sweep) == NO);
    struct pviommu_p2m_change change = { { 0 } };
    CHECK(pviommu_p2m_changed(bed->machine, bed->domain, 0, &change) == NO);
}

static void numbers_that_mean_nothing_are_refused(struct bed *bed)
{
    struct pviommu_machine *m = bed->machine;
    struct pviommu_domain *d = bed->domain;
    struct pviommu_p2m_change change;
    struct pviommu_backing backing = { .first = 1, .access = 8 };
    struct pviommu_fault fault = { .access = 16 };
    CHECK(pviommu_iommu_op(m, d, 99, 64, 0, 0) == NO && pviommu_iommu_op(m, d, 0, 16, 0, 0) == NO);
    CHECK(pviommu_set_default(m, d, 0, 5) == NO && pviommu_set_default(m, d, 99, 0) == NO);
    CHECK(pviommu_p2m_change_init(&change, 0, 0, NULL, NULL) == NO);
    CHECK(pviommu_p2m_change_init(&change, ~UINT64_C(0), 2, NULL, NULL) == NO);
    CHECK(pviommu_p2m_change_init(&change, 0, 1, NULL, &backing) == NO);
    CHECK(pviommu_accept_risks(m, bed->first, 0, 8) == NO);
    CHECK(pviommu_report_fault(m, 0, &fault, 0) == NO);
    struct pviommu_sweep sweep;
    struct pviommu_range ranges[17];
    for (int i = 0; i < 17; i++)
        ranges[i] = (struct pviommu_range){ 1, 1 };
    CHECK(pviommu_sweep_init(&sweep) == 0);
    CHECK(pviommu_retarget(m, d, 0, ranges, 17, &sweep) == -PVIOMMU_E2BIG);
    ranges[1] = (struct pviommu_range){ 2, 1 };
    CHECK(pviommu_retarget(m, d, 0, ranges, 2, &sweep) == NO && pviommu_retarget(m, d, 0, ranges, 0, &sweep) == NO);
}

static void objects_are_made_in_memory_that_fits_only(struct bed *bed)
{
    struct pviommu_domain_config config = { .id = 9, .nr_contexts = 2 };
    struct pviommu_domain *domain = NULL;
    size_t bytes, room;
    CHECK(pviommu_limits_default(&config.limits) == 0 && pviommu_domain_size(&config, &bytes) == 0);
    room = bytes + 2 * pviommu_alignment();
    unsigned char *all = malloc(room), *memory = all;
    CHECK(all);
    memset(all, 0xa5, room);
    while ((uintptr_t)memory % pviommu_alignment())
        memory++;
    int odd = pviommu_domain_init(memory + 8, bytes, &config, &domain);
    int none = pviommu_domain_init(NULL, bytes, &config, &domain);
    int small = pviommu_domain_init(memory, bytes - 1, &config, &domain);
    config.flags = 4;
    int flags = pviommu_domain_init(memory, bytes, &config, &domain);
    config.flags = 0;
    int made = pviommu_domain_init(memory, bytes, &config, &domain);
    int whole = memory[bytes] == 0xa5; /* and no byte more */
    int ended = domain ? pviommu_domain_fini(domain) : -1;
    int again = domain ? pviommu_domain_fini(domain) : -1;
    free(all);
    CHECK(odd == NO && none == NO && small == -PVIOMMU_ENOMEM && flags == NO);
    CHECK(made == 0 && whole && ended == 0 && again == NO);
    config.nr_contexts = 0;
    CHECK(pviommu_domain_size(&config, &bytes) == NO);
}

static void a_machine_that_does_not_fit_says_why(struct bed *bed)
{
    static _Alignas(128) unsigned char memory[1 << 17];
    struct pviommu_machine_config config = { .nr_cpus = 1 };
    struct pviommu_platform nothing = { .copy_in = NULL };
    struct pviommu_machine *machine = NULL;
    size_t bytes;
    char why[60];
    CHECK(pviommu_machine_size(&config, &bytes) == 0 && bytes <= sizeof memory);
    int status = pviommu_machine_init(memory, bytes, &config, &nothing, NULL, &machine, why, sizeof why);
    CHECK(status == NO && !machine && !strcmp(why, "the platform lacks copy_in"));
    status = pviommu_machine_init(memory, bytes, &config, &nothing, NULL, &machine, why, 8);
    CHECK(status == NO && !strcmp(why, "the pla"));
    status = pviommu_machine_init(memory, bytes, &config, &nothing, NULL, &machine, NULL, 0);
    CHECK(status == NO && !machine);
    config.nr_units = 1;
    CHECK(pviommu_machine_size(&config, &bytes) == NO);
}

static void an_operator_sees_what_there_is(struct bed *bed)
{
    struct pviommu_unit_stats unit;
    struct pviommu_device_stats device;
    char text[200];
    CHECK(pviommu_unit_stats(bed->machine, 0, &unit) == 0 && unit.devices == 3 && unit.assigned == 3);
    CHECK(unit.state == PVIOMMU_UNIT_STATE_SERVES);
    CHECK(pviommu_unit_stats(bed->machine, 7, &unit) == -PVIOMMU_ENODEV);
    CHECK(pviommu_device_stats(bed->machine, bed->first, &device) == 0 && device.owner == 1);
    CHECK(device.group == PVIOMMU_NO_GROUP && device.state == 0);
    CHECK(pviommu_explain(bed->machine, 0, bed->first, 0x5000, PVIOMMU_ACCESS_READ, text, sizeof text) == 0);
    CHECK(strstr(text, "of domain 1") && strstr(text, "read at 0x5000"));
    CHECK(pviommu_explain(bed->machine, 0, bed->first, 0, PVIOMMU_ACCESS_READ, text, 9) == -PVIOMMU_ENOBUFS);
    CHECK(strlen(text) == 8);
}

#define TEST(name) { #name, name }
const struct test refusals[] = {
    TEST(null_is_no_object),
    TEST(what_is_not_aligned_is_no_object),
    TEST(another_kind_of_object_is_none),
    TEST(numbers_that_mean_nothing_are_refused),
    TEST(objects_are_made_in_memory_that_fits_only),
    TEST(a_machine_that_does_not_fit_says_why),
    TEST(an_operator_sees_what_there_is),
    { NULL, NULL },
};
