/* Tasks and shorthands that several tests use. */
#ifndef TASKS_H
#define TASKS_H

#include "crossfork.h"
#include "support.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* A large size: 1 GiB; less for the thread sanitizer, which takes minutes to track each byte. */
#ifdef __SANITIZE_THREAD__
enum { LARGE_MIB = 64 };
#else
enum { LARGE_MIB = 1024 };
#endif

/* Never returns. */
static inline void hang(void)
{
    uv_sem_t never;

    uv_sem_init(&never, 0);
    for (;;)
        uv_sem_wait(&never);
}

/* Starts a task or fails the test. */
static inline xf_process *start(xf_task *task, const void *input, size_t size, const xf_process_options *options)
{
    xf_process *process = NULL;
    int rc = xf_process_start(&process, task, input, size, options);

    if (rc < 0)
        print_error("xf_process_start %s: %s (%s)\n", task->name, xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return process;
}

/* Longer than any test's child takes on the slowest machine; less than the timeout of ctest. */
enum { LONGEST_MS = 400000 };

/* Ends a child that hangs, and prints where it hung, before ctest's timeout. */
static inline xf_status join(xf_process *process)
{
    xf_status status;
    int rc = xf_process_join(process, &status, LONGEST_MS);

    if (rc == XF_ETIMEDOUT) {
        xf_process_terminate(process);
        assert_int_equal(xf_process_join(process, &status, XF_FOREVER), 0);
        xf_report_print(xf_process_report(process), stderr);
    }
    assert_int_equal(rc, 0);
    return status;
}

/* Joins, checks how it ended, and frees. */
static inline void expect_end(xf_process *process, xf_end kind, int code)
{
    xf_status status = join(process);

    if (status.kind != kind || status.code != code)
        xf_report_print(xf_process_report(process), stderr);
    assert_string_equal(xf_end_name(status.kind), xf_end_name(kind));
    assert_int_equal(status.code, code);
    assert_int_equal(xf_process_free(process), 0);
}

/* Receives one message as a number. */
static inline int64_t receive_number(xf_process *process)
{
    xf_message message;
    int64_t number = 0;
    int rc = xf_process_receive(process, &message, XF_FOREVER);

    if (rc < 0 && xf_process_report(process))
        xf_report_print(xf_process_report(process), stderr);
    assert_int_equal(rc, 0);
    assert_int_equal(message.size, sizeof number);
    memcpy(&number, message.data, sizeof number);
    xf_message_free(&message);
    return number;
}

static inline int send_number(xf_call *call, int64_t number)
{
    return xf_send(call, &number, sizeof number);
}

#endif
