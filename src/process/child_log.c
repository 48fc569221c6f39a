#include "process/child_log.h"

#include "base/clock.h"
#include "os/cancel.h"
#include "process/call.h"
#include "protocol/line_splitter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void child_log_open(child_log *log)
{
    if (uv_mutex_init(&log->lock))
        abort(); /* no system has a reason to let it fail */
    log->second = log->sent = log->dropped = 0;
    log->frames = 0;
}

/* The line is counted last, so all counted lines are whole if the process is killed meanwhile. */
static void keep_line(black_box *box, const xf_log_line *line, size_t size)
{
    uint64_t count = atomic_load_explicit(&box->line_count, memory_order_relaxed);
    black_box_line *kept = &box->lines[count % (XF_REPORT_LOG_LINES + 1)];

    kept->time = line->time;
    kept->item = line->item;
    kept->level = (uint32_t)line->level;
    kept->size = (uint32_t)(size < sizeof kept->text ? size : sizeof kept->text);
    strncpy(kept->task, line->task, sizeof kept->task);
    memcpy(kept->text, line->text, kept->size);
    atomic_store_explicit(&box->line_count, count + 1, memory_order_release);
}

/* Writes a mark into each stream, so that the parent delivers what was printed before this frame before the frame.
 * A task may have put another file in the place of its stream, which gets no mark. */
static void mark_streams(xf_call *call)
{
    FILE *const streams[] = {[1] = stdout, [2] = stderr};
    char mark[LINE_SPLITTER_MARK + 1];

    line_splitter_make_mark(mark, call->box->status.nonce, ++call->log.frames);
    for (int i = 1; i <= 2; i++) {
        if (!(call->box->marked & 1U << i))
            continue;
        fflush(streams[i]);
        if (uv_guess_handle(i) != UV_NAMED_PIPE)
            continue;
        fwrite(mark, 1, LINE_SPLITTER_MARK, streams[i]);
        fflush(streams[i]);
    }
}

static int forward_line(xf_call *call, const xf_log_line *line, size_t size)
{
    frame_fields fields = {.size = 0};

    frame_put_u32(&fields, (uint32_t)line->level);
    frame_put_u64(&fields, frame_from_double(line->time));
    frame_put_u64(&fields, line->item);
    frame_put_text(&fields, line->task);
    mark_streams(call);
    return channel_send(&call->channel, FRAME_LOG, &fields, line->text, size, true);
}

/* Sends one line that stands for the lines that were left out. */
static void report_dropped(xf_call *call)
{
    child_log *log = &call->log;
    char text[80];
    xf_log_line line = {.time = clock_now(), .level = XF_LOG_WARNING, .text = text, .task = call->task->name};

    if (log->dropped == 0)
        return;
    snprintf(text, sizeof text, "%u lines were left out, beyond %d a second", (unsigned)log->dropped,
             (int)call->box->log_rate);
    log->dropped = 0;
    (void)forward_line(call, &line, strlen(text));
}

/* Whether there is room for one more line in this second. */
static bool admit_line(xf_call *call)
{
    child_log *log = &call->log;
    uint64_t second = uv_hrtime() / (1000 * CLOCK_NS_PER_MS);

    if (call->box->log_rate == 0)
        return true;
    if (second != log->second) {
        log->second = second;
        log->sent = 0;
        report_dropped(call);
    }
    if (log->sent < (uint32_t)call->box->log_rate) {
        log->sent++;
        return true;
    }
    log->dropped++;
    return false;
}

int child_log_put(xf_call *call, const xf_log_line *line, size_t size)
{
    OS_HOLD_CANCEL;
    int rc = 0;

    uv_mutex_lock(&call->log.lock);
    keep_line(call->box, line, size);
    if (call->box->log_wanted && admit_line(call))
        rc = forward_line(call, line, size);
    uv_mutex_unlock(&call->log.lock);
    return rc;
}

void child_log_close(xf_call *call)
{
    uv_mutex_lock(&call->log.lock);
    if (call->task)
        report_dropped(call);
    uv_mutex_unlock(&call->log.lock);
}
