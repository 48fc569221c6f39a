#include "process/process.h"

#include "base/clock.h"
#include "base/error.h"
#include "protocol/task_table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Reading --------------------------------------------------------------------------------- */

static int take_segment(void *arg, uint64_t token, size_t size, os_shm *shm)
{
    xf_process *process = arg;

    intptr_t handle;
    int rc = os_child_take(process->child, token, &handle);

    return rc < 0 ? rc : os_shm_open(shm, handle, size, 0);
}

/* What the child sends from here on is not read: it is ended. */
static void give_up(xf_process *process, int code)
{
    process->protocol_error = code;
    snprintf(process->message, sizeof process->message, "%s", xf_error_detail());
    os_child_kill(process->child);
}

/* Calls on_log without the lock: nobody else reads meanwhile, for this thread leads. */
static void deliver(xf_process *process, const xf_log_line *line)
{
    uv_mutex_unlock(&process->lock);
    process->on_log(process, line, process->on_log_arg);
    uv_mutex_lock(&process->lock);
}

static void deliver_printed(xf_process *process, int stream, const lines_piece *piece)
{
    char text[XF_LOG_LINE_MAX + 1];
    xf_log_line line = {.time = clock_now(),
                        .level = stream == OS_STDOUT ? XF_LOG_INFO : XF_LOG_WARNING,
                        .text = text,
                        .source = stream == OS_STDOUT ? XF_SOURCE_STDOUT : XF_SOURCE_STDERR,
                        .pid = process->pid,
                        .task = process->task->name};

    memcpy(text, piece->text, piece->size);
    text[piece->size] = 0;
    deliver(process, &line);
}

/* Delivers the lines that can be had.
 *   all  Whole or not: no more will come. */
static int put_printed(xf_process *process, int stream, bool all)
{
    lines *lines = &process->printed[stream - OS_STDOUT];
    lines_piece piece;
    int rc = 0;

    while (rc == 0 && lines->bytes && lines_next(lines, all, &piece)) {
        rc = capture_put(&process->captured[stream - OS_STDOUT], piece.text, piece.raw_size);
        deliver_printed(process, stream, &piece);
    }
    return rc;
}

static bool read_printed(xf_process *process, int stream);

/* What was printed before the frame is in the pipe by now, so it is read up to the frame's mark, if there is one. */
static void catch_up(xf_process *process)
{
    enum { MOST_READS = 64 };

    process->log_frames++;
    for (int stream = OS_STDOUT; stream <= OS_STDERR; stream++) {
        lines *lines = &process->printed[stream - OS_STDOUT];
        for (int i = 0; i < MOST_READS && lines->bytes && lines->seen < process->log_frames; i++)
            if (!read_printed(process, stream))
                break;
    }
}

/* The frame has been delivered: what was printed after it may follow. */
static int pass_mark(xf_process *process)
{
    int rc = 0;

    for (int stream = OS_STDOUT; stream <= OS_STDERR && rc == 0; stream++) {
        process->printed[stream - OS_STDOUT].passed = process->log_frames;
        rc = put_printed(process, stream, false);
    }
    return rc;
}

static int put_log(xf_process *process, const wire_frame *frame)
{
    inbox_log log;
    int rc = inbox_put(&process->inbox, frame, take_segment, process, &log);
    xf_log_line line = {.time = log.time,
                        .level = log.level,
                        .text = log.text,
                        .pid = process->pid,
                        .task = log.task,
                        .item = log.item};

    if (rc < 0 || !process->on_log)
        return rc;
    catch_up(process);
    deliver(process, &line);
    return pass_mark(process);
}

static void acknowledge(xf_process *process)
{
    uint8_t ack[WIRE_HEADER];

    if (!os.attach_needs_ack)
        return;
    wire_put_header(ack, &(wire_frame){.type = WIRE_ACK});
    if (os_child_write(process->child, ack, sizeof ack) < 0)
        os_child_kill(process->child); /* all of it has been taken, and it would wait for ever */
}

static int put_frames(xf_process *process)
{
    wire_frame frame;
    int rc;

    while ((rc = wire_next(&process->in, &frame)) == 0) {
        rc = frame.type == WIRE_LOG ? put_log(process, &frame)
                                    : inbox_put(&process->inbox, &frame, take_segment, process, NULL);
        if (rc == 0)
            rc = object_serve(&process->objects, process->child, &frame);
        if (rc < 0)
            return rc;
        if (frame.type == WIRE_BYE)
            acknowledge(process);
    }
    return rc == XF_EAGAIN ? 0 : rc;
}

/* Nothing more now, or a failure of this process's own, after which the child cannot be understood any more. */
static bool stop_reading(xf_process *process, int rc)
{
    if (rc != XF_EAGAIN && rc != XF_EEND && !process->protocol_error)
        give_up(process, rc);
    return false;
}

/* Reads the channel once; false when there is nothing more now. */
static bool read_channel(xf_process *process)
{
    size_t room, count;
    uint8_t *space = wire_space(&process->in, &room);
    int rc = os_child_read(process->child, OS_CHANNEL, space, room, &count);

    if (rc < 0)
        return stop_reading(process, rc);
    if (process->protocol_error)
        return true; /* what a child that is being ended had written before */
    wire_filled(&process->in, count);
    rc = put_frames(process);
    if (rc < 0)
        give_up(process, rc);
    return true;
}

static bool read_printed(xf_process *process, int stream)
{
    lines *lines = &process->printed[stream - OS_STDOUT];
    size_t room, count;
    char *space = lines_space(lines, &room);
    int rc = os_child_read(process->child, stream, space, room, &count);

    if (rc < 0)
        return stop_reading(process, rc);
    lines_filled(lines, count);
    rc = put_printed(process, stream, false);
    if (rc < 0)
        give_up(process, rc);
    return true;
}

static bool read_captured(xf_process *process, int stream)
{
    char data[16384];
    size_t count;
    int rc;

    if (process->printed[stream - OS_STDOUT].bytes)
        return read_printed(process, stream);
    rc = os_child_read(process->child, stream, data, sizeof data, &count);
    if (rc < 0)
        return stop_reading(process, rc);
    rc = capture_put(&process->captured[stream - OS_STDOUT], data, count);
    if (rc < 0)
        give_up(process, rc);
    return true;
}

/* Reads what is there; the rounds are limited so that one chatty child does not keep the supervisor from the others,
 * except for a child that has gone and can write no more. */
static void drain(xf_process *process)
{
    for (int round = 0; process->gone || round < 16; round++) {
        bool more = read_channel(process);
        more |= process->captured[0].limit && read_captured(process, OS_STDOUT);
        more |= process->captured[1].limit && read_captured(process, OS_STDERR);
        if (!more)
            break;
    }
}

/* Takes what the child left in the box, as if it had come last through the channel. */
static void read_farewell(xf_process *process)
{
    box *box = process->box.address;
    size_t room, at = 0, size = atomic_load(&box->farewell_size);
    int rc = size <= sizeof box->farewell ? 0 : error_detail(XF_EPROTO, "a farewell of %zu bytes", size);

    while (rc == 0 && at < size && !process->protocol_error) {
        uint8_t *space = wire_space(&process->in, &room);
        room = room < size - at ? room : size - at;
        memcpy(space, box->farewell + at, room);
        wire_filled(&process->in, room);
        at += room;
        rc = put_frames(process);
    }
    if (rc < 0)
        give_up(process, rc);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Kills a child that did not come to where it should be in time, and keeps where it was instead, if that can be had. */
static void kill_late(xf_process *process)
{
    (void)os_child_stack(process->child);
    os_child_kill(process->child);
}

static uint64_t next_deadline(const xf_process *process)
{
    uint64_t next = process->unwatched ? uv_hrtime() + 10 * CLOCK_NS_PER_MS : CLOCK_NEVER;

    if (process->start_deadline < next)
        next = process->start_deadline;
    if (process->wall_deadline < next)
        next = process->wall_deadline;
    return process->grace_deadline < next ? process->grace_deadline : next;
}

/* Wakes a child that sleeps on its box's bell. */
static void ring(xf_process *process)
{
    box *box = process->box.address;

    atomic_fetch_add(&box->wake, 1);
    os_shm_ring(&process->box, &box->wake, OS_ALL);
}

static void ask_to_stop(xf_process *process)
{
    uint8_t stop[WIRE_HEADER];
    box *box = process->box.address;

    if (atomic_exchange(&box->stop, 1))
        return;
    wire_put_header(stop, &(wire_frame){.type = WIRE_STOP});
    os_child_write(process->child, stop, sizeof stop); /* wakes a task that waits for it; the word in the box says it */
    ring(process);
    process->grace_deadline = clock_deadline(process->grace_ms);
    supervisor_set_deadline(&process->supervised, next_deadline(process));
}

static void check_deadlines(xf_process *process)
{
    uint64_t now = uv_hrtime();
    box *box = process->box.address;

    if (process->start_deadline <= now) {
        process->start_deadline = CLOCK_NEVER;
        if (atomic_load(&box->phase) == XF_PHASE_STARTING && !process->gone) {
            process->start_timed_out = true;
            kill_late(process);
        }
    }
    if (process->wall_deadline <= now && !process->gone) {
        process->wall_deadline = CLOCK_NEVER;
        process->timed_out = !atomic_load(&box->stop);
        ask_to_stop(process);
    }
    if (process->grace_deadline <= now) {
        process->grace_deadline = CLOCK_NEVER;
        process->kill_asked = true;
        kill_late(process);
    }
}

static void learn_pid(xf_process *process)
{
    if (!process->pid && !process->gone)
        process->pid = os_child_pid(process->child);
}

/* Takes a dump if there is one to be had, and says why not in the report's message. */
static void take_dump(xf_process *process)
{
    char name[1024];
    size_t at = (size_t)snprintf(name, sizeof name, "%s/crossfork-", process->dumps);
    int rc;

    for (const char *c = process->task->name; *c && at < sizeof name - 32; c++)
        name[at++] = isalnum((unsigned char)*c) ? *c : '_';
    snprintf(name + at, sizeof name - at, "-%lld", (long long)process->pid);
    rc = os_child_dump(process->child, name, process->dump, sizeof process->dump);
    if (rc < 0)
        process->dump[0] = 0;
    if (rc < 0 && rc != XF_EAGAIN)
        snprintf(process->message, sizeof process->message, "no dump: %s", xf_error_detail());
}

/* Reads what there is, and sees whether the child has ended. */
static void pump(xf_process *process)
{
    learn_pid(process);
    drain(process);
    if (os_child_end(process->child, &process->end) == 0) {
        learn_pid(process);
        process->gone = true;
        drain(process);
        read_farewell(process);
        (void)put_printed(process, OS_STDOUT, true);
        (void)put_printed(process, OS_STDERR, true);
        if (process->dumps && !*process->dump)
            take_dump(process);
        object_forget_child(&process->objects);
        process_end_judge(process);
        supervisor_set_deadline(&process->supervised, CLOCK_NEVER);
        if (process->inbox.bye) /* it ended in good order */
            supervisor_give_box(&process->box);
        os_shm_close(&process->box);
        os_shm_close(&process->input);
    } else {
        if (process->dumps && !*process->dump)
            take_dump(process);
        check_deadlines(process);
    }
}

/* ---- Leading --------------------------------------------------------------------------------- */

static void begin_to_lead(xf_process *process)
{
    process->leading = true;
    process->leader = uv_thread_self();
    os_child_unwatch(process->child);
}

/* Wakes those who wait for what is there now. */
static void tell_all(xf_process *process)
{
    uv_cond_broadcast(&process->changed);
    if (process->ended || process->inbox.first)
        supervisor_wake_waiters();
}

static void cease_to_lead(xf_process *process)
{
    process->leading = false;
    process->unwatched = !process->ended && supervisor_watch(&process->supervised, process->child) < 0;
    if (process->unwatched)
        supervisor_set_deadline(&process->supervised, next_deadline(process));
    tell_all(process);
}

static bool leads(const xf_process *process)
{
    uv_thread_t caller = uv_thread_self();

    return process->leading && uv_thread_equal(&process->leader, &caller);
}

typedef bool (*condition)(const xf_process *process);

/* Leads until the condition holds: 0, or until the deadline passes: XF_ETIMEDOUT. */
static int lead(xf_process *process, condition holds, uint64_t deadline)
{
    begin_to_lead(process);
    pump(process);
    while (!holds(process) && !process->ended && (deadline == CLOCK_NEVER || uv_hrtime() < deadline)) {
        uint64_t next = next_deadline(process);
        int timeout_ms = clock_left_ms(deadline < next ? deadline : next);
        uv_mutex_unlock(&process->lock);
        os_child_wait(process->child, timeout_ms);
        uv_mutex_lock(&process->lock);
        pump(process);
        tell_all(process);
    }
    cease_to_lead(process);
    if (process->ended && process->owner.ended) /* it is told by the supervisor, who knows nothing of this yet */
        supervisor_set_deadline(&process->supervised, 0);
    return holds(process) ? 0 : XF_ETIMEDOUT;
}

/* With the lock held: waits until the condition holds, leading when nobody else does.  Ends early, with 0, when the
 * process has ended. */
static int await(xf_process *process, condition holds, uint64_t deadline)
{
    while (!holds(process) && !process->ended) {
        uint64_t now = uv_hrtime();
        if (leads(process))
            return error_detail(XF_EDEADLK, "process %s waits for itself in its log callback", process->name);
        if (!process->leading) {
            if (lead(process, holds, deadline) == 0 || process->ended)
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

static bool has_ended(const xf_process *process)
{
    return process->ended;
}

static bool has_message(const xf_process *process)
{
    return process->inbox.first != NULL;
}

static bool has_pid(const xf_process *process)
{
    return process->pid != 0;
}

void process_lead_begin(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    cease_to_lead(process);
    supervisor_set_deadline(&process->supervised, next_deadline(process));
    uv_mutex_unlock(&process->lock);
}

void process_lead_discard(xf_process *process)
{
    os_shm_close(&process->box);
    os_shm_close(&process->input);
    free(process->dumps);
    free(process->texts);
    stack_trace_free(process->trace);
    writer_free(&process->replay);
    free(process->save_to);
    free(process->saved);
    free(process->unsaved);
    inbox_close(&process->inbox);
    wire_close(&process->in);
    capture_close(&process->captured[0]);
    capture_close(&process->captured[1]);
    lines_close(&process->printed[0]);
    lines_close(&process->printed[1]);
    uv_cond_destroy(&process->changed);
    uv_mutex_destroy(&process->lock);
    free(process);
}

static void destroy(xf_process *process)
{
    supervisor_remove(&process->supervised);
    os_child_close(process->child);
    process_lead_discard(process);
}

static void tell_owner(const process_owner *owner, bool ended, bool progress)
{
    if (ended)
        owner->ended(owner->arg);
    else if (progress)
        owner->progress(owner->arg);
}

/* On the supervisor's thread. */
void process_lead_on_due(supervised *supervised)
{
    xf_process *process = (xf_process *)supervised;
    process_owner owner;
    bool finished, ended, progress;

    uv_mutex_lock(&process->lock);
    if (process->leading) {
        check_deadlines(process); /* the leader may wait for a later one */
    } else if (!process->ended) {
        begin_to_lead(process);
        pump(process);
        cease_to_lead(process);
    }
    if (!process->ended && next_deadline(process) != CLOCK_NEVER)
        supervisor_set_deadline(supervised, next_deadline(process));
    finished = process->detached && process->ended;
    owner = process->owner;
    ended = process->ended;
    progress = process->inbox.progress;
    process->inbox.progress = false;
    uv_mutex_unlock(&process->lock);
    if (owner.ended)
        tell_owner(&owner, ended, progress);
    else if (finished)
        destroy(process);
}

/* ---- Among many things ----------------------------------------------------------------------- */

int process_lead_prepare(xf_process *process)
{
    bool own;

    uv_mutex_lock(&process->lock);
    own = leads(process);
    uv_mutex_unlock(&process->lock);
    if (own || supervisor_is_this_thread())
        return error_detail(XF_EDEADLK, "process %s is waited for on the thread that looks after it", process->name);
    return supervisor_open_wake_word();
}

void process_lead_poll(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    if (!process->ended && !process->leading)
        (void)lead(process, has_ended, 0);
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
    ready = process->ended || (message && has_message(process));
    uv_mutex_unlock(&process->lock);
    return ready;
}

/* ---- Calls on a process ---------------------------------------------------------------------- */

int xf_process_join(xf_process *process, xf_status *status, int timeout_ms)
{
    int rc;

    uv_mutex_lock(&process->lock);
    rc = await(process, has_ended, clock_deadline(timeout_ms));
    if (rc == 0 && status)
        *status = process->report.status;
    uv_mutex_unlock(&process->lock);
    return rc;
}

static const parcel *result_of(xf_process *process)
{
    const parcel *result;

    uv_mutex_lock(&process->lock);
    result = process->ended && process->report.status.kind == XF_END_DONE ? process->inbox.result : NULL;
    uv_mutex_unlock(&process->lock);
    return result;
}

const void *xf_process_result(xf_process *process, size_t *size)
{
    const parcel *result = result_of(process);

    if (result && size)
        *size = result->size;
    return result ? parcel_data(result) : NULL;
}

int xf_process_result_object(xf_process *process, void **object)
{
    const parcel *result = result_of(process);
    const xf_task *task = process->task;

    if (!task->output_codec)
        return error_detail(XF_ESTATE, "task %s has no output codec", task->name);
    if (!result)
        return xf_process_report(process) ? error_detail(XF_EFAILED, "process %s has no result", process->name)
                                          : error_detail(XF_ESTATE, "process %s still runs", process->name);
    return codec_decode_for(task, task->output_codec, parcel_data(result), result->size, object);
}

int xf_process_receive(xf_process *process, xf_message *message, int timeout_ms)
{
    parcel *parcel;
    int rc;

    uv_mutex_lock(&process->lock);
    rc = await(process, has_message, clock_deadline(timeout_ms));
    parcel = rc == 0 ? inbox_get(&process->inbox) : NULL;
    uv_mutex_unlock(&process->lock);
    if (rc < 0)
        return rc;
    if (!parcel)
        return error_detail(XF_EEND, "process %s has ended and sent no more", process->name);
    *message = (xf_message){parcel_data(parcel), parcel->size, parcel};
    return 0;
}

void xf_message_free(xf_message *message)
{
    parcel_free(message->reserved);
    *message = (xf_message){NULL, 0, NULL};
}

int xf_process_output(xf_process *process, int stream, char **data, size_t *size)
{
    const capture *captured = stream == 1 ? &process->captured[0] : &process->captured[1];
    const char *tail;
    size_t count;
    char *copy;

    if ((stream != 1 && stream != 2) || !captured->limit)
        return error_detail(XF_EINVAL, "stream %d of process %s is not captured", stream, process->name);
    uv_mutex_lock(&process->lock);
    tail = capture_tail(captured, SIZE_MAX, &count);
    copy = malloc(count + 1);
    if (copy) {
        memcpy(copy, tail, count);
        copy[count] = 0;
    }
    uv_mutex_unlock(&process->lock);
    if (!copy)
        return error_detail(XF_ENOMEM, "%zu bytes of output", count);
    *data = copy;
    if (size)
        *size = count;
    return 0;
}

void xf_memory_free(void *memory)
{
    free(memory);
}

void xf_process_terminate(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    if (!process->ended && !process->gone)
        ask_to_stop(process);
    uv_mutex_unlock(&process->lock);
}

void process_wake(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    if (process->box.address)
        ring(process);
    uv_mutex_unlock(&process->lock);
}

int xf_process_progress(xf_process *process, uint64_t *done, uint64_t *total)
{
    const box *box;
    int rc = 0;

    uv_mutex_lock(&process->lock);
    box = process->box.address;
    if (box) {
        *done = atomic_load(&box->done);
        *total = atomic_load(&box->total);
    } else {
        rc = error_detail(XF_ESTATE, "process %s has ended", process->name);
    }
    uv_mutex_unlock(&process->lock);
    return rc;
}

static void kill_now(xf_process *process)
{
    if (process->ended || process->gone)
        return;
    process->kill_asked = true;
    os_child_kill(process->child);
}

void process_kill_late(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    if (!process->ended && !process->gone) {
        process->kill_asked = true;
        kill_late(process);
    }
    uv_mutex_unlock(&process->lock);
}

void xf_process_kill(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    kill_now(process);
    uv_mutex_unlock(&process->lock);
}

int64_t xf_process_pid(xf_process *process)
{
    int64_t pid;

    uv_mutex_lock(&process->lock);
    do /* a child of the server tells its pid without waking anybody */
        learn_pid(process);
    while (await(process, has_pid, clock_deadline(1)) == XF_ETIMEDOUT);
    pid = process->pid;
    uv_mutex_unlock(&process->lock);
    return pid;
}

int64_t process_known_pid(xf_process *process)
{
    int64_t pid;

    uv_mutex_lock(&process->lock);
    learn_pid(process);
    pid = process->pid;
    uv_mutex_unlock(&process->lock);
    return pid;
}

const char *xf_process_name(const xf_process *process)
{
    return process->name;
}

bool xf_process_alive(xf_process *process)
{
    return xf_process_join(process, NULL, 0) != 0;
}

intptr_t xf_process_sentinel(xf_process *process)
{
    return os_child_sentinel(process->child);
}

const xf_report *process_report(xf_process *process)
{
    const xf_report *report;

    uv_mutex_lock(&process->lock);
    report = process->ended ? &process->report : NULL;
    uv_mutex_unlock(&process->lock);
    return report;
}

const xf_report *xf_process_report(xf_process *process)
{
    const xf_report *report = process_report(process);

    if (report && process->trace)
        process->report.stack = stack_trace_frames(process->trace, &process->report.stack_count);
    return report;
}

int xf_process_stack(xf_process *process, xf_stack *stack)
{
    os_record_head *record;
    trace *trace = NULL;
    int rc = XF_ESTATE;

    uv_mutex_lock(&process->lock);
    record = process->box.address ? box_record(process->box.address) : NULL;
    if (!process->gone && record)
        rc = os_child_stack(process->child);
    else
        error_detail(XF_ESTATE, "process %s has ended", process->name);
    if (rc == 0) {
        trace = stack_trace_take(record);
        atomic_store(&record->state, OS_RECORD_NONE);
        rc = trace ? 0 : error_detail(XF_ENOMEM, "the stack of process %s", process->name);
    }
    uv_mutex_unlock(&process->lock);
    if (rc < 0)
        return rc;
    stack->reserved = trace;
    stack->frames = stack_trace_frames(trace, &stack->count);
    return 0;
}

void xf_stack_free(xf_stack *stack)
{
    stack_trace_free(stack->reserved);
    *stack = (xf_stack){NULL, 0, NULL};
}

void xf_process_detach(xf_process *process)
{
    bool finished;

    uv_mutex_lock(&process->lock);
    process->detached = true;
    finished = process->ended;
    uv_mutex_unlock(&process->lock);
    if (finished)
        destroy(process);
}

int xf_process_free(xf_process *process)
{
    int rc;

    if (!process)
        return 0;
    uv_mutex_lock(&process->lock);
    if (!leads(process))
        kill_now(process);
    rc = await(process, has_ended, CLOCK_NEVER);
    uv_mutex_unlock(&process->lock);
    if (rc < 0)
        return rc;
    destroy(process);
    return 0;
}
