/* Goal: if any call fails while a process is started, used and freed, in the parent or in the child, then the caller
 * gets an error that says why, nothing hangs, and nothing is left behind.
 *
 * Each test is a sweep: the first call fails, then the second, and so on until a round passes with no failure. */
#include "base/error.h"
#include "faults.h"
#include "leak_check.h"
#include "tasks.h"

#include <uv.h>

enum { MOST_ROUNDS = 500, JOIN_MS = 60000, LARGE = 100000, MESSAGES = 20, MESSAGE = 30000 };

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Uses everything that a task can use, and returns its input. */
XF_ENTRY(echo)
{
    char word[16] = "";
    size_t size, length = sizeof word;
    const void *in = xf_call_input(call, &size);
    void *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memcpy(out, in, size);
    uv_os_getenv("XF_TEST_WORD", word, &length);
    printf("%zu bytes, %s\n", size, word);
    if (xf_log(call, XF_LOG_INFO, "%zu bytes", size) < 0)
        return xf_fail(call, 1, "log: %s", xf_error_detail());
    if (xf_send(call, in, size) < 0)
        return xf_fail(call, 2, "send: %s", xf_error_detail());
    return 0;
}

/* Sends more than a channel holds while nobody reads it. */
XF_ENTRY(send_much)
{
    size_t size;
    const void *in = xf_call_input(call, &size);

    for (int i = 0; i < MESSAGES; i++)
        if (xf_send(call, in, size) < 0)
            return xf_fail(call, 2, "send: %s", xf_error_detail());
    return xf_call_output(call, 0) ? 0 : XF_TASK_NO_MEMORY;
}

static int encode_text(xf_writer *writer, const void *object)
{
    return xf_writer_put(writer, object, strlen(object));
}

static int decode_text(const void *data, size_t size, void **object)
{
    char *text = malloc(size + 1);

    if (!text)
        return error_detail(XF_ENOMEM, "text of %zu bytes", size);
    memcpy(text, data, size);
    text[size] = 0;
    *object = text;
    return 0;
}

static const xf_codec text_codec = {encode_text, decode_text, free};

XF_ENTRY_CODEC(echo_text, &text_codec, &text_codec)
{
    int rc = xf_call_return(call, xf_call_object(call));

    return rc < 0 ? xf_fail(call, rc, "%s", xf_error_detail()) : 0;
}

/* ---- A round --------------------------------------------------------------------------------- */

/* Keeps the child's output out of the test's. */
#define QUIET .stdout_to = XF_STDIO_NULL

/* The process that is started. */
typedef struct plan {
    xf_task *task;
    const void *input;
    size_t size;
    int messages;      /* messages that the child sends */
    size_t output;     /* bytes of the result */
    bool nobody_waits; /* before the child has ended */
    xf_process_options options;
} plan;

/* The outcome of a round. */
typedef struct outcome {
    int rc;           /* of the first call that failed; 0: none did */
    char detail[512]; /* of that call */
    xf_status status;
    char message[200];  /* of the report */
    bool lost;          /* messages are missing */
    bool wrong;         /* a result is wrong although no call failed */
    bool printed_fault; /* the child or the server printed that a call failed */
} outcome;

static int keep(outcome *outcome, int rc)
{
    if (rc < 0 && outcome->rc == 0) {
        outcome->rc = rc;
        snprintf(outcome->detail, sizeof outcome->detail, "%s", xf_error_detail());
    }
    return rc;
}

static void use_messages(const plan *plan, xf_process *process, outcome *outcome)
{
    xf_message message;
    int count = 0, rc;

    while ((rc = xf_process_receive(process, &message, JOIN_MS)) == 0) {
        outcome->wrong |= message.size != plan->size || memcmp(message.data, plan->input, plan->size) != 0;
        xf_message_free(&message);
        count++;
    }
    outcome->wrong |= rc != XF_EEND;
    outcome->lost = count != plan->messages;
}

static void use_result(const plan *plan, xf_process *process, outcome *outcome)
{
    size_t size;
    const void *result = xf_process_result(process, &size);
    void *object;

    if (!result || outcome->lost) {
        outcome->wrong = true;
    } else if (!plan->task->output_codec) {
        outcome->wrong |= size != plan->output || memcmp(result, plan->input, size) != 0;
    } else if (keep(outcome, xf_process_result_object(process, &object)) == 0) {
        outcome->wrong |= strcmp(object, plan->input) != 0;
        plan->task->output_codec->destroy(object);
    }
}

static void use_captured(const plan *plan, xf_process *process, outcome *outcome)
{
    char *text, expected[64];
    size_t size;

    if (plan->options.stderr_to == XF_STDIO_CAPTURE &&
        keep(outcome, xf_process_output(process, 2, &text, &size)) == 0) {
        outcome->printed_fault = size > 0;
        xf_memory_free(text);
    }
    if (plan->options.stdout_to == XF_STDIO_CAPTURE &&
        keep(outcome, xf_process_output(process, 1, &text, &size)) == 0) {
        snprintf(expected, sizeof expected, "%zu bytes, heard", plan->size);
        outcome->wrong |= outcome->status.kind == XF_END_DONE && strncmp(text, expected, strlen(expected)) != 0;
        xf_memory_free(text);
    }
}

static void use(const plan *plan, xf_process *process, outcome *outcome)
{
    if (plan->nobody_waits)
        outcome->wrong |= !support_sentinel_ready(xf_process_sentinel(process), JOIN_MS);
    use_messages(plan, process, outcome);
    if (keep(outcome, xf_process_join(process, &outcome->status, JOIN_MS)) < 0) {
        xf_process_kill(process);
        return;
    }
    snprintf(outcome->message, sizeof outcome->message, "%s", xf_process_report(process)->message);
    if (*xf_process_report(process)->saved)
        remove(xf_process_report(process)->saved);
    if (outcome->status.kind == XF_END_DONE)
        use_result(plan, process, outcome);
    use_captured(plan, process, outcome);
}

static outcome run(const plan *plan)
{
    xf_process *process;
    outcome outcome = {.rc = 0};

    faults_forget_detail();
    if (keep(&outcome, xf_process_start(&process, plan->task, plan->input, plan->size, &plan->options)) == 0) {
        use(plan, process, &outcome);
        outcome.wrong |= xf_process_free(process) != 0;
    }
    outcome.wrong |= xf_cleanup() != 0;
    return outcome;
}

/* ---- What is left ---------------------------------------------------------------------------- */

/* Runs the plan once without a failure, so that everything that is made once exists. */
static counts warm_up(const plan *plan)
{
    for (int i = 0; i < 3; i++) {
        outcome outcome = run(plan);
        if (outcome.rc < 0 || outcome.status.kind != XF_END_DONE || outcome.wrong)
            fail_msg("without a failure: %s (%s), %s: %s", xf_err_name(outcome.rc), outcome.detail,
                     xf_end_name(outcome.status.kind), outcome.message);
    }
    return count();
}

/* ---- Failures in the parent ------------------------------------------------------------------ */

static bool is_known(int code)
{
    return code < 0 && strcmp(xf_err_name(code), "XF_E?") != 0;
}

/* The call returns the code of the fault, or says that a codec failed. */
static bool is_sensible_code(const outcome *outcome, const fault *fault, const plan *plan)
{
    bool codec = outcome->rc == XF_ECODEC && (plan->task->input_codec || plan->task->output_codec);

    return is_known(outcome->rc) && *outcome->detail && (outcome->rc == fault->code || codec);
}

/* The process ended because of the fault, and its status says so; or it did not need the call. */
static bool is_sensible_end(const outcome *outcome, const fault *fault)
{
    if (outcome->status.kind == XF_END_DONE)
        return !outcome->wrong;
    return (outcome->status.kind == XF_END_PROTOCOL_ERROR || outcome->status.kind == XF_END_START_FAILED) &&
           outcome->status.code == fault->code && *outcome->message;
}

static void sweep_parent(const plan *plan)
{
    const fault *fault;
    counts before = warm_up(plan);
    int n = 0;

    do {
        outcome outcome;
        faults_arm(++n);
        outcome = run(plan);
        fault = faults_disarm();
        if (fault && !(outcome.rc < 0 ? is_sensible_code(&outcome, fault, plan) : is_sensible_end(&outcome, fault)))
            fail_msg("call %d, %s: %s (%s), %s, code %d: %s", n, fault->name, xf_err_name(outcome.rc), outcome.detail,
                     xf_end_name(outcome.status.kind), outcome.status.code, outcome.message);
        if (!fault && (outcome.rc < 0 || outcome.wrong || outcome.status.kind != XF_END_DONE))
            fail_msg("nothing failed, but %s (%s), %s: %s", xf_err_name(outcome.rc), outcome.detail,
                     xf_end_name(outcome.status.kind), outcome.message);
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    print_message("           %d calls\n", n - 1);
    assert_in_range(n, 10, MOST_ROUNDS - 1);
}

static char large_input[LARGE]; /* filled in by main */

static const plan small = {.task = &echo, .input = "abc", .size = 3, .messages = 1, .output = 3, .options = {QUIET}};
static const plan large = {
    .task = &echo, .input = large_input, .size = LARGE, .messages = 1, .output = LARGE, .options = {QUIET}};
static const plan object = {.task = &echo_text, .input = "some text", .size = 9};

static void small_input(void **state)
{
    (void)state;
    sweep_parent(&small);
}

/* The supervisor reads. */
static void while_nobody_waits(void **state)
{
    (void)state;
    sweep_parent(&(plan){.task = &send_much,
                         .input = large_input,
                         .size = MESSAGE,
                         .messages = MESSAGES,
                         .nobody_waits = true,
                         .options = {QUIET}});
}

/* Both are passed in segments. */
static void large_input_and_output(void **state)
{
    (void)state;
    sweep_parent(&large);
}

static void drop_line(xf_process *process, const xf_log_line *line, void *arg)
{
    (void)process, (void)line, (void)arg;
}

/* Includes the file that a failure would be saved to. */
static void logged_lines_and_a_file(void **state)
{
    char path[64];
    plan plan = large;

    (void)state;
    snprintf(path, sizeof path, "process_fault_test.%d", (int)uv_os_getpid());
    plan.options = (xf_process_options){.stdin_from = XF_STDIO_FILE,
                                        .stdin_path = path,
                                        .stdout_to = XF_STDIO_LOG,
                                        .stderr_to = XF_STDIO_FILE,
                                        .stderr_path = path,
                                        .on_log = drop_line,
                                        .limits.wall_ms = 600000,
                                        .save_failures = "."};
    fclose(fopen(path, "w"));
    sweep_parent(&plan);
    remove(path);
}

static void captured_streams_and_an_environment(void **state)
{
    const char *const environment[] = {"XF_TEST_WORD=heard", "XF_TEST_OTHER=2", NULL};
    plan plan = small;

    (void)state;
    plan.options = (xf_process_options){.name = "captured",
                                        .environment = environment,
                                        .directory = ".",
                                        .stdout_to = XF_STDIO_CAPTURE,
                                        .stderr_to = XF_STDIO_CAPTURE};
    sweep_parent(&plan);
}

/* The environment is larger than one request to a server. */
static void a_large_environment(void **state)
{
    static char variables[5][16384];
    const char *environment[6] = {NULL};
    plan plan = small;

    (void)state;
    for (int i = 0; i < 5; i++) {
        memset(variables[i], 'x', sizeof variables[i] - 1);
        memcpy(variables[i], "XF_TEST_LARGE_0=", 16);
        variables[i][14] = (char)('0' + i);
        environment[i] = variables[i];
    }
    plan.options.environment = environment;
    sweep_parent(&plan);
}

static void objects(void **state)
{
    (void)state;
    sweep_parent(&object);
}

/* ---- Failures in the child ------------------------------------------------------------------- */

/* Checks what the parent learns of the failure. */
static bool is_sensible_report(const outcome *outcome)
{
    switch (outcome->status.kind) {
    case XF_END_DONE:
        return !outcome->wrong;
    case XF_END_FAILED:
        return *outcome->message || outcome->status.code == XF_TASK_NO_MEMORY; /* which has a text of its own */
    case XF_END_START_FAILED:
        return is_known(outcome->status.code) && outcome->status.code != XF_EMAIN && *outcome->message;
    case XF_END_EXITED:
        return *outcome->message;
    default:
        return false;
    }
}

/* A child cannot report anything before it has the black box: its parent sees that it ended before xf_main. */
static bool is_end_in_main(const outcome *outcome)
{
    return outcome->status.kind == XF_END_START_FAILED && *outcome->message;
}

static void sweep_child(plan plan, const char *name, int least)
{
    bool in_main = strcmp(name, FAULTS_IN_MAIN) == 0;
    char variable[64];
    const char *const environment[] = {variable, NULL};
    outcome outcome;
    counts before;
    int n = 0;

    plan.options.stderr_to = XF_STDIO_CAPTURE;
    before = warm_up(&plan);
    plan.options.environment = environment;
    do {
        snprintf(variable, sizeof variable, "%s=%d", name, ++n);
        outcome = run(&plan);
        if (outcome.rc < 0 || !(is_sensible_report(&outcome) || (in_main && is_end_in_main(&outcome))))
            fail_msg("call %d in the child: %s (%s), %s, code %d: %s", n, xf_err_name(outcome.rc), outcome.detail,
                     xf_end_name(outcome.status.kind), outcome.status.code, outcome.message);
        expect_nothing_left(&before, n, "in the child");
    } while (outcome.printed_fault && n < MOST_ROUNDS);
    print_message("           %d calls\n", n - 1);
    assert_in_range(n - 1, least, MOST_ROUNDS - 1);
    assert_int_equal(outcome.status.kind, XF_END_DONE);
}

static void small_input_in_the_child(void **state)
{
    (void)state;
    sweep_child(small, FAULTS_IN_CHILD, 2);
}

static void large_input_and_output_in_the_child(void **state)
{
    (void)state;
    sweep_child(large, FAULTS_IN_CHILD, 5);
}

static void objects_in_the_child(void **state)
{
    (void)state;
    sweep_child(object, FAULTS_IN_CHILD, 2);
}

/* With methods that do not execute the program anew, every round passes. */
static void on_the_way_to_xf_main(void **state)
{
    (void)state;
    sweep_child(large, FAULTS_IN_MAIN, 0);
}

/* ---- Failures in the helper process of XF_START_FORKSERVER --------------------------------------- */

/* With other methods there is no server, and every round passes. */
static void the_server(void **state)
{
    enum { ROUNDS = 8 };
    counts before = warm_up(&small);

    (void)state;
    for (int n = 1; n <= ROUNDS; n++) {
        char text[16];
        outcome outcome;
        snprintf(text, sizeof text, "%d", n);
        uv_os_setenv(FAULTS_IN_SERVER, text);
        outcome = run(&small);
        if (outcome.rc < 0 || !is_sensible_report(&outcome))
            fail_msg("call %d in the server: %s (%s), %s, code %d: %s", n, xf_err_name(outcome.rc), outcome.detail,
                     xf_end_name(outcome.status.kind), outcome.status.code, outcome.message);
        expect_nothing_left(&before, n, "in the server");
        if (n == ROUNDS)
            assert_int_equal(outcome.status.kind, XF_END_DONE);
    }
    uv_os_unsetenv(FAULTS_IN_SERVER);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_input),
        cmocka_unit_test(while_nobody_waits),
        cmocka_unit_test(large_input_and_output),
        cmocka_unit_test(captured_streams_and_an_environment),
        cmocka_unit_test(logged_lines_and_a_file),
        cmocka_unit_test(a_large_environment),
        cmocka_unit_test(objects),
        cmocka_unit_test(small_input_in_the_child),
        cmocka_unit_test(large_input_and_output_in_the_child),
        cmocka_unit_test(objects_in_the_child),
        cmocka_unit_test(on_the_way_to_xf_main),
        cmocka_unit_test(the_server),
    };

    for (size_t i = 0; i < sizeof large_input; i++)
        large_input[i] = (char)(i * 31 + i / 256);
    faults_obey(FAULTS_IN_MAIN);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
