/* Goal: each mistake in a task's registration, its sizes or its codecs has an error of its own. */
#include "tasks.h"

#include <uv.h>

/* Some children of these tests register other tasks than the program, as a faulty program may do. */
static bool in_odd_child(void)
{
    char value[8];
    size_t size = sizeof value;

    return uv_os_getenv("XF_TEST_ODD_CHILD", value, &size) == 0;
}

static int do_nothing(xf_call *call)
{
    xf_call_output(call, 0);
    return 0;
}

static xf_task by_hand = {
    .name = "by hand", .entry = do_nothing, .input_size = XF_ANY_SIZE, .output_size = XF_ANY_SIZE};
static xf_task only_here = {.name = "only here", .entry = do_nothing, .input_size = 4, .output_size = XF_ANY_SIZE};
static xf_task resized = {.name = "resized", .entry = do_nothing, .input_size = 4, .output_size = XF_ANY_SIZE};
static xf_task twin = {.name = "twin", .entry = do_nothing, .input_size = XF_ANY_SIZE, .output_size = XF_ANY_SIZE};
static xf_task other_twin = {.name = "twin", .entry = do_nothing, .input_size = 4, .output_size = 4};
static xf_task unregistered = {.name = "unregistered", .entry = do_nothing};
static xf_task late = {.name = "late", .entry = do_nothing};

static void register_tasks(void)
{
    if (in_odd_child())
        resized.input_size = 8;
    else
        xf_task_register(&only_here);
    xf_task_register(&by_hand);
    xf_task_register(&resized);
    xf_task_register(&twin);
    xf_task_register(&other_twin);
}

/* ---- An object with pointers, and its codec -------------------------------------------------- */

typedef struct words {
    size_t count;
    char **word;
} words;

static int encode_words(xf_writer *writer, const void *object)
{
    const words *list = object;

    if (list->count > 100)
        return -100;
    for (size_t i = 0; i < list->count; i++)
        if (xf_writer_put(writer, list->word[i], strlen(list->word[i]) + 1) < 0)
            return -1;
    return 0;
}

static void destroy_words(void *object)
{
    words *list = object;

    for (size_t i = 0; i < list->count; i++)
        free(list->word[i]);
    free(list->word);
    free(list);
}

static int decode_words(const void *data, size_t size, void **object)
{
    const char *at = data, *end = at + size;
    words *list = calloc(1, sizeof *list);

    while (at < end) {
        size_t length = strlen(at) + 1;
        if (strcmp(at, "undecodable") == 0) {
            destroy_words(list);
            return -7;
        }
        list->word = realloc(list->word, (list->count + 1) * sizeof *list->word);
        list->word[list->count] = malloc(length);
        memcpy(list->word[list->count++], at, length);
        at += length;
    }
    *object = list;
    return 0;
}

static const xf_codec words_codec = {encode_words, decode_words, destroy_words};

/* Returns the words in reverse order. */
XF_ENTRY_CODEC(reverse_words, &words_codec, &words_codec)
{
    words *list = xf_call_object(call);

    for (size_t i = 0; i < list->count / 2; i++) {
        char *word = list->word[i];
        list->word[i] = list->word[list->count - 1 - i];
        list->word[list->count - 1 - i] = word;
    }
    return xf_call_return(call, list);
}

XF_ENTRY_CODEC(return_too_many, NULL, &words_codec)
{
    words many = {101, NULL};

    return xf_call_return(call, &many);
}

XF_ENTRY_CODEC(return_undecodable, NULL, &words_codec)
{
    char word_bytes[] = "undecodable", *word = word_bytes;

    return xf_call_return(call, &(words){1, &word});
}

XF_TASK(give_wrong_size, const int *in, int *out)
{
    (void)in, (void)out;
    return xf_call_output(call, 8) ? 0 : 99;
}

XF_TASK(add_one, const int *in, int *out)
{
    (void)call;
    *out = *in + 1;
    return 0;
}

/* ---- Registration ---------------------------------------------------------------------------- */

static int try_start(xf_task *task, const void *input, size_t size)
{
    xf_process *process;
    int rc = xf_process_start(&process, task, input, size, NULL);

    if (rc == 0)
        xf_process_free(process);
    else
        assert_true(*xf_error_detail());
    return rc;
}

static void a_task_registered_by_hand_runs(void **state)
{
    (void)state;
    expect_end(start(&by_hand, NULL, 0, NULL), XF_END_DONE, 0);
}

static void a_task_that_was_not_registered_does_not_start(void **state)
{
    (void)state;
    assert_int_equal(try_start(&unregistered, NULL, 0), XF_ENOTASK);
    assert_non_null(strstr(xf_error_detail(), "unregistered"));
}

static void a_task_registered_late_does_not_start(void **state)
{
    (void)state;
    assert_int_equal(xf_task_register(&late), XF_ESTATE);
    assert_int_equal(try_start(&late, NULL, 0), XF_ENOTASK);
    assert_non_null(strstr(xf_error_detail(), "after xf_main"));
}

static void two_tasks_of_one_name_do_not_start(void **state)
{
    (void)state;
    assert_int_equal(try_start(&twin, NULL, 0), XF_EDUPTASK);
    assert_int_equal(try_start(&other_twin, "1234", 4), XF_EDUPTASK);
    assert_non_null(strstr(xf_error_detail(), "twin"));
}

static void input_of_another_size_does_not_start(void **state)
{
    (void)state;
    assert_int_equal(try_start(&add_one, "12345678", 8), XF_ESIZE);
    assert_non_null(strstr(xf_error_detail(), "add_one"));
}

static xf_process *start_odd(xf_task *task)
{
    static const char *const additions[] = {"XF_TEST_ODD_CHILD=1", NULL};

    return start(task, "1234", 4, &(xf_process_options){.start = XF_START_SPAWN, .environment = additions});
}

static void a_task_unknown_to_the_child_is_named(void **state)
{
    xf_process *process = start_odd(&only_here);

    (void)state;
    join(process);
    assert_non_null(strstr(xf_process_report(process)->message, "only here"));
    expect_end(process, XF_END_START_FAILED, XF_ENOTASK);
}

static void sizes_that_differ_in_the_child_are_named(void **state)
{
    xf_process *process = start_odd(&resized);

    (void)state;
    join(process);
    assert_non_null(strstr(xf_process_report(process)->message, "resized takes 4 bytes"));
    expect_end(process, XF_END_START_FAILED, XF_ESIZE);
}

static void output_of_another_size_is_refused(void **state)
{
    int in = 1;

    (void)state;
    expect_end(start(&give_wrong_size, &in, sizeof in, NULL), XF_END_FAILED, 99);
}

/* ---- Codecs ---------------------------------------------------------------------------------- */

static void objects_travel_by_codec(void **state)
{
    char one[] = "one", two[] = "two", three[] = "three", *in[] = {one, two, three};
    xf_process *process = start(&reverse_words, &(words){3, in}, 0, NULL);
    void *object;
    words *list;

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(xf_process_result_object(process, &object), 0);
    list = object;
    assert_int_equal(list->count, 3);
    assert_string_equal(list->word[0], "three");
    assert_string_equal(list->word[2], "one");
    destroy_words(list);
    xf_process_free(process);
}

static void input_that_does_not_encode_does_not_start(void **state)
{
    (void)state;
    assert_int_equal(try_start(&reverse_words, &(words){101, NULL}, 0), XF_ECODEC);
    assert_non_null(strstr(xf_error_detail(), "-100"));
}

static void input_that_does_not_decode_fails_the_task(void **state)
{
    char word[] = "undecodable", *in = word;
    xf_process *process = start(&reverse_words, &(words){1, &in}, 0, NULL);

    (void)state;
    join(process);
    assert_non_null(strstr(xf_process_report(process)->message, "-7"));
    expect_end(process, XF_END_FAILED, XF_ECODEC);
}

static void output_that_does_not_encode_fails_the_task(void **state)
{
    (void)state;
    expect_end(start(&return_too_many, NULL, 0, NULL), XF_END_FAILED, XF_ECODEC);
}

static void output_that_does_not_decode_is_reported_when_it_is_read(void **state)
{
    void *object;
    xf_process *process = start(&return_undecodable, NULL, 0, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(xf_process_result_object(process, &object), XF_ECODEC);
    xf_process_free(process);
    process = start(&by_hand, NULL, 0, NULL);
    assert_int_equal(xf_process_result_object(process, &object), XF_ESTATE);
    xf_process_free(process);
}

/* ---- Options --------------------------------------------------------------------------------- */

static void check_refused(const xf_process_options *options, int code)
{
    xf_process *process = NULL;

    assert_int_equal(xf_process_start(&process, &by_hand, NULL, 0, options), code);
    assert_null(process);
    assert_true(*xf_error_detail());
}

static void wrong_options_are_refused(void **state)
{
    static const char *const no_name[] = {"=value", NULL};

    (void)state;
    check_refused(&(xf_process_options){.start = (xf_start_method)9}, XF_EINVAL);
    check_refused(&(xf_process_options){.stdin_from = XF_STDIO_CAPTURE}, XF_EINVAL);
    check_refused(&(xf_process_options){.stderr_to = (xf_stdio)7}, XF_EINVAL);
    check_refused(&(xf_process_options){.start_timeout_ms = -5}, XF_EINVAL);
    check_refused(&(xf_process_options){.environment = no_name}, XF_EINVAL);
    check_refused(&(xf_process_options){.directory = "/there/is/no/such"}, XF_ENOENT);
    uv_os_setenv("XF_START", "teleport");
    check_refused(NULL, XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "teleport"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_registered_by_hand_runs),
        cmocka_unit_test(a_task_that_was_not_registered_does_not_start),
        cmocka_unit_test(a_task_registered_late_does_not_start),
        cmocka_unit_test(two_tasks_of_one_name_do_not_start),
        cmocka_unit_test(input_of_another_size_does_not_start),
        cmocka_unit_test(a_task_unknown_to_the_child_is_named),
        cmocka_unit_test(sizes_that_differ_in_the_child_are_named),
        cmocka_unit_test(output_of_another_size_is_refused),
        cmocka_unit_test(objects_travel_by_codec),
        cmocka_unit_test(input_that_does_not_encode_does_not_start),
        cmocka_unit_test(input_that_does_not_decode_fails_the_task),
        cmocka_unit_test(output_that_does_not_encode_fails_the_task),
        cmocka_unit_test(output_that_does_not_decode_is_reported_when_it_is_read),
        cmocka_unit_test(wrong_options_are_refused),
    };

    register_tasks();
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
