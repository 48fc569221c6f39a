/* Goal: both twins keep every sentence of src/os/machine.h. */
#include "seam.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

/* Says how many processors the calling thread may run on, and the first. */
static void say_processors(void *unused)
{
    os_machine machine;

    (void)unused;
    require(os_machine_read(&machine) == 0);
    say_number(machine.count);
    say_number(machine.cpus[0].number);
}

/* Binds itself to the processor of that number, and says what it may run on then, itself and a new thread. */
static void be_bound(const char *argument)
{
    uint32_t number = (uint32_t)atoi(argument);
    os_cpu_set set = {{0}};

    set.words[number / 64] = UINT64_C(1) << number % 64;
    say_number(os_self_bind(&set));
    say_processors(NULL);
    in_thread(say_processors, NULL);
}

static const seam_role roles[] = {
    {"bound", be_bound},
    {0},
};

/* ---- The machine ----------------------------------------------------------------------------- */

static void the_processors_of_the_machine_are_read(void **state)
{
    os_machine machine, again;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    assert_int_equal(os_machine_read(&again), 0);
    assert_memory_equal(&machine, &again, sizeof machine);
    assert_in_range(machine.count, 1, OS_CPUS_MAX);
    assert_int_equal(machine.count, uv_available_parallelism());
    for (uint32_t i = 0; i < machine.count; i++) {
        assert_true(i == 0 || machine.cpus[i].number > machine.cpus[i - 1].number);
        assert_true(machine.cpus[i].core <= machine.cpus[i].number);
        assert_true(machine.cpus[i].cache <= machine.cpus[i].number);
    }
    assert_true(machine.quota >= 0);
}

static void a_child_can_be_bound_to_any_processor(void **state)
{
    os_machine machine;

    (void)state;
    assert_int_equal(os_machine_read(&machine), 0);
    for (uint32_t i = 0; i < machine.count && i < 4; i++) {
        char role[32];
        kid kid;
        snprintf(role, sizeof role, "bound %u", machine.cpus[i].number);
        kid = start_role(role);
        assert_int_equal(hear_number(&kid), 0);
        for (int j = 0; j < 2; j++) {
            assert_int_equal(hear_number(&kid), 1);
            assert_int_equal(hear_number(&kid), machine.cpus[i].number);
        }
        finish_well(&kid);
    }
}

static void a_processor_that_is_not_there_is_refused(void **state)
{
    os_cpu_set none = {{0}};
    os_machine before, after;
    kid kid;

    (void)state;
    assert_int_equal(os_machine_read(&before), 0);
    assert_int_equal(os_self_bind(&none), XF_EINVAL);
    assert_true(strstr(xf_error_detail(), "processor") != NULL);
    assert_int_equal(os_machine_read(&after), 0);
    assert_memory_equal(&before, &after, sizeof before);
    kid = start_role("bound 1023");
    assert_int_equal(hear_number(&kid), XF_EINVAL);
    assert_int_equal(hear_number(&kid), before.count);
    kill_and_finish(&kid);
}

/* ---- The program ----------------------------------------------------------------------------- */

/* What a child begins with: with a copy of this process's memory, or with nothing of it. */
static void the_memory_of_this_process_is_counted(void **state)
{
    enum { SIZE = 64 << 20 };
    size_t before = os_self_memory();
    char *block = malloc(SIZE);

    (void)state;
    assert_non_null(block);
    memset(block, 1, SIZE);
    assert_int_equal(before > 0, os.has_fork);
    assert_int_equal(os_self_memory() >= before + SIZE, os.has_fork);
    free(block);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_processors_of_the_machine_are_read),
    cmocka_unit_test(a_child_can_be_bound_to_any_processor),
    cmocka_unit_test(a_processor_that_is_not_there_is_refused),
    cmocka_unit_test(the_memory_of_this_process_is_counted),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
