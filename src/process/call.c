/* What a task calls. */
#include "process/call.h"

#include "base/clock.h"
#include "base/error.h"
#include "pool/worker.h"
#include "protocol/task_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const void *xf_call_input(const xf_call *call, size_t *size)
{
    if (size)
        *size = call->input_size;
    return call->input;
}

void call_beat(xf_call *call)
{
    atomic_store_explicit(&call->box->heartbeat, uv_hrtime(), memory_order_relaxed);
}

void *xf_call_object(const xf_call *call)
{
    return call->object;
}

void call_drop_output(xf_call *call)
{
    if (call->worker) {
        call->output = OS_SHM_NONE;
        call->has_output = false;
        return;
    }
    if (call->output.handle >= 0)
        os_shm_close(&call->output);
    else
        free(call->output.address);
    call->output = OS_SHM_NONE;
    call->has_output = false;
}

void *xf_call_output(xf_call *call, size_t size)
{
    call_drop_output(call);
    if (call->task->output_size != XF_ANY_SIZE && size != call->task->output_size) {
        error_detail(XF_ESIZE, "task %s declares %zu bytes of output, not %zu", call->task->name,
                     call->task->output_size, size);
        return NULL;
    }
    if (call->worker)
        return worker_output(call, size);
    if (size > WIRE_INLINE_MAX) {
        if (os_shm_create(&call->output, size, 0) < 0)
            return NULL;
    } else {
        call->output = (os_shm){calloc(1, size ? size : 1), size, -1, 0};
        if (!call->output.address) {
            error_detail(XF_ENOMEM, "%zu bytes of output", size);
            return NULL;
        }
    }
    call->has_output = true;
    return call->output.address;
}

int xf_call_return(xf_call *call, const void *object)
{
    xf_writer writer = {0};
    void *output;
    int rc;

    if (!call->task->output_codec)
        return error_detail(XF_ESTATE, "task %s has no output codec", call->task->name);
    rc = codec_encode_for(call->task, call->task->output_codec, object, &writer);
    if (rc == 0) {
        output = xf_call_output(call, writer.size);
        if (output && writer.size > 0)
            memcpy(output, writer.data, writer.size);
        rc = output ? 0 : XF_ENOMEM;
    }
    writer_free(&writer);
    return rc;
}

/* The formatted text in memory of its own; NULL when there is none. */
static char *format_text(const char *format, va_list arguments)
{
    va_list again;
    char *text;
    int size;

    va_copy(again, arguments);
    size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    text = size < 0 ? NULL : malloc((size_t)size + 1);
    if (text)
        vsnprintf(text, (size_t)size + 1, format, arguments);
    return text;
}

int xf_fail(xf_call *call, int code, const char *format, ...)
{
    va_list arguments;

    if (call->worker)
        worker_begin_failure(call);
    va_start(arguments, format);
    free(call->fail_text);
    call->fail_text = format_text(format, arguments);
    va_end(arguments);
    call->fail_code = code ? code : XF_EFAILED;
    return call->fail_code;
}

int xf_log(xf_call *call, xf_log_level level, const char *format, ...)
{
    char line[XF_LOG_LINE_MAX + 1];
    xf_log_line put = {
        .time = clock_now(), .level = level, .text = line, .pid = uv_os_getpid(), .task = call->task->name};
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size < 0)
        return error_detail(XF_EINVAL, "a log line that cannot be formatted");
    if (size > XF_LOG_LINE_MAX)
        size = XF_LOG_LINE_MAX;
    put.item = call->worker ? worker_item(call) : 0;
    call_beat(call);
    if (!call->sink)
        return child_log_put(call, &put, (size_t)size);
    call->sink(call->sink_arg, &put);
    return 0;
}

void xf_progress(xf_call *call, uint64_t done, uint64_t total)
{
    atomic_store_explicit(&call->box->total, total, memory_order_relaxed);
    atomic_store_explicit(&call->box->done, done, memory_order_relaxed);
    call_beat(call);
}

int xf_send(xf_call *call, const void *data, size_t size)
{
    if (call->worker)
        return error_detail(XF_ESTATE, "nobody receives what a pool's task sends");
    call_beat(call);
    if (call->sink) {
        fprintf(stderr, "crossfork: %s sends a message of %zu bytes\n", call->task->name, size);
        return 0;
    }
    return channel_send(&call->channel, WIRE_MESSAGE, NULL, data, size, true);
}

/* Where there is no parent that could ask to stop. */
static bool wait_for_nobody(int timeout_ms)
{
    enum { LONG = 1000 };

    while (timeout_ms < 0)
        uv_sleep(LONG);
    uv_sleep((unsigned)timeout_ms);
    return false;
}

static bool is_stopped(const void *arg)
{
    const xf_call *call = arg;

    return atomic_load(&call->box->stop) != 0;
}

bool xf_stop_requested(xf_call *call, int timeout_ms)
{
    if (call->worker)
        return worker_stopping(call, timeout_ms);
    if (call->sink)
        return wait_for_nobody(timeout_ms);
    if (timeout_ms != 0)
        (void)channel_await(&call->channel, is_stopped, call, timeout_ms);
    return is_stopped(call);
}

bool call_is_ready(xf_call *call, wait_target *target)
{
    _Atomic uint32_t *wake = &call->box->wake;

    if (target && !call->sink)
        *target = (wait_target){{&os_parent_given(call->channel.parent)->box, wake, atomic_load(wake), NULL}, -1};
    return xf_stop_requested(call, 0);
}

int call_decode(xf_call *call)
{
    const xf_task *task = call->task;

    if (!task->input_codec ||
        codec_decode_for(task, task->input_codec, call->input, call->input_size, &call->object) == 0)
        return 0;
    xf_fail(call, XF_ECODEC, "%s", xf_error_detail());
    return XF_ECODEC;
}

void call_end_object(xf_call *call)
{
    if (call->object && call->task->input_codec->destroy)
        call->task->input_codec->destroy(call->object);
    call->object = NULL;
}
