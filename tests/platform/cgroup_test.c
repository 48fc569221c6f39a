/* Goal: Linux's files about the machine and about cgroups are read correctly; the test makes such files. */
#include "posix/os_private.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[64];

/* Writes a file below the root, and makes its directories. */
static void put(const char *path, const char *text)
{
    char whole[1024];
    FILE *file;

    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = strchr(whole + strlen(root) + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        mkdir(whole, 0700);
        *at = '/';
    }
    file = fopen(whole, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int begin(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/cgroup_test.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static os_machine describe(uint32_t cpus)
{
    os_machine machine = {.count = cpus};

    for (uint32_t i = 0; i < cpus; i++)
        machine.cpus[i].number = i;
    machine_describe(&machine, root);
    return machine;
}

/* ---- Groups of version 2 --------------------------------------------------------------------- */

#define MOUNT_2 "30 22 0:27 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void expect_limits(double quota, uint64_t memory)
{
    os_machine machine = describe(1);

    assert_true(machine.quota > quota - 1e-9 && machine.quota < quota + 1e-9);
    assert_int_equal(machine.memory_limit, memory);
}

static void without_files_there_are_no_limits(void **state)
{
    (void)state;
    expect_limits(0, 0);
    put("/proc/self/cgroup", "0::/\n");
    expect_limits(0, 0);
    put("/proc/self/mountinfo", MOUNT_2);
    expect_limits(0, 0);
}

static void the_group_limits(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a.slice/b\n");
    put("/proc/self/mountinfo", MOUNT_2);
    put("/sys/fs/cgroup/a.slice/b/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/a.slice/b/memory.max", "1073741824\n");
    expect_limits(2, 1 << 30);
}

static void max_is_no_limit(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/b\n");
    put("/proc/self/mountinfo", MOUNT_2);
    put("/sys/fs/cgroup/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/b/memory.max", "max\n");
    expect_limits(0, 0);
}

static void what_a_group_has_taken_is_not_spare(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a.slice/b\n");
    put("/proc/self/mountinfo", MOUNT_2);
    assert_true(quota_spare(root) == UINT64_MAX);
    put("/sys/fs/cgroup/a.slice/b/memory.max", "1000000\n");
    put("/sys/fs/cgroup/a.slice/b/memory.current", "400000\n");
    assert_int_equal(quota_spare(root), 600000);
    put("/sys/fs/cgroup/a.slice/b/memory.stat", "anon 5\ninactive_file 100000\n");
    assert_int_equal(quota_spare(root), 700000);
    put("/sys/fs/cgroup/a.slice/memory.max", "500000\n");
    put("/sys/fs/cgroup/a.slice/memory.current", "600000\n");
    assert_int_equal(quota_spare(root), 1);
}

static void a_quota_may_be_a_fraction(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/b\n");
    put("/proc/self/mountinfo", MOUNT_2);
    put("/sys/fs/cgroup/b/cpu.max", "25000 50000\n");
    expect_limits(0.5, 0);
    put("/sys/fs/cgroup/b/cpu.max", "15 10\n");
    expect_limits(1.5, 0);
}

static void a_group_around_may_allow_less(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/proc/self/mountinfo", MOUNT_2);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/a/b/c/memory.max", "1000000\n");
    put("/sys/fs/cgroup/a/memory.max", "2000000\n");
    expect_limits(3, 1000000);
}

/* In a container the root of the file system of cgroups is a group with limits. */
static void the_top_limits_too(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", MOUNT_2);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    expect_limits(2, 0);
}

static void what_is_malformed_is_no_limit(void **state)
{
    static const char *const quotas[] = {"",
                                         "\n",
                                         "max",
                                         "200000",
                                         "200000\n",
                                         "200000 \n",
                                         "200000 0\n",
                                         "0 100000\n",
                                         "-1 100000\n",
                                         "2e5 100000\n",
                                         "200000 100000 7\n",
                                         "many 100000\n",
                                         "200000x 100000\n",
                                         " 200000 100000\n"};
    static const char *const memories[] = {"", "\n", "0\n", "-1\n", "1g\n", "lots\n"};

    (void)state;
    put("/proc/self/cgroup", "0::/b\n");
    put("/proc/self/mountinfo", MOUNT_2);
    for (size_t i = 0; i < sizeof quotas / sizeof *quotas; i++) {
        put("/sys/fs/cgroup/b/cpu.max", quotas[i]);
        expect_limits(0, 0);
    }
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) {
        put("/sys/fs/cgroup/b/memory.max", memories[i]);
        expect_limits(0, 0);
    }
}

static void a_malformed_table_is_no_limit(void **state)
{
    static const char *const groups[] = {"", "\n", "0\n", "0:\n", "zero::/b\n", "::::\n", ":/b\n"};
    static const char *const mounts[] = {"",
                                         "\n",
                                         " - \n",
                                         "1 2 3 / /sys/fs/cgroup\n",
                                         "1 2 3 / /sys/fs/cgroup - \n",
                                         "1 2 3 / /sys/fs/cgroup - cgroup2\n"};

    (void)state;
    put("/sys/fs/cgroup/b/cpu.max", "200000 100000\n");
    put("/proc/self/mountinfo", MOUNT_2);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        put("/proc/self/cgroup", groups[i]);
        expect_limits(0, 0);
    }
    put("/proc/self/cgroup", "0::/b\n");
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        put("/proc/self/mountinfo", mounts[i]);
        expect_limits(0, 0);
    }
    put("/proc/self/mountinfo", MOUNT_2);
    expect_limits(2, 0);
}

/* ---- Groups of version 1, and where only a part of a hierarchy is seen ----------------------- */

#define MOUNT_1                                                                                                        \
    "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"                                      \
    "34 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"                                                \
    "35 30 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"

static void version_1_limits(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:cpuset:/x\n4:memory:/m\n3:cpuacct,cpu:/c/d\n1:name=systemd:/\n0::/\n");
    put("/proc/self/mountinfo", MOUNT_1);
    put("/sys/fs/cgroup/cpu,cpuacct/c/d/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/c/d/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "9223372036854771712\n");
    expect_limits(0, 0);
    put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "5000000\n");
    expect_limits(2.5, 5000000);
}

static void the_versions_may_be_mixed(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:memory:/m\n0::/b\n");
    put("/proc/self/mountinfo", MOUNT_1 MOUNT_2);
    put("/sys/fs/cgroup/b/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "5000000\n");
    expect_limits(2, 5000000);
}

static void a_part_of_a_hierarchy_may_be_mounted(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", "30 22 0:27 /box/7 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/inner/cpu.max", "100000 100000\n");
    put("/proc/self/cgroup", "0::/box/7/inner\n");
    expect_limits(1, 0);
    put("/proc/self/cgroup", "0::/box/7\n");
    expect_limits(2, 0);
    put("/proc/self/cgroup", "0::/box/77/inner\n");
    expect_limits(2, 0);
    put("/proc/self/cgroup", "0::/../inner\n");
    expect_limits(2, 0);
}

/* ---- Processors ------------------------------------------------------------------------------ */

static void put_cpu(uint32_t number, const char *siblings, const char *cache)
{
    static const struct {
        const char *level, *type, *size;
    } caches[] = {{"1\n", "Data\n", "48K\n"},
                  {"1\n", "Instruction\n", "32K\n"},
                  {"2\n", "Unified\n", "1024K\n"},
                  {"3\n", "Unified\n", "32M\n"}};
    char path[128];

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", number);
    put(path, siblings);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%d/level", number, i);
        put(path, caches[i].level);
        strcpy(strrchr(path, '/'), "/type");
        put(path, caches[i].type);
        strcpy(strrchr(path, '/'), "/size");
        put(path, caches[i].size);
        strcpy(strrchr(path, '/'), "/shared_cpu_list");
        put(path, i < 3 ? siblings : cache);
    }
}

/* Two nodes of two cores, each with two threads, and a cache for each node. */
static void put_processors(void)
{
    for (uint32_t i = 0; i < 8; i++) {
        char siblings[16];
        snprintf(siblings, sizeof siblings, "%u,%u\n", i % 4, i % 4 + 4);
        put_cpu(i, siblings, i % 4 < 2 ? "0-1,4-5\n" : "2-3,6-7\n");
    }
    put("/sys/devices/system/node/online", "0-1\n");
    put("/sys/devices/system/node/node0/cpulist", "0-1,4-5\n");
    put("/sys/devices/system/node/node1/cpulist", "2-3,6-7\n");
}

static void what_processors_share_is_read(void **state)
{
    os_machine machine;

    (void)state;
    put_processors();
    machine = describe(8);
    assert_int_equal(machine.cache, 32 << 20);
    assert_int_equal(machine.core_cache, 1 << 20);
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(machine.cpus[i].core, i % 4);
        assert_int_equal(machine.cpus[i].cache, i % 4 < 2 ? 0 : 2);
        assert_int_equal(machine.cpus[i].node, i % 4 < 2 ? 0 : 1);
    }
}

static void processors_that_may_not_be_used_are_left_out(void **state)
{
    os_machine machine = {.cpus = {{.number = 5}, {.number = 6}}, .count = 2};

    (void)state;
    put_processors();
    machine_describe(&machine, root);
    assert_int_equal(machine.count, 2);
    assert_int_equal(machine.cpus[0].core, 1);
    assert_int_equal(machine.cpus[0].cache, 0);
    assert_int_equal(machine.cpus[0].node, 0);
    assert_int_equal(machine.cpus[1].core, 2);
    assert_int_equal(machine.cpus[1].cache, 2);
    assert_int_equal(machine.cpus[1].node, 1);
}

static void missing_facts_about_processors_are_not_guessed(void **state)
{
    os_machine machine;

    (void)state;
    machine = describe(3);
    put_cpu(1, "none\n", "x-y\n");
    put("/sys/devices/system/node/online", "-\n");
    machine = describe(3);
    assert_int_equal(machine.cpus[0].core, 0);
    assert_int_equal(machine.cpus[1].core, 1);
    assert_int_equal(machine.cpus[2].core, 2);
    assert_int_equal(machine.cpus[1].node, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_files_there_are_no_limits),
        TEST(the_group_limits),
        TEST(max_is_no_limit),
        TEST(what_a_group_has_taken_is_not_spare),
        TEST(a_quota_may_be_a_fraction),
        TEST(a_group_around_may_allow_less),
        TEST(the_top_limits_too),
        TEST(what_is_malformed_is_no_limit),
        TEST(a_malformed_table_is_no_limit),
        TEST(version_1_limits),
        TEST(the_versions_may_be_mixed),
        TEST(a_part_of_a_hierarchy_may_be_mounted),
        TEST(what_processors_share_is_read),
        TEST(processors_that_may_not_be_used_are_left_out),
        TEST(missing_facts_about_processors_are_not_guessed),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
