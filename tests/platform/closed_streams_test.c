/* Goal: a program that has closed its standard streams, any of them, starts children as every program does, and so does
 * one whose main closes them before it comes to xf_main (POSIX). */
#include "program.h"
#include "tasks.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 200, BAD_START = 2, BAD_END, BAD_POOL, BAD_MAP };

XF_TASK(add_one, const int *in, int *out)
{
    *out = *in + 1;
    return 0;
}

static int run_process(void)
{
    xf_process *process = NULL;
    xf_status status = {XF_END_NONE, 0, 0};
    int in = 1;

    if (xf_process_start(&process, &add_one, &in, sizeof in, NULL) < 0)
        return BAD_START;
    if (xf_process_join(process, &status, 60000) < 0 || status.kind != XF_END_DONE)
        return BAD_END;
    xf_process_free(process);
    return 0;
}

static int run_pool(void)
{
    xf_pool *pool = NULL;
    int in[ITEMS] = {0}, out[ITEMS];

    if (xf_pool_create(&pool, &(xf_pool_options){.workers = 2}) < 0)
        return BAD_POOL;
    if (xf_pool_map(pool, &(xf_map){.task = &add_one, .in = in, .out = out, .count = ITEMS}) < 0)
        return BAD_MAP;
    xf_pool_free(pool);
    return 0;
}

/* Closes the streams of which the bits are set. */
static void close_streams(int streams)
{
    for (int i = 0; i < 3; i++)
        if (streams & 1 << i)
            close(i);
}

/* Twice, since the first child may find other numbers free. */
static int role_closer(int streams)
{
    int rc = 0;

    close_streams(streams);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = run_process();
    return rc ? rc : run_pool();
}

static void any_standard_stream_may_be_closed(void **state)
{
    (void)state;
    for (int streams = 1; streams < 8; streams++) {
        char text[2] = {(char)('0' + streams), 0};
        const char *const arguments[] = {text, NULL};
        int64_t code = program_end(program_start(NULL, arguments, NULL), NULL);
        if (code != 0)
            fail_msg("without the streams %d: %d", streams, (int)code);
    }
}

static void any_standard_stream_may_be_closed_before_xf_main(void **state)
{
    (void)state;
    for (int streams = 1; streams < 8; streams++) {
        char setting[] = "XF_TEST_CLOSES=0";
        const char *const arguments[] = {"0", NULL};
        int64_t code;
        setting[sizeof setting - 2] = (char)('0' + streams);
        code = program_end(program_start(NULL, arguments, setting), NULL);
        if (code != 0)
            fail_msg("without the streams %d: %d", streams, (int)code);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_standard_stream_may_be_closed),
        cmocka_unit_test(any_standard_stream_may_be_closed_before_xf_main),
    };
    const char *early = getenv("XF_TEST_CLOSES");

    if (early)
        close_streams(atoi(early));
    xf_main(argc, argv);
    return argc > 1 ? role_closer(atoi(argv[1])) : cmocka_run_group_tests(tests, NULL, NULL);
}
