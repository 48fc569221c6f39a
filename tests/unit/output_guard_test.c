/* Goal: the guard bytes say how far they were overwritten, and no more than that, while others write to them. */
#include "pool/output_guard.h"
#include "support.h"
#include "unit.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static unsigned char memory[5 * OUTPUT_GUARD];

/* With an output between them. */
static unsigned char *const front = memory + OUTPUT_GUARD, *const guard = memory + (size_t)3 * OUTPUT_GUARD;

static void set_guards(void)
{
    output_guard_set(front, OUTPUT_GUARD);
    output_guard_set(guard, OUTPUT_GUARD);
}

static void the_last_byte_counts(void **state)
{
    (void)state;
    for (size_t size = 1; size <= OUTPUT_GUARD; size++) {
        set_guards();
        assert_int_equal(output_guard_overrun(NULL, guard, size), 0);
        for (size_t i = 0; i < size; i++) {
            guard[i] ^= 1;
            assert_int_equal(output_guard_overrun(NULL, guard, size), i + 1);
            assert_int_equal(output_guard_overrun(front, guard, size), i + 1);
        }
        guard[0] ^= 1;
        assert_int_equal(output_guard_overrun(NULL, guard, size), size == 1 ? 0 : size);
    }
    set_guards();
    assert_int_equal(output_guard_overrun(NULL, guard, 0), 0);
}

static void bytes_in_front_that_were_overwritten_are_another_ones(void **state)
{
    (void)state;
    set_guards();
    front[OUTPUT_GUARD - 1] ^= 1;
    assert_int_equal(output_guard_overrun(front, guard, OUTPUT_GUARD), 0);
    guard[0] ^= 1;
    assert_int_equal(output_guard_overrun(front, guard, OUTPUT_GUARD), 0);
    assert_int_equal(output_guard_overrun(NULL, guard, OUTPUT_GUARD), 1);
}

static atomic_bool is_over;

/* As another process would, of which the thread sanitizer knows nothing. */
__attribute__((no_sanitize("thread"))) static void overwrite_and_restore(void *arg)
{
    volatile unsigned char *last = guard + OUTPUT_GUARD - 1;

    (void)arg;
    while (!atomic_load(&is_over))
        *last ^= 0xFF;
}

enum { FRONTS = 4096, APART = 4096 };

/* To read guard bytes in front that are in no cache takes time, in which those behind become whole again. */
static void bytes_that_change_are_overwritten_or_not(void **state)
{
    unsigned char *fronts = calloc(FRONTS, APART);
    uv_thread_t thread;

    (void)state;
    assert_non_null(fronts);
    set_guards();
    for (size_t i = 0; i < FRONTS; i++)
        output_guard_set(fronts + i * APART, OUTPUT_GUARD);
    assert_int_equal(uv_thread_create(&thread, overwrite_and_restore, NULL), 0);
    for (size_t i = 0; i < (size_t)1000 * FRONTS; i++) {
        size_t overrun = output_guard_overrun(fronts + i % FRONTS * APART, guard, OUTPUT_GUARD);
        if (overrun != 0 && overrun != OUTPUT_GUARD)
            fail_msg("%zu bytes", overrun);
    }
    atomic_store(&is_over, true);
    uv_thread_join(&thread);
    free(fronts);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_byte_counts),
        cmocka_unit_test(bytes_in_front_that_were_overwritten_are_another_ones),
        cmocka_unit_test(bytes_that_change_are_overwritten_or_not),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
