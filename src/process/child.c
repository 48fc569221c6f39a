#include "process/child.h"

#include "base/aligned.h"
#include "base/clock.h"
#include "base/error.h"
#include "crossfork/process.h"
#include "objects/object_client.h"
#include "os/cancel.h"
#include "os/identity.h"
#include "process/call.h"
#include "process/stack_service.h"
#include "process/task_boundary.h"
#include "protocol/task_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xf_call only_call;

static int depth_limit = XF_DEPTH_MAX;

int child_depth(void)
{
    return only_call.depth;
}

int child_depth_limit(void)
{
    return depth_limit;
}

void child_limit_depth(int limit)
{
    depth_limit = limit;
}

/* ---- The back-end of its task's calls -------------------------------------------------------- */

/* Makes memory for the output.  A large output is shared memory, which the parent takes over. */
static int child_output(xf_call *call, size_t size)
{
    if (size > FRAME_INLINE_MAX)
        return os_shm_create(&call->output, size, OS_SHM_COPIED);
    call->output = (os_shm){aligned_create(size), size, -1, 0};
    return call->output.address ? 0 : error_detail(XF_ENOMEM, "%zu bytes of output", size);
}

static void child_drop_output(xf_call *call)
{
    if (call->output.handle >= 0)
        os_shm_close(&call->output);
    else
        aligned_free(call->output.address);
}

static int child_log_line(xf_call *call, xf_log_line *line, size_t size)
{
    return child_log_put(call, line, size);
}

static int child_send(xf_call *call, const void *data, size_t size)
{
    return channel_send(&call->channel, FRAME_MESSAGE, NULL, data, size, true);
}

static bool child_is_stopped(const void *arg)
{
    const xf_call *call = arg;

    return atomic_load(&call->box->stop) != 0;
}

static bool child_stop_requested(xf_call *call, int timeout_ms)
{
    if (timeout_ms != 0)
        (void)channel_wait(&call->channel, child_is_stopped, call, timeout_ms);
    return child_is_stopped(call);
}

void child_stop_target(xf_call *call, wait_target *target)
{
    _Atomic uint32_t *wake = &call->box->wake;

    *target = (wait_target){{&call->channel.inherited->box, wake, atomic_load(wake), NULL}, -1};
}

const call_backend child_backend = {.output = child_output,
                                    .drop_output = child_drop_output,
                                    .log = child_log_line,
                                    .send = child_send,
                                    .stop_requested = child_stop_requested,
                                    .stop_target = child_stop_target};

/* ---- Its life -------------------------------------------------------------------------------- */

static void set_call_phase(xf_call *call, xf_phase phase)
{
    atomic_store(&call->box->phase, (uint32_t)phase);
    call_beat(call);
}

static void send_hello(xf_call *call)
{
    frame_fields fields = {.size = 0};
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    frame_put_u32(&fields, FRAME_VERSION);
    frame_put(&fields, build, sizeof build);
    frame_put_u64(&fields, task_table_hash());
    frame_put_u64(&fields, (uint64_t)uv_os_getpid());
    channel_send(&call->channel, FRAME_HELLO, &fields, NULL, 0, false);
    set_call_phase(call, XF_PHASE_LOADING); /* the parent reads the phase, so the frame can wait for the next one */
}

/* The exit of the process wakes the parent, so the last frames need not wake it too.  If they fit they are left in
 * the box, which the parent reads after the process has exited.  Where a segment is lost unless its sender waits for
 * the acknowledgement, they go through the channel. */
static void send_last_frames(xf_call *call)
{
    enum { LAST_ATTEMPTS = 3 };
    int rc = XF_EAGAIN;
    bool lingers = os.attach_needs_ack && call->channel.segment_sent;
    size_t size =
        lingers ? 0 : channel_take_pending(&call->channel, call->box->last_frames, sizeof call->box->last_frames);

    if (size > 0) {
        atomic_store(&call->box->last_frames_size, (uint32_t)size);
        return;
    }
    for (int i = 0; i < LAST_ATTEMPTS && rc < 0 && rc != XF_EEND; i++) /* no later frame would take it along */
        rc = channel_flush(&call->channel);
    if (rc == 0) /* the parent acknowledges only after BYE */
        channel_wait_acknowledged(&call->channel);
}

/* Sends the last frames and ends the process. */
static _Noreturn void send_bye_and_exit(xf_call *call, frame_outcome outcome, int code)
{
    frame_fields fields = {.size = 0};
    const char *text = call->fail_text ? call->fail_text : "";

    if (outcome != FRAME_OUTCOME_DONE && *text)
        channel_send(&call->channel, FRAME_FAIL, NULL, text, strlen(text), false);
    child_log_close(call);
    frame_put_u32(&fields, outcome);
    frame_put_u32(&fields, (uint32_t)code);
    fflush(stdout);
    fflush(stderr);
    channel_send(&call->channel, FRAME_BYE, &fields, NULL, 0, false);
    send_last_frames(call);
    os_self_exit(outcome == FRAME_OUTCOME_DONE ? 0 : 1);
}

/* Ends the process before its task begins.  The reason is the error detail. */
static _Noreturn void refuse_task(xf_call *call, int code)
{
    xf_fail(call, code, "%s", xf_error_detail());
    send_bye_and_exit(call, FRAME_OUTCOME_UNSTARTED, code);
}

/* Sets call->input to the bytes, aligned for any type: a large input is in a segment, a small one is copied from the
 * frame. */
static int take_task_input(xf_call *call, frame_reader *reader)
{
    void *copy;

    if (call->input_size > FRAME_INLINE_MAX)
        call->input = call->channel.inherited->inputs[0].address;
    else if (call->input_size == 0)
        call->input = "";
    if (call->input)
        return 0;
    if (reader->left != call->input_size)
        return error_detail(XF_EPROTO, "%zu bytes of input arrived, not %zu", reader->left, call->input_size);
    copy = aligned_create(call->input_size);
    if (!copy)
        return error_detail(XF_ENOMEM, "%zu bytes of input", call->input_size);
    memcpy(copy, reader->at, call->input_size);
    call->input = copy;
    return 0;
}

static int check_task_declaration(const xf_task *task, uint64_t input_size, uint64_t output_size)
{
    int rc = task_table_check(task);

    if (rc < 0)
        return rc;
    if (input_size != task->input_size || output_size != task->output_size)
        return error_detail(
            XF_ESIZE, "task %s takes %lld bytes and gives %lld in the parent, %lld and %lld in the child", task->name,
            (long long)input_size, (long long)output_size, (long long)task->input_size, (long long)task->output_size);
    return 0;
}

static int load_only_task(xf_call *call, const frame *frame)
{
    frame_reader reader = frame_read(frame);
    uint8_t build[OS_BUILD_ID_SIZE], own[OS_BUILD_ID_SIZE];
    char name[XF_TASK_NAME_MAX + 1];
    uint32_t version = frame_get_u32(&reader);
    uint64_t input_size, output_size;
    int rc;

    frame_get(&reader, build, sizeof build);
    os_self_build(own);
    if (version != FRAME_VERSION || memcmp(build, own, sizeof own) != 0)
        return error_detail(XF_EBUILD, "the program that started this child is another build");
    call->depth = (int)frame_get_u32(&reader);
    child_limit_depth((int)frame_get_u32(&reader));
    input_size = frame_get_u64(&reader);
    output_size = frame_get_u64(&reader);
    call->input_size = (size_t)frame_get_u64(&reader);
    frame_get_text(&reader, name, sizeof name);
    if (frame->type != FRAME_TASK || reader.bad)
        return error_detail(XF_EPROTO, "the first frame is not a task frame");
    call->task = xf_task_find(name);
    if (!call->task)
        return error_detail(XF_ENOTASK, "task %s is not registered in the child", name);
    rc = check_task_declaration(call->task, input_size, output_size);
    return rc < 0 ? rc : take_task_input(call, &reader);
}

static void decode_task_input(xf_call *call)
{
    if (call_decode(call) < 0)
        send_bye_and_exit(call, FRAME_OUTCOME_FAILED_BY_US, XF_ECODEC);
}

static int send_task_output(xf_call *call)
{
    if (call_lacks_output(call))
        return error_detail(XF_ESIZE, "task %s gave no output", call->task->name);
    if (call->output.handle >= 0)
        return channel_send_segment(&call->channel, FRAME_RESULT, &call->output);
    return channel_send(&call->channel, FRAME_RESULT, NULL, call->output.address, call->output.size, false);
}

/* Runs the task; returns its code. */
static int run_only_task(xf_call *call)
{
    int code;

    set_call_phase(call, XF_PHASE_RUNNING);
    code = task_boundary(call, NULL);
    set_call_phase(call, XF_PHASE_SENDING);
    if (call->fail_code != 0)
        code = call->fail_code;
    call_end_object(call);
    if (code != 0)
        return code;
    code = send_task_output(call);
    if (code < 0)
        call_fail_own(call, code, "sending the result: %s", xf_error_detail());
    return code;
}

_Noreturn void child_run(const os_inherited *inherited)
{
    xf_call *call = &only_call;
    frame frame;
    int code;

    (void)os_cancel_hold(); /* a forked child inherits that its parent's thread is to be cancelled */
    memset(call, 0, offsetof(xf_call, channel)); /* if a task has forked this child, this is that task's call */
    call_begin(call);
    call->backend = &child_backend;
    call->box = inherited->box.address;
    call->output.handle = -1;
    channel_open(&call->channel, inherited);
    child_log_open(&call->log);
    object_client_open(&call->channel);
    send_hello(call);
    code = channel_receive(&call->channel, &frame);
    if (code == 0 && frame.type == FRAME_NAMES) {
        os_self_show("stacks");
        stack_service_run(&call->channel, call->box, &frame);
    }
    if (code == 0)
        code = load_only_task(call, &frame);
    if (code < 0)
        refuse_task(call, code);
    os_self_show(call->task->name);
    if (atomic_load(&call->box->stop))
        send_bye_and_exit(call, FRAME_OUTCOME_STOPPED, 0);
    decode_task_input(call);
    code = run_only_task(call);
    if (code != 0 && atomic_load(&call->box->stop))
        send_bye_and_exit(call, FRAME_OUTCOME_STOPPED, 0);
    if (code == 0)
        send_bye_and_exit(call, FRAME_OUTCOME_DONE, 0);
    send_bye_and_exit(call, call->fail_is_own ? FRAME_OUTCOME_FAILED_BY_US : FRAME_OUTCOME_FAILED, code);
}
