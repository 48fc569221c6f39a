/* The life of a child. */
#include "process/child.h"

#include "base/clock.h"
#include "base/error.h"
#include "objects/object.h"
#include "process/call.h"
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

static void set_phase(xf_call *call, xf_phase phase)
{
    atomic_store(&call->box->phase, (uint32_t)phase);
    call_beat(call);
}

static void say_hello(xf_call *call)
{
    wire_fields fields = {.size = 0};
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    wire_put_u32(&fields, WIRE_VERSION);
    wire_put(&fields, build, sizeof build);
    wire_put_u64(&fields, task_table_hash());
    wire_put_u64(&fields, (uint64_t)uv_os_getpid());
    channel_send(&call->channel, WIRE_HELLO, &fields, NULL, 0, false);
    set_phase(call, XF_PHASE_LOADING); /* the parent looks at that, so the frame can wait for the next */
}

/* The end of the process wakes the parent, so its last frames need not do that too: when they fit they are left in the
 * box, where the parent looks once the process has ended.  Where a segment is lost unless its sender waits, they go
 * through the channel. */
static void leave(xf_call *call)
{
    enum { LAST_ATTEMPTS = 3 };
    int rc = XF_EAGAIN;
    bool lingers = os.attach_needs_ack && call->channel.attached;
    size_t size = lingers ? 0 : channel_take_pending(&call->channel, call->box->farewell, sizeof call->box->farewell);

    if (size > 0) {
        atomic_store(&call->box->farewell_size, (uint32_t)size);
        return;
    }
    for (int i = 0; i < LAST_ATTEMPTS && rc < 0 && rc != XF_EEND; i++) /* there is no later frame to go with */
        rc = channel_flush(&call->channel);
    if (rc == 0) /* without a goodbye nobody acknowledges anything */
        channel_linger(&call->channel);
}

/* Says the last frames and ends the process. */
static _Noreturn void say_goodbye(xf_call *call, wire_outcome outcome, int code)
{
    wire_fields fields = {.size = 0};
    const char *text = call->fail_text ? call->fail_text : "";

    if (outcome != WIRE_DONE && *text)
        channel_send(&call->channel, WIRE_FAIL, NULL, text, strlen(text), false);
    child_log_close(call);
    wire_put_u32(&fields, outcome);
    wire_put_u32(&fields, (uint32_t)code);
    fflush(stdout);
    fflush(stderr);
    channel_send(&call->channel, WIRE_BYE, &fields, NULL, 0, false);
    leave(call);
    os_self_exit(outcome == WIRE_DONE ? 0 : 1);
}

/* Ends a task that never began, for the reason that is the error detail. */
static _Noreturn void refuse(xf_call *call, int code)
{
    xf_fail(call, code, "%s", xf_error_detail());
    say_goodbye(call, WIRE_UNSTARTED, code);
}

/* The input's bytes, aligned: in the segment when they are many, or copied from the frame. */
static int take_input(xf_call *call, wire_reader *reader)
{
    void *copy;

    if (call->input_size > WIRE_INLINE_MAX)
        call->input = os_parent_given(call->channel.parent)->input.address;
    else if (call->input_size == 0)
        call->input = "";
    if (call->input)
        return 0;
    if (reader->left != call->input_size)
        return error_detail(XF_EPROTO, "%zu bytes of input came, not %zu", reader->left, call->input_size);
    copy = malloc(call->input_size);
    if (!copy)
        return error_detail(XF_ENOMEM, "%zu bytes of input", call->input_size);
    memcpy(copy, reader->at, call->input_size);
    call->input = copy;
    return 0;
}

static int check_declaration(const xf_task *task, uint64_t input_size, uint64_t output_size)
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

static int load_task(xf_call *call, const wire_frame *frame)
{
    wire_reader reader = wire_read(frame);
    uint8_t build[OS_BUILD_ID_SIZE], own[OS_BUILD_ID_SIZE];
    char name[XF_TASK_NAME_MAX + 1];
    uint32_t version = wire_get_u32(&reader);
    uint64_t input_size, output_size;
    int rc;

    wire_get(&reader, build, sizeof build);
    os_self_build(own);
    if (version != WIRE_VERSION || memcmp(build, own, sizeof own) != 0)
        return error_detail(XF_EBUILD, "the program that started this child is another build");
    call->depth = (int)wire_get_u32(&reader);
    input_size = wire_get_u64(&reader);
    output_size = wire_get_u64(&reader);
    call->input_size = (size_t)wire_get_u64(&reader);
    wire_get_text(&reader, name, sizeof name);
    if (frame->type != WIRE_TASK || reader.bad)
        return error_detail(XF_EPROTO, "the first frame is no task");
    call->task = xf_task_find(name);
    if (!call->task)
        return error_detail(XF_ENOTASK, "task %s is not registered in the child", name);
    rc = check_declaration(call->task, input_size, output_size);
    return rc < 0 ? rc : take_input(call, &reader);
}

static void decode_input(xf_call *call)
{
    if (call_decode(call) < 0)
        say_goodbye(call, WIRE_FAILED, XF_ECODEC);
}

static int send_output(xf_call *call)
{
    if (call->task->output_size != XF_ANY_SIZE && !call->has_output)
        return error_detail(XF_ESIZE, "task %s gave no output", call->task->name);
    if (call->output.handle >= 0)
        return channel_send_segment(&call->channel, WIRE_RESULT, &call->output);
    return channel_send(&call->channel, WIRE_RESULT, NULL, call->output.address, call->output.size, false);
}

/* Runs the task; returns its code. */
static int run_task(xf_call *call)
{
    int code;

    set_phase(call, XF_PHASE_RUNNING);
    code = call->task->entry(call);
    set_phase(call, XF_PHASE_SENDING);
    if (call->fail_code != 0)
        code = call->fail_code;
    call_end_object(call);
    if (code != 0)
        return code;
    code = send_output(call);
    if (code < 0)
        xf_fail(call, code, "sending the result: %s", xf_error_detail());
    return code;
}

_Noreturn void child_run(os_parent *parent)
{
    xf_call *call = &only_call;
    wire_frame frame;
    int code;

    memset(call, 0, offsetof(xf_call, channel)); /* when a task has forked this child, it is the task's own call */
    call->box = os_parent_given(parent)->box.address;
    call->output.handle = -1;
    channel_open(&call->channel, parent);
    child_log_open(&call->log);
    object_begin(&call->channel);
    say_hello(call);
    code = channel_receive(&call->channel, &frame);
    if (code == 0)
        code = load_task(call, &frame);
    if (code < 0)
        refuse(call, code);
    if (atomic_load(&call->box->stop))
        say_goodbye(call, WIRE_STOPPED, 0);
    decode_input(call);
    code = run_task(call);
    if (code != 0 && atomic_load(&call->box->stop))
        say_goodbye(call, WIRE_STOPPED, 0);
    say_goodbye(call, code == 0 ? WIRE_DONE : WIRE_FAILED, code);
}
