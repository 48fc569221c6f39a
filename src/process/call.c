#include "process/call.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/writer.h"
#include "os/identity.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Copies of the process ------------------------------------------------------------------- */

void call_begin(xf_call *call)
{
    call->head = (xf_call_head){os_self_generation_at(), os_self_generation()};
}

_Noreturn void call_exit_copy(int code)
{
    fflush(stdout);
    fflush(stderr);
    os_self_exit(code == 0 ? 0 : 1);
}

static int refuse_in_copy(const xf_call *call)
{
    return error_detail(XF_ESTATE, "a process that task %s has forked cannot speak for it", call->task->name);
}

/* ---- The calls ------------------------------------------------------------------------------- */

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
    if (call->backend->drop_output)
        call->backend->drop_output(call);
    call->output = OS_SHM_NONE;
    call->has_output = false;
}

bool call_lacks_output(const xf_call *call)
{
    size_t size = call->task->output_size;

    return size != 0 && size != XF_ANY_SIZE && !call->has_output;
}

void *xf_call_output(xf_call *call, size_t size)
{
    call_drop_output(call);
    if (call->task->output_size != XF_ANY_SIZE && size != call->task->output_size) {
        error_detail(XF_ESIZE, "task %s declares %zu bytes of output, not %zu", call->task->name,
                     call->task->output_size, size);
        return NULL;
    }
    if (call->backend->output(call, size) < 0)
        return NULL;
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

/* The formatted text in memory of its own; NULL when there is no memory. */
static char *format_fail_text(const char *format, va_list arguments)
{
    va_list copy;
    char *text;
    int size;

    va_copy(copy, arguments);
    size = vsnprintf(NULL, 0, format, copy);
    va_end(copy);
    text = size < 0 ? NULL : malloc((size_t)size + 1);
    if (text)
        vsnprintf(text, (size_t)size + 1, format, arguments);
    return text;
}

static void set_failure(xf_call *call, int code, const char *format, va_list arguments)
{
    if (call->backend->begin_failure)
        call->backend->begin_failure(call, code);
    free(call->fail_text);
    call->fail_text = format_fail_text(format, arguments);
    call->fail_code = code;
    call->fail_is_own = false;
}

int xf_fail(xf_call *call, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_failure(call, code ? code : XF_EFAILED, format, arguments);
    va_end(arguments);
    return call->fail_code;
}

int call_fail_own(xf_call *call, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_failure(call, code, format, arguments);
    va_end(arguments);
    call->fail_is_own = true;
    return code;
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
        return error_detail(XF_EINVAL, "the log line cannot be formatted");
    if (size > XF_LOG_LINE_MAX)
        size = XF_LOG_LINE_MAX;
    if (call_is_in_copy(call))
        return refuse_in_copy(call);
    call_beat(call);
    return call->backend->log(call, &put, (size_t)size);
}

void xf_progress(xf_call *call, uint64_t done, uint64_t total)
{
    if (call_is_in_copy(call))
        return;
    atomic_store_explicit(&call->box->total, total, memory_order_relaxed);
    atomic_store_explicit(&call->box->done, done, memory_order_relaxed);
    call_beat(call);
}

int xf_send(xf_call *call, const void *data, size_t size)
{
    int rc = error_check_data(data, size, "data");

    if (call_is_in_copy(call))
        return refuse_in_copy(call);
    call_beat(call);
    return rc < 0 ? rc : call->backend->send(call, data, size);
}

bool xf_stop_requested(xf_call *call, int timeout_ms)
{
    return !call_is_in_copy(call) && call->backend->stop_requested(call, timeout_ms);
}

bool call_is_ready(xf_call *call, wait_target *target)
{
    if (target && call->backend->stop_target)
        call->backend->stop_target(call, target);
    return xf_stop_requested(call, 0);
}

int call_decode(xf_call *call)
{
    const xf_task *task = call->task;

    if (!task->input_codec ||
        codec_decode_for(task, task->input_codec, call->input, call->input_size, &call->object) == 0)
        return 0;
    call_fail_own(call, XF_ECODEC, "%s", xf_error_detail());
    return XF_ECODEC;
}

void call_end_object(xf_call *call)
{
    if (call->object && call->task->input_codec->destroy)
        call->task->input_codec->destroy(call->object);
    call->object = NULL;
    call_end_copy(call, 0); /* destroy is the program's own, and may fork, too */
}
