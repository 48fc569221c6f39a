/* w7: sends 8 bytes to another process and receives 8 bytes, through the two directions of a pipe. */
#include "bench.h"

#include <string.h>
#include <unistd.h>

enum { CALLS_HOT = 20000, CALLS_ASLEEP = 4000, SPIN_US = 50 };

static uint64_t question;

/* ---- crossfork ------------------------------------------------------------------------------- */

static struct {
    xf_pipe *pipe;
    xf_process *process;
} own;

typedef struct orders {
    xf_ref pipe;
    uint64_t hot;
} orders;

XF_TASK(answer_pipe, const orders *in, uint64_t *out)
{
    xf_pipe *pipe;
    uint64_t value;
    size_t size;

    (void)call;
    *out = 0;
    if (in->hot)
        bench_keep_to_core(1);
    bench_check("xf_pipe_open", xf_pipe_open(&pipe, &in->pipe));
    while (xf_pipe_receive_into(pipe, &value, sizeof value, &size, XF_FOREVER) == 0) {
        value *= 3;
        bench_check("xf_pipe_send", xf_pipe_send(pipe, &value, sizeof value, XF_FOREVER));
    }
    xf_pipe_free(pipe);
    return 0;
}

static void open_pipe(bool hot)
{
    xf_pipe_options options = {.spin_us = hot ? SPIN_US : -1};
    orders orders = {.hot = hot};
    xf_pipe *theirs;

    bench_check("xf_pipe_create", xf_pipe_create(&own.pipe, &theirs, &options));
    bench_check("xf_pipe_ref", xf_pipe_ref(theirs, &orders.pipe));
    bench_check("xf_process_start", xf_process_start(&own.process, &answer_pipe, &orders, sizeof orders, NULL));
    xf_pipe_free(theirs);
}

static void open_hot(void)
{
    bench_keep_to_core(0);
    open_pipe(true);
}

static void open_asleep(void)
{
    open_pipe(false);
}

static void ask(void)
{
    uint64_t answer;
    size_t size;

    question++;
    bench_check("xf_pipe_send", xf_pipe_send(own.pipe, &question, sizeof question, XF_FOREVER));
    bench_check("xf_pipe_receive_into", xf_pipe_receive_into(own.pipe, &answer, sizeof answer, &size, XF_FOREVER));
    if (answer != 3 * question)
        bench_fail("w7", "an answer is wrong");
}

static void close_pipe(void)
{
    xf_pipe_free(own.pipe);
    bench_check("xf_process_join", xf_process_join(own.process, NULL, XF_FOREVER));
    xf_process_free(own.process);
    bench_check("xf_cleanup", xf_cleanup());
}

/* ---- The workload; the bare one is that of w3 ------------------------------------------------ */

static const bench_variant variants[] = {
    {"bare:hot", bench_open_post_hot, bench_ask_post, bench_close_post, CALLS_HOT, false, NULL},
    {"crossfork:hot", open_hot, ask, close_pipe, CALLS_HOT, false, NULL},
    {"bare:asleep", bench_open_post_asleep, bench_ask_post, bench_close_post, CALLS_ASLEEP, false, NULL},
    {"crossfork:asleep", open_asleep, ask, close_pipe, CALLS_ASLEEP, false, NULL},
};

static const bench_ratio ratios[] = {
    {"crossfork:hot", "bare:hot", 1.5},
    {"crossfork:asleep", "bare:asleep", 1.1},
};

const bench_workload bench_w7 = {"w7", 1, 2, variants, BENCH_COUNT(variants), ratios, BENCH_COUNT(ratios), false};
