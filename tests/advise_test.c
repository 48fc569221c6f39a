/* Goal: how many workers there are, and where, follows from the machine: a made-up one, which is read in place of the
 * real one while there is one (its option --wrap has the linker lead calls of os_machine_read here). */
#include "machine.h"
#include "tasks.h"

#include <uv.h>

/* ---- Machines --------------------------------------------------------------------------------------------------- */

static os_machine made_up; /* count 0: the real one is read */

int __real_os_machine_read(os_machine *machine);
int __wrap_os_machine_read(os_machine *machine);

int __wrap_os_machine_read(os_machine *machine)
{
    if (made_up.count == 0)
        return __real_os_machine_read(machine);
    *machine = made_up;
    return 0;
}

/* Cores are numbered through, and their second threads after all of them. */
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

/* ---- How many workers ------------------------------------------------------------------------------------------- */

/* First: a process looks at the machine once. */
static void a_pool_has_no_more_workers_than_the_quota(void **state)
{
    xf_pool_stats stats;
    xf_pool *pool;

    (void)state;
    make_up(64, 1, 8, 64);
    made_up.quota = 2;
    assert_int_equal(xf_pool_open(&pool, NULL), 0);
    xf_pool_stats_get(pool, &stats, NULL, 0);
    assert_int_equal(stats.workers, 2);
    xf_pool_free(pool);
    assert_int_equal(xf_pool_open(&pool, &(xf_pool_options){.workers = 3}), 0);
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
    made_up.group = all / 2;
    assert_true(machine_memory(&made_up) == all / 2);
    made_up.group = all * 2;
    assert_true(machine_memory(&made_up) == all);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_pool_has_no_more_workers_than_the_quota, forget),
        cmocka_unit_test_teardown(workers_are_as_many_as_cores_or_quota, forget),
        cmocka_unit_test_teardown(memory_is_the_machines_or_the_groups, forget),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
