#include "process/process_lead.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/monitor.h"
#include "base/writer.h"
#include "process/process_end.h"
#include "process/process_io.h"
#include "process/process_log.h"

#include <stddef.h>
#include <stdlib.h>

enum { POLL_MS = 10 }; /* how often a child is looked at that is not watched */

/* ---- Deadlines ------------------------------------------------------------------------------- */

void process_lead_kill_late(xf_process *process)
{
    (void)os_child_snapshot(process->child);
    os_child_kill(process->child);
}

static uint64_t next_process_deadline(const xf_process *process)
{
    uint64_t next = process->unwatched ? clock_deadline(POLL_MS) : CLOCK_NEVER;

    if (process->start_deadline < next)
        next = process->start_deadline;
    if (process->wall_deadline < next)
        next = process->wall_deadline;
    return process->grace_deadline < next ? process->grace_deadline : next;
}

void process_lead_wake(xf_process *process)
{
    black_box *box = process->box.address;

    atomic_fetch_add(&box->wake, 1);
    os_shm_wake(&process->box, &box->wake, OS_ALL);
}

void process_lead_ask_to_stop(xf_process *process)
{
    uint8_t stop[FRAME_HEADER];
    black_box *box = process->box.address;

    if (process->stop_asked)
        return;
    process->stop_asked = true; /* the child can write to the box, and could seem to have been asked */
    atomic_store(&box->stop, 1);
    frame_put_header(stop, &(frame){.type = FRAME_STOP});
    /* only wakes the task: the word in the box counts */
    os_channel_write(os_child_channel(process->child, OS_CHANNEL), stop, sizeof stop, -1, 0);
    process_lead_wake(process);
    process->grace_deadline = clock_deadline(process->grace_ms);
    supervisor_set_deadline(&process->supervised, next_process_deadline(process));
}

static void check_process_deadlines(xf_process *process)
{
    uint64_t now = uv_hrtime();
    black_box *box = process->box.address;

    if (process->start_deadline <= now) {
        process->start_deadline = CLOCK_NEVER;
        if (atomic_load(&box->phase) == XF_PHASE_STARTING && !process->exited) {
            process->start_timed_out = true;
            process_lead_kill_late(process);
        }
    }
    if (process->wall_deadline <= now) {
        process->wall_deadline = CLOCK_NEVER;
        if (!process->exited) {
            process->timed_out = !process->stop_asked;
            process_lead_ask_to_stop(process);
        }
    }
    if (process->grace_deadline <= now) {
        process->grace_deadline = CLOCK_NEVER;
        if (!process->exited) {
            process->kill_asked = true;
            process_lead_kill_late(process);
        }
    }
}

void process_lead_learn_pid(xf_process *process)
{
    if (!process->pid && !process->exited)
        process->pid = os_child_pid(process->child);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Reads what there is, and judges the child if it has exited. */
static void read_and_judge(xf_process *process)
{
    process_lead_learn_pid(process);
    process_io_drain(process);
    if (os_child_end(process->child, &process->end) == 0) {
        process_lead_learn_pid(process);
        process->exited = true;
        process_io_drain(process);
        process_io_read_last_frames(process);
        process_io_finish_printed(process);
        if (process->dumps && !*process->dump)
            process_end_take_dump(process);
        object_server_forget(&process->objects);
        process_end_judge(process);
        supervisor_set_deadline(&process->supervised, CLOCK_NEVER);
        os_shm_close(&process->box);
        os_shm_close(&process->input);
    } else {
        if (process->dumps && !*process->dump)
            process_end_take_dump(process);
        check_process_deadlines(process);
    }
}

/* ---- Leading --------------------------------------------------------------------------------- */

static void begin_to_lead(xf_process *process)
{
    process->leading = true;
    os_child_unwatch(process->child);
}

/* Wakes the threads that wait for this process. */
static void wake_waiters(xf_process *process)
{
    uv_cond_broadcast(&process->changed);
    if (process->ended || process->inbox.first)
        supervisor_wake_waiters();
}

static void stop_leading(xf_process *process)
{
    process->leading = false;
    process->unwatched =
        !process->ended && (process_log_is_full(process) || supervisor_watch(&process->supervised, process->child) < 0);
    if (process->unwatched)
        supervisor_set_deadline(&process->supervised, next_process_deadline(process));
    wake_waiters(process);
}

/* Waits for news of the child; while on_log is behind, only until it is not. */
static void await_news(xf_process *process, int timeout_ms)
{
    if (process_log_is_full(process)) {
        if (timeout_ms < 0 || timeout_ms > POLL_MS)
            timeout_ms = POLL_MS; /* the child may end meanwhile */
        (void)uv_cond_timedwait(&process->changed, &process->lock, (uint64_t)timeout_ms * CLOCK_NS_PER_MS);
        return;
    }
    uv_mutex_unlock(&process->lock);
    os_child_wait(process->child, timeout_ms);
    uv_mutex_lock(&process->lock);
}

/* Leads until the condition holds, and returns 0; or until the deadline passes, and returns XF_ETIMEDOUT. */
static int lead_until(xf_process *process, process_condition holds, uint64_t deadline)
{
    begin_to_lead(process);
    read_and_judge(process);
    while (!holds(process) && !process->ended && (deadline == CLOCK_NEVER || uv_hrtime() < deadline)) {
        uint64_t next = next_process_deadline(process);
        await_news(process, clock_left_ms(deadline < next ? deadline : next));
        read_and_judge(process);
        wake_waiters(process);
    }
    stop_leading(process);
    if (process->ended && process->owner.ended) /* the supervisor calls the owner, and does not know of the end yet */
        supervisor_set_deadline(&process->supervised, 0);
    return holds(process) ? 0 : XF_ETIMEDOUT;
}

int process_lead_await(xf_process *process, process_condition holds, uint64_t deadline)
{
    while (!holds(process) && !process->ended) {
        uint64_t now = uv_hrtime();
        int rc = process_log_check_wait(process);
        if (rc < 0)
            return rc;
        if (!process->leading) {
            if (lead_until(process, holds, deadline) == 0 || process->ended)
                return 0;
            return XF_ETIMEDOUT;
        }
        if (deadline == CLOCK_NEVER)
            uv_cond_wait(&process->changed, &process->lock);
        else if (now >= deadline || uv_cond_timedwait(&process->changed, &process->lock, deadline - now) < 0)
            return holds(process) || process->ended ? 0 : XF_ETIMEDOUT;
    }
    return 0;
}

bool process_lead_has_ended(const xf_process *process)
{
    return process->ended;
}

bool process_lead_has_message(const xf_process *process)
{
    return process->inbox.first != NULL;
}

bool process_lead_has_pid(const xf_process *process)
{
    return process->pid != 0;
}

/* ---- Beginning and ending -------------------------------------------------------------------- */

void process_lead_begin(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    stop_leading(process);
    supervisor_set_deadline(&process->supervised, next_process_deadline(process));
    uv_mutex_unlock(&process->lock);
}

static void free_process_memory(xf_process *process)
{
    free(process->dumps);
    free(process->texts);
    stack_trace_free(process->trace);
    writer_free(&process->replay);
    free(process->save_to);
    free(process->saved);
    free(process->unsaved);
    inbox_close(&process->inbox);
    frame_decoder_close(&process->in);
    tail_buffer_close(&process->captured[0]);
    tail_buffer_close(&process->captured[1]);
    line_splitter_close(&process->printed[0]);
    line_splitter_close(&process->printed[1]);
}

void process_lead_discard(xf_process *process)
{
    os_shm_close(&process->box);
    os_shm_close(&process->input);
    free_process_memory(process);
    monitor_close(&process->lock, &process->changed);
    free(process);
}

void process_lead_destroy(xf_process *process)
{
    process_owner owner = process->owner;

    process_log_close(process);
    supervisor_remove(&process->supervised);
    os_child_close(process->child);
    process_lead_discard(process);
    if (owner.released)
        owner.released(owner.arg);
}

/* Whether the process is detached and over.  It is true once: its caller destroys the process. */
static bool take_finished(xf_process *process)
{
    bool finished = process->detached && process->ended && process_log_is_over(process);

    process->detached &= !finished;
    return finished;
}

void process_lead_release(xf_process *process)
{
    bool finished;

    uv_mutex_lock(&process->lock);
    process->detached = true;
    finished = take_finished(process);
    uv_mutex_unlock(&process->lock);
    if (finished)
        process_lead_destroy(process);
}

/* ---- In a forked copy ------------------------------------------------------------------------ */

int process_lead_check_own(const xf_process *process)
{
    return process->generation == os_self_generation()
               ? 0
               : error_detail(XF_ESTATE, "process %s was started by the process that this one is a forked copy of",
                              process->name);
}

/* The monitor is not destroyed: threads that only the parent has may sleep on it. */
void process_lead_let_go(xf_process *process)
{
    if (uv_mutex_trylock(&process->lock) != 0)
        return;
    os_child_let_go(process->child);
    os_shm_let_go(&process->box);
    os_shm_let_go(&process->input);
    process_log_let_go(process);
    free_process_memory(process);
    free(process);
}

/* ---- The supervisor -------------------------------------------------------------------------- */

static void call_owner(const process_owner *owner, bool ended, bool progress)
{
    if (ended)
        owner->ended(owner->arg);
    else if (progress)
        owner->progress(owner->arg);
}

void process_lead_on_due(supervised *supervised)
{
    xf_process *process = (xf_process *)supervised;
    process_owner owner;
    bool finished, ended, progress;

    uv_mutex_lock(&process->lock);
    if (process->leading) {
        check_process_deadlines(process); /* the leader may sleep until a later deadline */
    } else if (!process->ended) {
        begin_to_lead(process);
        read_and_judge(process);
        stop_leading(process);
    }
    if (!process->ended && next_process_deadline(process) != CLOCK_NEVER)
        supervisor_set_deadline(supervised, next_process_deadline(process));
    finished = take_finished(process);
    owner = process->owner;
    ended = process->ended;
    if (ended)
        process->owner.ended = NULL; /* it hears of the end once */
    progress = process->inbox.progress;
    process->inbox.progress = false;
    uv_mutex_unlock(&process->lock);
    if (owner.ended)
        call_owner(&owner, ended, progress);
    else if (finished)
        process_lead_destroy(process);
}

/* ---- The callback thread --------------------------------------------------------------------- */

void process_lead_on_log_turn(callback_source *source)
{
    xf_process *process = (xf_process *)((char *)source - offsetof(xf_process, log_calls));
    bool finished;

    uv_mutex_lock(&process->lock);
    process_log_take_turn(process);
    finished = take_finished(process);
    uv_mutex_unlock(&process->lock);
    if (finished)
        process_lead_destroy(process);
}

/* ---- Waiting for many things ----------------------------------------------------------------- */

int process_lead_prepare(xf_process *process)
{
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
    uv_mutex_lock(&process->lock);
    rc = process_log_check_wait(process);
    uv_mutex_unlock(&process->lock);
    return rc < 0 ? rc : supervisor_open_wake_word();
}

void process_lead_poll(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    if (!process->ended && !process->leading)
        (void)lead_until(process, process_lead_has_ended, 0);
    uv_mutex_unlock(&process->lock);
}

bool process_lead_is_ready(xf_process *process, bool message, wait_target *target)
{
    bool ready;

    if (target) {
        supervisor_arm(&target->word);
        target->recheck_ms = -1;
    }
    uv_mutex_lock(&process->lock);
    ready = process->ended || (message && process_lead_has_message(process));
    uv_mutex_unlock(&process->lock);
    return ready;
}
