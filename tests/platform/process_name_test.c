/* Goal: who lists processes sees which program's children they are, and what they run (Linux). */
#include "tasks.h"

#include <unistd.h>

static void read_name(int64_t pid, char name[64])
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    file = fopen(path, "r");
    name[0] = 0;
    if (file) {
        if (!fgets(name, 64, file))
            name[0] = 0;
        fclose(file);
    }
    name[strcspn(name, "\n")] = 0;
}

XF_ENTRY(tell)
{
    read_name(getpid(), xf_call_output(call, 64));
    return 0;
}

XF_ENTRY(tell_with_a_name_of_any_length)
{
    read_name(getpid(), xf_call_output(call, 64));
    return 0;
}

/* The parent of a child is its keeper, and that one's parent has made both. */
XF_ENTRY(tell_maker)
{
    char path[64];
    int maker = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)getppid());
    file = fopen(path, "r");
    if (!file || fscanf(file, "%*d (%*[^)]) %*c %d", &maker) != 1)
        return 1;
    fclose(file);
    read_name(maker, xf_call_output(call, 64));
    return 0;
}

static void expect_name(xf_task *task, xf_start_method method, const char *name)
{
    xf_process *process = start(task, NULL, 0, &(xf_process_options){.start = method});

    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_string_equal(xf_process_result(process, NULL), name);
    xf_process_free(process);
}

static void a_child_is_called_after_program_and_task(void **state)
{
    char own[64], after[64];

    (void)state;
    read_name(getpid(), own);
    expect_name(&tell, XF_START_DEFAULT, "process_na:tell");
    expect_name(&tell_with_a_name_of_any_length, XF_START_DEFAULT, "proce:tell_with");
    read_name(getpid(), after);
    assert_string_equal(after, own);
}

static void the_fork_server_has_a_name(void **state)
{
    (void)state;
    expect_name(&tell_maker, XF_START_FORKSERVER, "proce:forkserve");
}

static void a_worker_is_called_a_worker(void **state)
{
    xf_pool *pool;
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1}), 0);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &tell}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), 0);
    assert_non_null(strstr(xf_future_result(future, 0, NULL), ":worker"));
    xf_future_free(future);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_is_called_after_program_and_task),
        cmocka_unit_test(the_fork_server_has_a_name),
        cmocka_unit_test(a_worker_is_called_a_worker),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
