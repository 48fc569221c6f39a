/* Goal: the number of workers, and their processors, follow from the machine.  The test replaces the machine by a
 * made-up one (the linker leads calls of os_machine_read here: its option --wrap). */
#include "faults.h"
#include "machine/machine.h"
#include "machine/topology.h"
#include "tasks.h"

#include <uv.h>

/* ---- Machines -------------------------------------------------------------------------------- */

static os_machine made_up; /* count 0: the real machine is read */

int REAL(os_machine_read)(os_machine *machine);
int WRAP(os_machine_read)(os_machine *machine);

int WRAP(os_machine_read)(os_machine *machine)
{
    if (made_up.count == 0)
        return REAL(os_machine_read)(machine);
    *machine = made_up;
    return 0;
}

void REAL(topology_complete)(os_machine *machine);
void WRAP(topology_complete)(os_machine *machine);

void WRAP(topology_complete)(os_machine *machine)
{
    if (made_up.count == 0)
        REAL(topology_complete)(machine);
}

/* The first threads of all cores are numbered first, then the second threads. */
static void make_up(uint32_t cores, uint32_t threads, uint32_t cores_of_cache, uint32_t cores_of_node)
{
    made_up = (os_machine){.count = cores * threads};
    for (uint32_t i = 0; i < made_up.count; i++) {
        uint32_t core = i % cores;
        made_up.cpus[i] = (os_cpu){i, core, core / cores_of_cache * cores_of_cache, core / cores_of_node};
    }
}

static int forget(void **state)
{
    (void)state;
    made_up.count = 0;
    return 0;
}

/* ---- How many workers ------------------------------------------------------------------------ */

/* This test has to be the first, because a process reads the machine once. */
static void a_pool_has_no_more_workers_than_the_quota(void **state)
{
    xf_pool_stats stats;
    xf_pool *pool;

    (void)state;
    make_up(64, 1, 8, 64);
    made_up.quota = 2;
    assert_int_equal(xf_pool_create(&pool, NULL), 0);
    xf_pool_stats_get(pool, &stats, NULL, 0);
    assert_int_equal(stats.workers, 2);
    xf_pool_free(pool);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 3}), 0);
    xf_pool_stats_get(pool, &stats, NULL, 0);
    assert_int_equal(stats.workers, 3);
    xf_pool_free(pool);
}

static void workers_are_as_many_as_cores_or_quota(void **state)
{
    static const struct {
        double quota;
        int workers;
    } cases[] = {{0, 8}, {0.1, 1}, {1, 1}, {1.01, 2}, {1.5, 2}, {2, 2}, {7.5, 8}, {8, 8}, {8.5, 8}, {100, 8}};

    (void)state;
    make_up(8, 2, 8, 8);
    assert_int_equal(machine_cores(&made_up), 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made_up.quota = cases[i].quota;
        assert_int_equal(machine_workers(&made_up), cases[i].workers);
    }
}

static void memory_is_the_machines_or_the_groups(void **state)
{
    uint64_t all = uv_get_total_memory();

    (void)state;
    make_up(1, 1, 1, 1);
    assert_true(machine_memory(&made_up) == all);
    made_up.memory_limit = all / 2;
    assert_true(machine_memory(&made_up) == all / 2);
    made_up.memory_limit = all * 2;
    assert_true(machine_memory(&made_up) == all);
}

/* ---- Advice ---------------------------------------------------------------------------------- */

enum { KIB = 1024, MIB = 1024 * KIB };

#define GIB ((size_t)1024 * MIB)

/* Makes up a usual machine: 8 cores of 2 threads, with 1 MiB of cache each, and 32 MiB for each cores_of_cache. */
static void make_up_usual(uint32_t cores_of_cache, uint32_t cores_of_node)
{
    make_up(8, 2, cores_of_cache, cores_of_node);
    made_up.cache = 32 * MIB;
    made_up.core_cache = MIB;
}

static xf_advice advise(size_t own, size_t shared)
{
    xf_advice advice;

    assert_int_equal(xf_advise(&advice, &(xf_workload){own, shared}), 0);
    assert_true(strlen(advice.why) < sizeof advice.why - 1);
    return advice;
}

static void expect_advice(size_t own, size_t shared, int workers, xf_placement placement, const char *reason)
{
    xf_advice advice = advise(own, shared);

    if (advice.workers != workers || advice.placement != placement || !strstr(advice.why, reason))
        print_error("%s", advice.why);
    assert_int_equal(advice.workers, workers);
    assert_int_equal(advice.placement, placement);
    assert_non_null(strstr(advice.why, reason));
}

static void without_a_load_cores_decide(void **state)
{
    xf_advice advice;

    (void)state;
    make_up_usual(4, 8);
    assert_int_equal(xf_advise(&advice, NULL), 0);
    assert_int_equal(advice.workers, 8);
    assert_int_equal(advice.placement, XF_PLACEMENT_NONE);
    assert_int_equal(advice.processors, 16);
    assert_int_equal(advice.cores, 8);
    assert_int_equal(advice.caches, 2);
    assert_int_equal(advice.nodes, 1);
    assert_int_equal(advice.cache, 32 * MIB);
    assert_true(advice.quota == 0);
    assert_true(advice.memory == uv_get_total_memory());
    expect_advice(0, 0, 8, XF_PLACEMENT_NONE, "8 workers, by cores\n");
    expect_advice(0, 0, 8, XF_PLACEMENT_NONE, "they have 16 threads");
    expect_advice(0, GIB, 8, XF_PLACEMENT_NONE, "what a worker touches is not known");
}

static void caches_bound_the_number_where_that_pays(void **state)
{
    (void)state;
    make_up_usual(8, 8);
    expect_advice(512 * KIB, 0, 8, XF_PLACEMENT_CORES, "fit into those of a core");
    expect_advice(4 * MIB, 0, 8, XF_PLACEMENT_CORES, "the data of all workers fit");
    expect_advice(6 * MIB, 0, 5, XF_PLACEMENT_CORES, "5 workers, by caches\n");
    expect_advice(8 * MIB, 0, 4, XF_PLACEMENT_CORES, "the data of 4 of 8 workers fit");
    expect_advice(9 * MIB, 0, 8, XF_PLACEMENT_CORES, "too small for half");
    expect_advice(4 * MIB, 12 * MIB, 5, XF_PLACEMENT_CORES, "by caches");
    expect_advice(4 * MIB, GIB / 8, 4, XF_PLACEMENT_CORES, "by caches");
    make_up_usual(2, 8);
    expect_advice(16 * MIB, 0, 8, XF_PLACEMENT_CORES, "stays at the cache");
    expect_advice(17 * MIB, 0, 4, XF_PLACEMENT_CORES, "the data of 1 of 2 workers fit");
    expect_advice(33 * MIB, 0, 8, XF_PLACEMENT_CORES, "too small for half");
    made_up.cache = made_up.core_cache = 0;
    expect_advice(17 * MIB, 0, 8, XF_PLACEMENT_CORES, "caches     not known\n");
}

static void the_quota_bounds_the_number(void **state)
{
    (void)state;
    make_up_usual(4, 8);
    made_up.quota = 1.5;
    expect_advice(0, 0, 2, XF_PLACEMENT_NONE, "2 workers, by the quota\n");
    expect_advice(4 * MIB, 0, 2, XF_PLACEMENT_NONE, "1.5 processors may be busy");
    expect_advice(4 * MIB, 0, 2, XF_PLACEMENT_NONE, "shared with others");
}

static void memory_bounds_the_number(void **state)
{
    (void)state;
    make_up_usual(8, 8);
    made_up.memory_limit = GIB / 2;
    expect_advice(100 * MIB, 0, 4, XF_PLACEMENT_CORES, "4 workers, by memory\n");
    expect_advice(100 * MIB, 200 * MIB, 2, XF_PLACEMENT_CORES, "the limit of the container or job: room for 2 workers");
    expect_advice(600 * MIB, 0, 1, XF_PLACEMENT_NONE, "1 worker, by memory\n");
    expect_advice(MIB, GIB, 1, XF_PLACEMENT_NONE, "1 worker, by memory\n");
}

static void nodes_matter_where_caches_do_not_help(void **state)
{
    (void)state;
    make_up_usual(4, 4);
    expect_advice(40 * MIB, 0, 8, XF_PLACEMENT_NUMA, "of 2 memory nodes");
    expect_advice(4 * MIB, 0, 8, XF_PLACEMENT_CORES, "stays at the cache");
}

static void one_processor_is_a_machine_too(void **state)
{
    (void)state;
    make_up(1, 1, 1, 1);
    expect_advice(0, 0, 1, XF_PLACEMENT_NONE, "1 worker, by cores\n");
    expect_advice(MIB, MIB, 1, XF_PLACEMENT_NONE, "1 worker, by cores\n");
}

/* The text fits for any machine and workload. */
static void the_reasons_fit_a_screen(void **state)
{
    static const size_t owns[] = {0, 1, MIB, 9 * MIB, GIB, SIZE_MAX};

    (void)state;
    for (int i = 0; i < 64; i++) {
        xf_advice advice;
        int lines = 0;
        make_up_usual(i & 1 ? 2 : 8, i & 2 ? 4 : 8);
        made_up.quota = i & 4 ? 1234.56789 : i & 8 ? 3.3333333 : 0;
        made_up.memory_limit = i & 16 ? 123456789 : 0;
        made_up.cache = i & 32 ? 0 : made_up.cache;
        advice = advise(owns[i % 6], owns[i / 6 % 6]);
        for (const char *at = advice.why; (at = strchr(at, '\n')); at++)
            lines++;
        assert_in_range(lines, 6, 8);
        assert_int_equal(advice.why[strlen(advice.why) - 1], '\n');
        assert_in_range(advice.workers, 1, 8);
    }
}

static void this_machine_is_advised_on(void **state)
{
    os_machine machine;
    xf_advice advice;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    assert_int_equal(xf_advise(&advice, NULL), 0);
    assert_int_equal(advice.workers, machine_workers(&machine));
    assert_int_equal(advice.processors, machine.count);
    assert_true((advice.caches == 0) == (advice.cache == 0));
}

/* hwloc makes up a machine from a description. */
static void hwloc_tells_of_caches(void **state)
{
    os_machine machine = {.count = 8};

    (void)state;
    for (uint32_t i = 0; i < machine.count; i++)
        machine.cpus[i].number = i;
    assert_int_equal(uv_os_setenv("HWLOC_SYNTHETIC", "numa:2 l3:1(size=33554432) l2:4(size=1048576) pu:1"), 0);
    topology_complete(&machine);
    assert_int_equal(uv_os_unsetenv("HWLOC_SYNTHETIC"), 0);
    assert_int_equal(machine.cache, XF_TEST_TOPOLOGY ? 32 << 20 : 0);
    assert_int_equal(machine.core_cache, XF_TEST_TOPOLOGY ? 1 << 20 : 0);
    for (uint32_t i = 0; i < machine.count; i++) {
        assert_int_equal(machine.cpus[i].cache, XF_TEST_TOPOLOGY ? i / 4 * 4 : 0);
        assert_int_equal(machine.cpus[i].node, XF_TEST_TOPOLOGY ? i / 4 : 0);
    }
}

/* ---- Placement ------------------------------------------------------------------------------- */

static os_cpu_set set_of(uint32_t first, uint32_t second)
{
    os_cpu_set set = {{0}};

    set.words[first / 64] |= UINT64_C(1) << first % 64;
    set.words[second / 64] |= UINT64_C(1) << second % 64;
    return set;
}

static void cores_are_spread_over_caches_and_nodes(void **state)
{
    static const uint32_t order[] = {0, 4, 2, 6, 1, 5, 3, 7};
    os_cpu_set *places, expected;
    uint32_t count;

    (void)state;
    make_up(8, 2, 2, 4);
    assert_int_equal(machine_places(XF_PLACEMENT_CORES, &places, &count), 0);
    assert_int_equal(count, 8);
    for (uint32_t i = 0; i < count; i++) {
        expected = set_of(order[i], order[i] + 8);
        assert_memory_equal(&places[i], &expected, sizeof expected);
    }
    free(places);
}

static void nodes_are_taken_in_turn(void **state)
{
    os_cpu_set *places;
    uint32_t count;

    (void)state;
    make_up(8, 2, 2, 4);
    assert_int_equal(machine_places(XF_PLACEMENT_NUMA, &places, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(places[0].words[0], 0x0F0F);
    assert_int_equal(places[1].words[0], 0xF0F0);
    free(places);
    assert_int_equal(machine_places(XF_PLACEMENT_NONE, &places, &count), 0);
    assert_null(places);
    assert_int_equal(count, 0);
}

typedef struct seen {
    int64_t pid;
    os_cpu_set cpus;
} seen;

static os_cpu_set processors_of(const os_machine *machine)
{
    os_cpu_set set = {{0}};

    for (uint32_t i = 0; i < machine->count; i++)
        set.words[machine->cpus[i].number / 64] |= UINT64_C(1) << machine->cpus[i].number % 64;
    return set;
}

/* Returns where this worker may run, once all workers run this task, so that each of them runs one. */
XF_TASK(look, const xf_ref *in, seen *out)
{
    os_machine machine;
    xf_barrier *barrier;
    int rc = xf_barrier_open(&barrier, in);

    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    rc = xf_barrier_wait(barrier, XF_FOREVER);
    xf_barrier_free(barrier);
    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    rc = REAL(os_machine_read)(&machine);
    *out = (seen){uv_os_getpid(), processors_of(&machine)};
    return rc;
}

/* Lets all workers return where they may run. */
static void look_from(xf_pool *pool, int workers, seen *seen)
{
    xf_ref refs[8];
    xf_map map = {.task = &look, .in = refs, .out = seen, .count = (size_t)workers, .chunk = 1};
    xf_barrier *barrier;

    assert_int_equal(xf_barrier_create(&barrier, (unsigned)workers, NULL), 0);
    for (int i = 0; i < workers; i++)
        assert_int_equal(xf_barrier_ref(barrier, &refs[i]), 0);
    assert_int_equal(xf_pool_map(pool, &map), 0);
    xf_barrier_free(barrier);
}

/* Returns how many workers have exactly those processors. */
static int count_at(const seen *seen, int workers, const os_cpu_set *cpus)
{
    int count = 0;

    for (int i = 0; i < workers; i++)
        count += memcmp(&seen[i].cpus, cpus, sizeof *cpus) == 0;
    return count;
}

/* The workers are placed in turn at count places. */
static void expect_places(xf_placement placement, int workers)
{
    xf_pool_options options = {.workers = workers, .placement = placement};
    os_cpu_set *places;
    uint32_t count;
    xf_pool *pool;
    seen seen[8];

    assert_int_equal(machine_places(placement, &places, &count), 0);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    look_from(pool, workers, seen);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(count_at(seen, workers, &places[i]), (workers + (int)(count - i) - 1) / (int)count);
    xf_pool_free(pool);
    free(places);
}

static void workers_have_cores_of_their_own(void **state)
{
    os_machine machine;
    int cores;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    cores = machine_cores(&machine);
    expect_places(XF_PLACEMENT_CORES, cores < 4 ? cores : 4);
}

static void when_there_are_no_more_cores_they_are_shared(void **state)
{
    os_machine machine;
    int cores;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    cores = machine_cores(&machine);
    expect_places(XF_PLACEMENT_CORES, cores < 8 ? cores + 1 : 8);
}

static void workers_keep_to_a_node(void **state)
{
    (void)state;
    assert_int_equal(os_machine_read(&made_up), 0);
    for (uint32_t i = 0; i < made_up.count; i++)
        made_up.cpus[i].node = i % 2;
    expect_places(XF_PLACEMENT_NUMA, 3);
}

static void without_placement_workers_may_run_anywhere(void **state)
{
    xf_pool_options options = {.workers = 2};
    os_machine machine;
    os_cpu_set all;
    xf_pool *pool;
    seen seen[2];

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    all = processors_of(&machine);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    look_from(pool, 2, seen);
    assert_int_equal(count_at(seen, 2, &all), 2);
    xf_pool_free(pool);
}

static void the_program_itself_stays_where_it_is(void **state)
{
    xf_pool_options options = {.workers = XF_POOL_INLINE, .placement = XF_PLACEMENT_CORES};
    os_machine before, after;
    xf_pool *pool;
    seen seen[1];

    (void)state;
    assert_int_equal(os_machine_read(&before), 0);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    look_from(pool, 1, seen);
    xf_pool_free(pool);
    expect_places(XF_PLACEMENT_CORES, 1);
    assert_int_equal(os_machine_read(&after), 0);
    assert_memory_equal(&before, &after, sizeof before);
}

static void a_place_that_cannot_be_had_is_named(void **state)
{
    xf_pool_options options = {.workers = 1, .placement = XF_PLACEMENT_CORES};
    xf_future *future = NULL;
    xf_ref in = {0};
    xf_pool *pool;
    seen out;
    xf_map map = {.task = &look, .in = &in, .out = &out, .count = 1, .results = &future};
    int rc;

    (void)state;
    make_up(1, 1, 1, 1);
    made_up.cpus[0].number = OS_CPUS_MAX - 1;
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    rc = xf_pool_map(pool, &map);
    assert_int_equal(rc, XF_EFAILED);
    assert_non_null(strstr(xf_future_report(future, 0)->message, "option placement"));
    assert_non_null(strstr(xf_future_report(future, 0)->message, "processor"));
    xf_future_free(future);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &look, .in = &in, .out = &out, .count = 1}), XF_EFAILED);
    assert_non_null(strstr(xf_error_detail(), "option placement"));
    xf_pool_free(pool);
}

static void a_placement_that_is_none_is_refused(void **state)
{
    xf_pool *pool;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.placement = XF_PLACEMENT_NUMA + 1}), XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "placement"));
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.placement = (xf_placement)-1}), XF_EINVAL);
}

/* Each call fails once: the pool is not created, the caller gets an error, and nothing is left behind. */
static void a_pool_with_places_is_opened_or_not(void **state)
{
    xf_pool_options options = {.workers = 1, .placement = XF_PLACEMENT_CORES, .memory_limit = 1 << 26};
    const fault *fault;
    int n = 0, places_refused = 0;

    (void)state;
    make_up(8, 2, 8, 8);
    do {
        long blocks = faults_blocks();
        xf_pool *pool = NULL;
        int rc;
        faults_forget_detail();
        faults_arm(++n);
        rc = xf_pool_create(&pool, &options);
        fault = faults_disarm();
        assert_int_equal(rc, fault ? fault->code : 0);
        places_refused += strstr(xf_error_detail(), "the places of workers") || strstr(xf_error_detail(), "handles of");
        xf_pool_free(pool);
        assert_int_equal(faults_blocks(), blocks);
    } while (fault);
    assert_int_equal(places_refused, 2); /* the list of processors, and the list in the pool */
}

/* By default: so the rest of the machine lives on, whatever a program's tasks return. */
static void a_pool_leaves_memory_to_others(void **state)
{
    const uint64_t most = 1000000000;
    uint64_t limit = machine_pool_memory(most);

    (void)state;
    assert_true(limit > 0 && limit <= most / 100 * 60);
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_pool_has_no_more_workers_than_the_quota),
        TEST(workers_are_as_many_as_cores_or_quota),
        TEST(memory_is_the_machines_or_the_groups),
        TEST(without_a_load_cores_decide),
        TEST(caches_bound_the_number_where_that_pays),
        TEST(the_quota_bounds_the_number),
        TEST(a_pool_leaves_memory_to_others),
        TEST(memory_bounds_the_number),
        TEST(nodes_matter_where_caches_do_not_help),
        TEST(one_processor_is_a_machine_too),
        TEST(the_reasons_fit_a_screen),
        TEST(this_machine_is_advised_on),
        TEST(hwloc_tells_of_caches),
        TEST(cores_are_spread_over_caches_and_nodes),
        TEST(nodes_are_taken_in_turn),
        TEST(workers_have_cores_of_their_own),
        TEST(when_there_are_no_more_cores_they_are_shared),
        TEST(workers_keep_to_a_node),
        TEST(without_placement_workers_may_run_anywhere),
        TEST(the_program_itself_stays_where_it_is),
        TEST(a_place_that_cannot_be_had_is_named),
        TEST(a_placement_that_is_none_is_refused),
        TEST(a_pool_with_places_is_opened_or_not),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
