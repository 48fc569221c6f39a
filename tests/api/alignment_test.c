/* Goal: inputs, outputs and results are aligned for any type, up to XF_ALIGN_MAX, wherever they are kept. */
#include "pool_tasks.h"

enum { COUNT = 50 };

static bool is_aligned(const void *address, size_t align)
{
    return (uintptr_t)address % align == 0;
}

/* Tasks for structs that are aligned to and as large as that, and for larger ones. */
#define TASK_OF(name, align, bytes)                                                                                    \
    typedef struct name##_struct {                                                                                     \
        _Alignas(align) char text[bytes];                                                                              \
    } name##_struct;                                                                                                   \
    XF_TASK(name, const name##_struct *in, name##_struct *out)                                                         \
    {                                                                                                                  \
        if (!is_aligned(in, align) || !is_aligned(out, align))                                                         \
            return xf_fail(call, 1, "in %p, out %p", (const void *)in, (void *)out);                                   \
        memcpy(out, in, sizeof *out);                                                                                  \
        return 0;                                                                                                      \
    }

TASK_OF(of_32, 32, 32)
TASK_OF(of_32_twice, 32, 64)
TASK_OF(of_32_thrice, 32, 96)
TASK_OF(of_64, 64, 64)
TASK_OF(of_64_more, 64, 5056)
TASK_OF(of_64_large, 64, 200000)

static const struct {
    xf_task *task;
    size_t align;
} sized[] = {{&of_32, 32}, {&of_32_twice, 32}, {&of_32_thrice, 32},
             {&of_64, 64}, {&of_64_more, 64},  {&of_64_large, 64}};

enum { SIZED = sizeof sized / sizeof *sized };

static size_t needed(size_t size)
{
    return size >= 64 ? 64 : size >= 32 ? 32 : 16;
}

/* Bytes that begin with a struct of any alignment that fits in. */
XF_ENTRY(of_any_size)
{
    size_t size;
    const char *in = xf_call_input(call, &size);
    char *out = xf_call_output(call, 1), *other = xf_call_output(call, size);

    if (!out || !other)
        return XF_TASK_NO_MEMORY;
    if (!is_aligned(in, needed(size)) || !is_aligned(other, needed(size)))
        return xf_fail(call, 1, "%zu bytes: in %p, out %p", size, (const void *)in, (void *)other);
    memcpy(other, in, size);
    return 0;
}

static const size_t sizes[] = {1, 32, 33, 48, 63, 64, 65, 100, 127, 130, 5000, 32768, 32769, 200001};

enum { SIZES = sizeof sizes / sizeof *sizes };

static char *some_bytes(size_t size)
{
    char *bytes = malloc(size);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7 + size);
    return bytes;
}

static void expect_process(xf_task *task, size_t size, size_t align)
{
    char *input = some_bytes(size);
    xf_process *process = start(task, input, size, NULL);
    const void *result;

    join(process);
    result = xf_process_result(process, NULL);
    if (!result)
        xf_report_print(xf_process_report(process), stderr);
    assert_non_null(result);
    assert_true(is_aligned(result, align));
    assert_memory_equal(result, input, size);
    xf_process_free(process);
    free(input);
}

static void in_processes(void **state)
{
    (void)state;
    for (int i = 0; i < SIZED; i++)
        expect_process(sized[i].task, sized[i].task->input_size, sized[i].align);
    for (int i = 0; i < SIZES; i++)
        expect_process(&of_any_size, sizes[i], needed(sizes[i]));
}

XF_TASK(send_sizes, const int *in, int *out)
{
    *out = *in;
    for (int i = 0; i < SIZES; i++) {
        char *bytes = some_bytes(sizes[i]);
        int rc = xf_send(call, bytes, sizes[i]);
        free(bytes);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void in_messages(void **state)
{
    int in = 1;
    xf_process *process = start(&send_sizes, &in, sizeof in, NULL);

    (void)state;
    for (int i = 0; i < SIZES; i++) {
        xf_message message;
        assert_int_equal(xf_process_receive(process, &message, LONGEST_MS), 0);
        assert_int_equal(message.size, sizes[i]);
        assert_true(is_aligned(message.data, needed(sizes[i])));
        xf_message_free(&message);
    }
    expect_end(process, XF_END_DONE, 0);
}

static void expect_done(xf_pool *pool, const xf_map *map)
{
    xf_future *future = NULL;

    assert_int_equal(xf_pool_map_async(&future, pool, map), 0);
    assert_int_not_equal(xf_future_wait(future, LONGEST_MS), XF_ETIMEDOUT);
    if (xf_future_failures(future) > 0)
        xf_report_print(xf_future_report(future, xf_future_failure(future, 0)), stderr);
    assert_int_equal(xf_future_failures(future), 0);
    for (size_t i = 0; i < map->count; i++) {
        size_t size;
        const void *result = xf_future_result(future, i, &size);
        size_t fits = map->task->input_size == XF_ANY_SIZE ? needed(size) : needed(size & (~size + 1));
        assert_non_null(result);
        assert_true(is_aligned(result, fits));
    }
    xf_future_free(future);
}

static void map_sized(xf_pool *pool, xf_task *task)
{
    char *in = some_bytes(COUNT * task->input_size);

    for (size_t count = 1; count <= COUNT; count = count < 3 ? count + 1 : count + COUNT - 3)
        for (size_t chunk = 1; chunk <= 7; chunk += 6)
            expect_done(pool, &(xf_map){.task = task, .in = in, .count = count, .chunk = chunk});
    free(in);
}

static void map_any_size(xf_pool *pool)
{
    xf_bytes bytes[SIZES];

    for (int i = 0; i < SIZES; i++)
        bytes[i] = (xf_bytes){some_bytes(sizes[i]), sizes[i]};
    for (size_t count = 1; count <= SIZES; count++)
        expect_done(pool, &(xf_map){.task = &of_any_size, .bytes = bytes, .count = count});
    for (int i = 0; i < SIZES; i++) {
        expect_done(pool, &(xf_map){.task = &of_any_size, .bytes = &bytes[i], .count = 1});
        free((void *)(uintptr_t)bytes[i].data);
    }
}

static void in_pools(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        xf_pool *pool = open_pool(&(xf_pool_options){.workers = i == 0 ? XF_POOL_INLINE : 2, .guard_pages = i == 2});
        for (int j = 0; j < SIZED; j++)
            map_sized(pool, sized[j].task);
        map_any_size(pool);
        xf_pool_free(pool);
    }
}

static void in_initializers(void **state)
{
    static xf_task *const tasks[] = {&of_32, &of_32_twice, &of_64, &of_64_more};
    char *input = some_bytes(sizeof(of_64_more_struct));

    (void)state;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1,
                                                     .initializer = tasks[i],
                                                     .initializer_input = input,
                                                     .initializer_size = tasks[i]->input_size});
        expect_squares(pool, 3, NULL);
        xf_pool_free(pool);
    }
    free(input);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_processes),
        cmocka_unit_test(in_messages),
        cmocka_unit_test(in_pools),
        cmocka_unit_test(in_initializers),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
