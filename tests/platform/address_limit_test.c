/* Goal: a pool heeds limits on address space and locked memory by itself, and where it cannot, the error names them. */
#include "pool_tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

static struct rlimit before;

static int keep_limit(void **state)
{
    (void)state;
    return getrlimit(RLIMIT_AS, &before);
}

static int restore_limit(void **state)
{
    (void)state;
    munlockall();
    return setrlimit(RLIMIT_AS, &before);
}

static void limit_address_space(size_t bytes)
{
    struct rlimit limit = before;

    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

XF_ENTRY(take_bytes)
{
    (void)call;
    return 0;
}

/* A sanitizer reserves terabytes. */
static void skip_if_sanitized(void)
{
    if (!support_limits_memory())
        skip();
}

static void the_default_heeds_a_limit_of_address_space(void **state)
{
    static const size_t limits[] = {8000, 4000, 2000};

    (void)state;
    skip_if_sanitized();
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        xf_pool *pool;
        void *memory;
        limit_address_space(limits[i] * MIB);
        pool = open_pool(NULL);
        expect_squares(pool, 2000, NULL);
        memory = malloc(limits[i] * MIB / 8); /* there is room for the program, too */
        assert_non_null(memory);
        free(memory);
        xf_pool_free(pool);
    }
}

static void an_error_names_the_option_and_the_limit(void **state)
{
    xf_pool *pool;

    (void)state;
    skip_if_sanitized();
    limit_address_space(4000 * MIB);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.memory_limit = 8000 * MIB}), XF_ENOMEM);
    assert_non_null(strstr(xf_error_detail(), "memory_limit"));
    assert_non_null(strstr(xf_error_detail(), "RLIMIT_AS"));
}

static size_t resident(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file || fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (size_t)pages * 4096;
}

static void locked_memory_is_only_what_is_used(void **state)
{
    size_t had = resident();
    xf_pool *pool;

    (void)state;
    skip_if_sanitized();
    if (mlockall(MCL_FUTURE) < 0)
        skip();
    pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = 256 * MIB});
    expect_squares(pool, 1000, NULL);
    assert_true(resident() < had + 64 * MIB);
    xf_pool_free(pool);
    pool = open_pool(NULL);
    expect_squares(pool, 1000, NULL);
    assert_true(resident() < had + 64 * MIB);
    xf_pool_free(pool);
}

static void the_default_leaves_memory_to_others(void **state)
{
    unsigned long long spare = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    xf_pool *pool = open_pool(NULL);

    (void)state;
    while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu", &spare) != 1)
        continue;
    if (file)
        fclose(file);
    assert_true(spare > 0);
    assert_null(xf_pool_buffer_alloc(pool, (size_t)spare * 1024 / 10 * 9));
    assert_non_null(strstr(xf_error_detail(), "memory_limit"));
    xf_pool_free(pool);
}

/* By fork, the child has the input by its parent's mapping. */
static void a_child_without_room_for_its_input_says_so(void **state)
{
    const size_t size = 300 * MIB;
    char *input;
    xf_process *process;
    xf_status status;

    (void)state;
    skip_if_sanitized();
    input = calloc(1, size);
    assert_non_null(input);
    assert_int_equal(xf_cleanup(), 0);
    setenv("XF_TEST_LIMITED", "1", 1);
    process = start(&take_bytes, input, size, NULL);
    unsetenv("XF_TEST_LIMITED");
    status = join(process);
    if (status.kind != XF_END_DONE) {
        assert_int_equal(status.kind, XF_END_START_FAILED);
        assert_int_equal(status.code, XF_ENOMEM);
        assert_int_equal(status.system, ENOMEM);
        assert_non_null(strstr(xf_process_report(process)->message, "could not begin"));
    }
    xf_process_free(process);
    free(input);
    assert_int_equal(xf_cleanup(), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_default_heeds_a_limit_of_address_space, restore_limit),
        cmocka_unit_test_teardown(an_error_names_the_option_and_the_limit, restore_limit),
        cmocka_unit_test_teardown(locked_memory_is_only_what_is_used, restore_limit),
        cmocka_unit_test(the_default_leaves_memory_to_others),
        cmocka_unit_test(a_child_without_room_for_its_input_says_so),
    };
    struct rlimit narrow = {256 * MIB, 256 * MIB};

    if (getenv("XF_TEST_LIMITED"))
        setrlimit(RLIMIT_AS, &narrow);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, keep_limit, NULL);
}
