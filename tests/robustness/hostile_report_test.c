/* Goal: a child that writes anything into what it shares with its parent, and then ends in some way, costs its task:
 * the parent neither crashes nor hangs, touches nothing that the child has named, and its report does not deceive. */
#include "process/call.h"
#include "protocol/channel.h"
#include "tasks.h"

#include <math.h>
#include <signal.h>

/* ---- In the child ---------------------------------------------------------------------------- */

static black_box_line *next_line(black_box *box, const char *text)
{
    black_box_line *line = &box->lines[atomic_load(&box->line_count) % (XF_REPORT_LOG_LINES + 1)];

    line->size = (uint32_t)strlen(text);
    memcpy(line->text, text, line->size);
    atomic_fetch_add(&box->line_count, 1);
    return line;
}

#define COMMANDS                                                                                                       \
    "a\xE2\x80\xAE"                                                                                                    \
    "b\xC2\x9B"                                                                                                        \
    "31mc\x9B"                                                                                                         \
    "31md\xE2\x80\xA8"                                                                                                 \
    "e\xE2\x81\xA6"                                                                                                    \
    "f"

static void log_nonsense(black_box *box)
{
    const double times[] = {NAN, INFINITY, -INFINITY, -0.0, 1e308};

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        black_box_line *line = next_line(box, COMMANDS);
        line->time = times[i];
        line->level = UINT32_MAX;
        memset(line->task, 'T', sizeof line->task);
    }
    next_line(box, "")->size = UINT32_MAX;
}

/* A record of more registers than there are, whose sizes are not those of its parts. */
static void record_nonsense(black_box *box)
{
    os_record_head *head = black_box_record(box);

    memset(head, 0xFF, OS_RECORD_SIZE);
    head->register_count = UINT32_MAX;
    atomic_store(&head->state, OS_RECORD_WHOLE);
}

static int send_and_hang(xf_call *call)
{
    xf_send(call, NULL, 0);
    hang();
    return 0;
}

/* Puts a link to this program in the place of a core file. */
static void link_a_core(const black_box *box)
{
    char path[1200], program[1024];
    size_t size = sizeof program;
    uv_fs_t done;

    uv_exepath(program, &size);
    uv_fs_mkdir(NULL, &done, box->dumps, 0700, NULL);
    uv_fs_req_cleanup(&done);
    snprintf(path, sizeof path, "%s/core", box->dumps);
    uv_fs_symlink(NULL, &done, program, path, 0, NULL);
    uv_fs_req_cleanup(&done);
}

static _Noreturn void say_stopped(xf_call *call)
{
    frame_fields fields = {.size = 0};

    frame_put_u32(&fields, FRAME_OUTCOME_STOPPED);
    frame_put_u32(&fields, 0);
    channel_send(&call->channel, FRAME_BYE, &fields, NULL, 0, true);
    os_self_exit(0);
}

typedef struct plan {
    char how[24];
    int64_t parent;
} plan;

XF_TASK(lie, const plan *in, int *out)
{
    black_box *box = call->box;

    *out = 0;
    if (strcmp(in->how, "log") == 0)
        log_nonsense(box);
    if (strcmp(in->how, "lines") == 0)
        atomic_store(&box->line_count, UINT64_MAX);
    if (strcmp(in->how, "registers") == 0)
        record_nonsense(box);
    if (strcmp(in->how, "record") == 0)
        box->status.record_at = UINT64_MAX / 2;
    if (strcmp(in->how, "dumps") == 0)
        box->status.dump_at = UINT64_MAX / 2;
    if (strcmp(in->how, "dumps link") == 0)
        link_a_core(box);
    if (strcmp(in->how, "dumps path") == 0)
        memset(box->dumps, 'x', sizeof box->dumps);
    if (strcmp(in->how, "stop") == 0)
        atomic_store(&box->stop, 1);
    if (strcmp(in->how, "stopped") == 0)
        say_stopped(call);
    if (strcmp(in->how, "record") == 0 || strcmp(in->how, "stop") == 0)
        return send_and_hang(call);
    if (strcmp(in->how, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        atomic_store(&box->status.crash, 100000);
        raise(SIGSEGV);
    }
    if (strncmp(in->how, "dumps", 5) == 0)
        abort();
    support_kill_self();
}

/* ---- In the parent --------------------------------------------------------------------------- */

static xf_process *start_liar(const char *how, const xf_process_options *options)
{
    plan plan = {.parent = uv_os_getpid()};

    snprintf(plan.how, sizeof plan.how, "%s", how);
    return start(&lie, &plan, sizeof plan, options);
}

static void await_message(xf_process *process)
{
    xf_message message;

    assert_int_equal(xf_process_receive(process, &message, LONGEST_MS), 0);
    xf_message_free(&message);
}

/* Removes a directory, what is in it, and what is in its directories. */
static void empty_directory(const char *path)
{
    uv_fs_t list, done;
    uv_dirent_t entry;
    char inside[2100];

    uv_fs_scandir(NULL, &list, path, 0, NULL);
    while (uv_fs_scandir_next(&list, &entry) == 0) {
        snprintf(inside, sizeof inside, "%s/%s", path, entry.name);
        if (entry.type == UV_DIRENT_DIR)
            empty_directory(inside);
        else
            uv_fs_unlink(NULL, &done, inside, NULL);
    }
    uv_fs_req_cleanup(&list);
    uv_fs_rmdir(NULL, &done, path, NULL);
    uv_fs_req_cleanup(&done);
}

/* Returns the report as text; valid until the next call. */
static const char *text_of(xf_process *process, int (*form)(const xf_report *report, FILE *stream))
{
    static char text[100000];
    FILE *file = tmpfile();
    size_t size;

    assert_non_null(file);
    assert_int_equal(form(xf_process_report(process), file), 0);
    rewind(file);
    size = fread(text, 1, sizeof text - 1, file);
    text[size] = 0;
    fclose(file);
    return text;
}

static void expect_no_commands(const char *text)
{
    static const char *const commands[] = {"\xE2\x80\xAE", "\xC2\x9B", "\x9B", "\xE2\x80\xA8", "\xE2\x81\xA6"};

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        assert_null(strstr(text, commands[i]));
}

static void a_log_cannot_deceive(void **state)
{
    xf_process *process = start_liar("log", NULL);
    const char *text;

    (void)state;
    join(process);
    text = text_of(process, xf_report_print);
    expect_no_commands(text);
    assert_non_null(strstr(text, "a\\u202eb\\u009b31mc\\x9b31md\\u2028e\\u2066f\n"));
    text = text_of(process, xf_report_json);
    expect_no_commands(text);
    assert_non_null(strstr(text, "{\"time\": null, "));
    assert_non_null(strstr(text, "{\"time\": -0.000000, "));
    assert_null(strstr(text, "inf"));
    assert_null(strstr(text, "nan"));
    assert_int_equal(xf_process_report(process)->log_count, 6);
    expect_end(process, XF_END_KILLED, 0);
}

static void more_lines_than_there_are(void **state)
{
    xf_process *process = start_liar("lines", NULL);

    (void)state;
    join(process);
    text_of(process, xf_report_json);
    assert_int_equal(xf_process_report(process)->log_count, XF_REPORT_LOG_LINES);
    expect_end(process, XF_END_KILLED, 0);
}

static void a_record_without_sense(void **state)
{
    xf_process *process = start_liar("registers", NULL);

    (void)state;
    join(process);
    text_of(process, xf_report_print);
    text_of(process, xf_report_json);
    assert_in_range(xf_process_report(process)->register_count, 1, OS_REGISTERS_MAX);
    for (size_t i = 0; i < xf_process_report(process)->register_count; i++)
        assert_in_range(strlen(xf_process_report(process)->registers[i].name), 1, 8);
    expect_end(process, XF_END_KILLED, 0);
}

/* The parent keeps to where it had put the record. */
static void a_record_that_is_elsewhere(void **state)
{
    xf_process *process = start_liar("record", NULL);
    xf_stack stack;

    (void)state;
    await_message(process);
    if (xf_process_stack(process, &stack) == 0)
        xf_stack_free(&stack);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

static void dumps_that_are_elsewhere(void **state)
{
    static const char *const ways[] = {"dumps", "dumps path"};
    char directory[1024];
    size_t size = sizeof directory;

    (void)state;
    assert_int_equal(uv_os_tmpdir(directory, &size), 0);
    for (size_t i = 0; i < 2; i++) {
        xf_process *process = start_liar(ways[i], &(xf_process_options){.dumps = directory});
        join(process);
        text_of(process, xf_report_json);
        if (*xf_process_report(process)->dump)
            remove(xf_process_report(process)->dump);
        expect_end(process, XF_END_CRASHED, XF_CRASH_ABORT);
    }
}

static void a_dump_that_is_a_link(void **state)
{
    char directory[1024];
    size_t size = sizeof directory;
    xf_process *process;
    uv_fs_t facts;

    (void)state;
    assert_int_equal(uv_os_tmpdir(directory, &size), 0);
    snprintf(directory + strlen(directory), sizeof directory - strlen(directory), "/crossfork-XXXXXX");
    assert_int_equal(uv_fs_mkdtemp(NULL, &facts, directory, NULL), 0);
    snprintf(directory, sizeof directory, "%s", facts.path);
    uv_fs_req_cleanup(&facts);
    process = start_liar("dumps link", &(xf_process_options){.dumps = directory});
    join(process);
    if (*xf_process_report(process)->dump) {
        assert_int_equal(uv_fs_lstat(NULL, &facts, xf_process_report(process)->dump, NULL), 0);
        assert_int_equal(facts.statbuf.st_mode & 0170000, 0100000);
        uv_fs_req_cleanup(&facts);
    }
    expect_end(process, XF_END_CRASHED, XF_CRASH_ABORT);
    empty_directory(directory);
}

/* Goal: a child that seems to have been asked to stop before is ended all the same. */
static void a_request_to_stop_that_never_was(void **state)
{
    xf_process *process = start_liar("stop", &(xf_process_options){.grace_ms = 50});

    (void)state;
    await_message(process);
    xf_process_terminate(process);
    expect_end(process, XF_END_TERMINATED, 0);
    expect_end(start_liar("stop", &(xf_process_options){.grace_ms = 50, .limits.wall_ms = 300}), XF_END_TIMED_OUT, 0);
}

static void a_stop_that_nobody_asked_for(void **state)
{
    (void)state;
    expect_end(start_liar("stopped", NULL), XF_END_PROTOCOL_ERROR, XF_EPROTO);
}

static void a_crash_of_a_kind_that_is_none(void **state)
{
    xf_process *process = start_liar("crash", NULL);
    xf_status status = join(process);

    (void)state;
    if (status.kind == XF_END_CRASHED)
        assert_in_range(status.code, XF_CRASH_OTHER, XF_CRASH_TRAP);
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_cannot_deceive),
        cmocka_unit_test(more_lines_than_there_are),
        cmocka_unit_test(a_record_without_sense),
        cmocka_unit_test(a_record_that_is_elsewhere),
        cmocka_unit_test(dumps_that_are_elsewhere),
        cmocka_unit_test(a_dump_that_is_a_link),
        cmocka_unit_test(a_request_to_stop_that_never_was),
        cmocka_unit_test(a_stop_that_nobody_asked_for),
        cmocka_unit_test(a_crash_of_a_kind_that_is_none),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
