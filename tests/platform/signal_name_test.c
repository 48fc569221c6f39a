/* Goal: a report names the signal that ended a child, and says what it means where the child itself was the reason. */
#include "program.h"
#include "tasks.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

XF_TASK(raise_signal, const int *in, int *out)
{
    *out = 0;
    raise(*in);
    return 0;
}

/* Writes to a pipe that nobody reads. */
XF_TASK(write_to_nobody, const int *in, int *out)
{
    int ends[2];

    (void)in;
    *out = 0;
    if (pipe(ends) < 0)
        return 1;
    close(ends[0]);
    return write(ends[1], "x", 1) == 1;
}

/* Makes a file larger than it may become. */
XF_TASK(write_too_much, const int *in, int *out)
{
    struct rlimit limit = {1, 1};
    char name[] = "/tmp/crossfork-test-XXXXXX";
    int fd = mkstemp(name);

    (void)in;
    *out = 0;
    unlink(name);
    setrlimit(RLIMIT_FSIZE, &limit);
    return fd < 0 || write(fd, "xyz", 1) != 1 || write(fd, "xyz", 1) != 1;
}

typedef struct row {
    int number;
    xf_end kind;
    const char *name;
} row;

static const row rows[] = {
    {SIGHUP, XF_END_KILLED, "SIGHUP"},       {SIGINT, XF_END_KILLED, "SIGINT"},
    {SIGTERM, XF_END_KILLED, "SIGTERM"},     {SIGUSR1, XF_END_KILLED, "SIGUSR1"},
    {SIGUSR2, XF_END_KILLED, "SIGUSR2"},     {SIGQUIT, XF_END_KILLED, "SIGQUIT"},
    {SIGALRM, XF_END_KILLED, "SIGALRM"},     {SIGPIPE, XF_END_KILLED, "SIGPIPE"},
    {SIGKILL, XF_END_KILLED, "SIGKILL"},     {SIGXFSZ, XF_END_CRASHED, "SIGXFSZ"},
    {SIGXCPU, XF_END_CRASHED, "SIGXCPU"},    {SIGSYS, XF_END_CRASHED, "SIGSYS"},
    {SIGABRT, XF_END_CRASHED, "abort"},      {SIGBUS, XF_END_CRASHED, "access violation"},
    {SIGVTALRM, XF_END_KILLED, "SIGVTALRM"},
};

enum { ROWS = sizeof rows / sizeof *rows };

static void expect_name(const xf_report *report, xf_end kind, const char *name)
{
    assert_string_equal(report->kind_name, xf_end_name(kind));
    assert_string_equal(report->code_name, name);
}

static void each_signal_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        xf_process *process = start(&raise_signal, &rows[i].number, sizeof rows[i].number, NULL);
        join(process);
        expect_name(xf_process_report(process), rows[i].kind, rows[i].name);
        xf_process_free(process);
    }
}

static void each_is_named_in_a_pool(void **state)
{
    int in[ROWS];
    xf_pool *pool;
    xf_future *future;

    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        in[i] = rows[i].number;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 2}), 0);
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &raise_signal, .in = in, .count = ROWS}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
    for (size_t i = 0; i < ROWS; i++)
        expect_name(xf_future_report(future, i), rows[i].kind, rows[i].name);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void expect_cause(xf_task *task, xf_end kind, const char *name, const char *cause)
{
    int nothing = 0;
    xf_process *process = start(task, &nothing, sizeof nothing, NULL);

    join(process);
    expect_name(xf_process_report(process), kind, name);
    assert_non_null(strstr(xf_process_report(process)->message, cause));
    xf_process_free(process);
}

static void what_a_child_has_done_itself_is_not_blamed_on_others(void **state)
{
    (void)state;
    expect_cause(&write_to_nobody, XF_END_KILLED, "SIGPIPE", "nobody reads");
    expect_cause(&write_too_much, XF_END_CRASHED, "SIGXFSZ", "RLIMIT_FSIZE");
}

/* The names that are not in the list above. */
static void real_time_signals_are_called_so(void **state)
{
    int number = SIGRTMIN + 3;
    xf_process *process = start(&raise_signal, &number, sizeof number, NULL);

    (void)state;
    join(process);
    expect_name(xf_process_report(process), XF_END_KILLED, "a real-time signal");
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_signal_is_named),
        cmocka_unit_test(each_is_named_in_a_pool),
        cmocka_unit_test(what_a_child_has_done_itself_is_not_blamed_on_others),
        cmocka_unit_test(real_time_signals_are_called_so),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
