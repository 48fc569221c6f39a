#include "process/process.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "os/cancel.h"
#include "process/process_lead.h"
#include "process/process_log.h"
#include "process/report.h"

#include <stdlib.h>
#include <string.h>

int xf_process_join(xf_process *process, xf_status *status, int timeout_ms)
{
    OS_HOLD_CANCEL;
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
    uv_mutex_lock(&process->lock);
    rc = process_log_check_wait(process);
    if (rc == 0)
        rc = process_lead_await(process, process_lead_has_ended, deadline);
    if (rc == 0)
        process_log_await(process, deadline);
    if (rc == 0 && status)
        *status = process->report.status;
    uv_mutex_unlock(&process->lock);
    return rc;
}

static const message *find_result(xf_process *process)
{
    const message *result;

    if (process_lead_check_own(process) < 0)
        return NULL;
    uv_mutex_lock(&process->lock);
    result = process->ended && process->report.status.kind == XF_END_DONE ? process->inbox.result : NULL;
    uv_mutex_unlock(&process->lock);
    return result;
}

const void *xf_process_result(xf_process *process, size_t *size)
{
    const message *result = find_result(process);

    if (result && size)
        *size = result->size;
    return result ? message_data(result) : NULL;
}

int xf_process_result_object(xf_process *process, void **object)
{
    const message *result = find_result(process);
    const xf_task *task = process->task;
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
    if (!task->output_codec)
        return error_detail(XF_ESTATE, "task %s has no output codec", task->name);
    if (!result)
        return xf_process_report(process) ? error_detail(XF_EFAILED, "process %s has no result", process->name)
                                          : error_detail(XF_ESTATE, "process %s still runs", process->name);
    return codec_decode_for(task, task->output_codec, message_data(result), result->size, object);
}

int xf_process_receive(xf_process *process, xf_message *message, int timeout_ms)
{
    OS_HOLD_CANCEL;
    struct message *received;
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
    uv_mutex_lock(&process->lock);
    rc = process_lead_await(process, process_lead_has_message, clock_deadline(timeout_ms));
    received = rc == 0 ? inbox_get(&process->inbox) : NULL;
    uv_mutex_unlock(&process->lock);
    if (rc < 0)
        return rc;
    if (!received)
        return error_detail(XF_EEND, "process %s has ended and sent no more", process->name);
    *message = (xf_message){message_data(received), received->size, received};
    return 0;
}

void xf_message_free(xf_message *message)
{
    OS_HOLD_CANCEL;

    message_free(message->reserved);
    *message = (xf_message){NULL, 0, NULL};
}

int xf_process_output(xf_process *process, int stream, char **data, size_t *size)
{
    const tail_buffer *captured = stream == 1 ? &process->captured[0] : &process->captured[1];
    const char *tail;
    size_t count;
    char *copy;
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
    if ((stream != 1 && stream != 2) || !captured->limit)
        return error_detail(XF_EINVAL, "stream %d of process %s is not captured", stream, process->name);
    uv_mutex_lock(&process->lock);
    tail = tail_buffer_get(captured, SIZE_MAX, &count);
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
    OS_HOLD_CANCEL;

    if (process_lead_check_own(process) < 0)
        return;
    uv_mutex_lock(&process->lock);
    if (!process->ended && !process->exited)
        process_lead_ask_to_stop(process);
    uv_mutex_unlock(&process->lock);
}

void process_wake(xf_process *process)
{
    uv_mutex_lock(&process->lock);
    if (process->box.address)
        process_lead_wake(process);
    uv_mutex_unlock(&process->lock);
}

int xf_process_progress(xf_process *process, uint64_t *done, uint64_t *total)
{
    const black_box *box;
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
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

/* Kills the child now, and not after a grace.  Called with the lock held. */
static void kill_without_delay(xf_process *process)
{
    if (process->ended || process->exited)
        return;
    process->kill_asked = true;
    os_child_kill(process->child);
}

void process_kill_late(xf_process *process)
{
    OS_HOLD_CANCEL;

    uv_mutex_lock(&process->lock);
    if (!process->ended && !process->exited) {
        process->kill_asked = true;
        process_lead_kill_late(process);
    }
    uv_mutex_unlock(&process->lock);
}

void xf_process_kill(xf_process *process)
{
    OS_HOLD_CANCEL;

    if (process_lead_check_own(process) < 0)
        return;
    uv_mutex_lock(&process->lock);
    kill_without_delay(process);
    uv_mutex_unlock(&process->lock);
}

int64_t xf_process_pid(xf_process *process)
{
    OS_HOLD_CANCEL;
    int64_t pid;

    if (process_lead_check_own(process) < 0)
        return process->pid;
    uv_mutex_lock(&process->lock);
    do /* a child of the server reports its pid without waking this process */
        process_lead_learn_pid(process);
    while (process_lead_await(process, process_lead_has_pid, clock_deadline(1)) == XF_ETIMEDOUT);
    pid = process->pid;
    uv_mutex_unlock(&process->lock);
    return pid;
}

int64_t process_known_pid(xf_process *process)
{
    int64_t pid;

    uv_mutex_lock(&process->lock);
    process_lead_learn_pid(process);
    pid = process->pid;
    uv_mutex_unlock(&process->lock);
    return pid;
}

bool process_is_ready(xf_process *process)
{
    bool ready;

    uv_mutex_lock(&process->lock);
    ready = process->inbox.ready;
    uv_mutex_unlock(&process->lock);
    return ready;
}

const char *xf_process_name(const xf_process *process)
{
    return process->name;
}

bool xf_process_alive(xf_process *process)
{
    int rc = xf_process_join(process, NULL, 0);

    return rc != 0 && rc != XF_ESTATE;
}

intptr_t xf_process_sentinel(xf_process *process)
{
    return process_lead_check_own(process) < 0 ? -1 : os_child_sentinel(process->child);
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
    OS_HOLD_CANCEL;
    const xf_report *report = process_lead_check_own(process) < 0 ? NULL : process_report(process);

    if (report && process->trace)
        report_set_stack(&process->report, process->trace, &process->lock);
    return report;
}

int xf_process_stack(xf_process *process, xf_stack *stack)
{
    OS_HOLD_CANCEL;
    os_record_head *record;
    stack_trace *trace = NULL;
    int rc = process_lead_check_own(process);

    if (rc < 0)
        return rc;
    rc = XF_ESTATE;
    uv_mutex_lock(&process->lock);
    record = process->box.address ? black_box_record(process->box.address) : NULL;
    if (!process->exited && record)
        rc = os_child_snapshot(process->child);
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
    OS_HOLD_CANCEL;

    if (process_lead_check_own(process) < 0) {
        process_lead_let_go(process);
        return;
    }
    process_lead_release(process);
}

int xf_process_free(xf_process *process)
{
    OS_HOLD_CANCEL;
    int rc;

    if (!process)
        return 0;
    if (process_lead_check_own(process) < 0) {
        process_lead_let_go(process);
        return 0;
    }
    uv_mutex_lock(&process->lock);
    rc = process_log_check_wait(process);
    if (rc == 0) {
        kill_without_delay(process);
        rc = process_lead_await(process, process_lead_has_ended, CLOCK_NEVER);
        process_log_await(process, CLOCK_NEVER);
    }
    uv_mutex_unlock(&process->lock);
    if (rc < 0)
        return rc;
    process_lead_destroy(process);
    return 0;
}
