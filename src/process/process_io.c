#include "process/process_io.h"

#include "base/clock.h"
#include "base/error.h"
#include "process/process_log.h"

#include <stdio.h>
#include <string.h>

/* The parent's side of channel_send_segment.  See inbox_take. */
static int take_childs_segment(void *arg, uint64_t token, size_t size, os_shm *shm)
{
    xf_process *process = arg;
    intptr_t handle;
    int rc = os_channel_take(os_child_channel(process->child, OS_CHANNEL), token, &handle);

    return rc < 0 ? rc : os_shm_open(shm, handle, size, 0);
}

/* Ends a child whose channel is not read any further. */
static void process_io_give_up(xf_process *process, int code)
{
    process->protocol_error = code;
    snprintf(process->message, sizeof process->message, "%s", xf_error_detail());
    os_child_kill(process->child);
}

/* ---- Standard output and error --------------------------------------------------------------- */

static int log_printed(xf_process *process, int stream, const line_splitter_piece *piece)
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
    return process_log_put(process, &line);
}

/* Logs the lines that are complete and whose turn it is.
 *   all  Logs incomplete lines too, because no more will come. */
static int take_printed(xf_process *process, int stream, bool all)
{
    line_splitter *lines = &process->printed[stream - OS_STDOUT];
    line_splitter_piece piece;
    int rc = 0;

    while (rc == 0 && lines->bytes && line_splitter_next(lines, all, &piece)) {
        rc = tail_buffer_put(&process->captured[stream - OS_STDOUT], piece.text, piece.raw_size);
        if (rc == 0)
            rc = log_printed(process, stream, &piece);
    }
    return rc;
}

/* Ends the reading, because nothing more can be read now.  A failure of this process itself ends the child, whose
 * channel is not understood any more.  Returns false. */
static bool end_reading(xf_process *process, int rc)
{
    if (rc != XF_EAGAIN && rc != XF_EEND && !process->protocol_error)
        process_io_give_up(process, rc);
    return false;
}

static bool read_printed(xf_process *process, int stream)
{
    line_splitter *lines = &process->printed[stream - OS_STDOUT];
    size_t room, count;
    char *space = line_splitter_space(lines, &room);
    int rc = os_channel_read(os_child_channel(process->child, stream), space, room, &count, 0);

    if (rc < 0)
        return end_reading(process, rc);
    line_splitter_filled(lines, count);
    rc = take_printed(process, stream, false);
    if (rc < 0)
        process_io_give_up(process, rc);
    return true;
}

static bool read_captured(xf_process *process, int stream)
{
    char data[16384];
    size_t count;
    int rc;

    if (process->printed[stream - OS_STDOUT].bytes)
        return read_printed(process, stream);
    rc = os_channel_read(os_child_channel(process->child, stream), data, sizeof data, &count, 0);
    if (rc < 0)
        return end_reading(process, rc);
    rc = tail_buffer_put(&process->captured[stream - OS_STDOUT], data, count);
    if (rc < 0)
        process_io_give_up(process, rc);
    return true;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* The child wrote a mark into each stream before it sent the log frame, so all that it printed before the frame can
 * be read by now.  Reads up to the mark, if there is one. */
static void read_printed_before_frame(xf_process *process)
{
    enum { MOST_READS = 64 };

    process->log_frames++;
    for (int stream = OS_STDOUT; stream <= OS_STDERR; stream++) {
        line_splitter *lines = &process->printed[stream - OS_STDOUT];
        for (int i = 0; i < MOST_READS && lines->bytes && lines->seen < process->log_frames; i++)
            if (!read_printed(process, stream))
                break;
    }
}

/* Logs what was printed after a log frame, once the frame itself has been logged. */
static int take_printed_after_frame(xf_process *process)
{
    int rc = 0;

    for (int stream = OS_STDOUT; stream <= OS_STDERR && rc == 0; stream++) {
        process->printed[stream - OS_STDOUT].passed = process->log_frames;
        rc = take_printed(process, stream, false);
    }
    return rc;
}

static int take_log_frame(xf_process *process, const frame *frame)
{
    inbox_log log;
    int rc = inbox_put(&process->inbox, frame, take_childs_segment, process, &log);
    xf_log_line line = {.time = log.time,
                        .level = log.level,
                        .text = log.text,
                        .pid = process->pid,
                        .task = log.task,
                        .item = log.item};

    if (rc < 0 || !process->on_log)
        return rc;
    read_printed_before_frame(process);
    rc = process_log_put(process, &line);
    return rc < 0 ? rc : take_printed_after_frame(process);
}

static void acknowledge_bye(xf_process *process)
{
    uint8_t ack[FRAME_HEADER];

    if (!os.attach_needs_ack)
        return;
    frame_put_header(ack, &(frame){.type = FRAME_ACK});
    if (os_channel_write(os_child_channel(process->child, OS_CHANNEL), ack, sizeof ack, -1, 0) < 0)
        os_child_kill(
            process->child); /* everything has been taken, and without the acknowledgement the child waits for ever */
}

static int take_frames(xf_process *process)
{
    frame frame;
    int rc;

    while ((rc = frame_decoder_next(&process->in, &frame)) == 0) {
        rc = frame.type == FRAME_LOG ? take_log_frame(process, &frame)
                                     : inbox_put(&process->inbox, &frame, take_childs_segment, process, NULL);
        if (rc == 0)
            rc = object_server_receive(&process->objects, process->child, &frame);
        if (rc < 0)
            return rc;
        if (frame.type == FRAME_BYE)
            acknowledge_bye(process);
    }
    return rc == XF_EAGAIN ? 0 : rc;
}

/* Reads the channel once.  Returns false when there is nothing more now. */
static bool read_channel(xf_process *process)
{
    size_t room, count;
    uint8_t *space = frame_decoder_space(&process->in, &room);
    int rc = os_channel_read(os_child_channel(process->child, OS_CHANNEL), space, room, &count, 0);

    if (rc < 0)
        return end_reading(process, rc);
    if (process->protocol_error)
        return true; /* the child is being ended: what it had written before is dropped */
    frame_decoder_filled(&process->in, count);
    rc = take_frames(process);
    if (rc < 0)
        process_io_give_up(process, rc);
    return true;
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* The rounds are limited so that one chatty child does not keep the supervisor from the others.  A child that has
 * exited can write no more, so everything is read then: as many rounds as the system's buffers can hold.  A descendant
 * that has left the child's group may write for ever. */
void process_io_drain(xf_process *process)
{
    enum { ROUNDS = 16, LAST_ROUNDS = 4096 };

    for (int round = 0; round < (process->exited ? LAST_ROUNDS : ROUNDS); round++) {
        bool more = false;
        if (process_log_is_full(process) && !process->exited)
            break;
        more |= read_channel(process);
        more |= process->captured[0].limit && read_captured(process, OS_STDOUT);
        more |= process->captured[1].limit && read_captured(process, OS_STDERR);
        if (!more)
            break;
    }
}

void process_io_read_last_frames(xf_process *process)
{
    black_box *box = process->box.address;
    size_t room, at = 0, size = atomic_load(&box->last_frames_size);
    int rc = size <= sizeof box->last_frames ? 0 : error_detail(XF_EPROTO, "the last frames have %zu bytes", size);

    while (rc == 0 && at < size && !process->protocol_error) {
        uint8_t *space = frame_decoder_space(&process->in, &room);
        room = room < size - at ? room : size - at;
        memcpy(space, box->last_frames + at, room);
        frame_decoder_filled(&process->in, room);
        at += room;
        rc = take_frames(process);
    }
    if (rc < 0)
        process_io_give_up(process, rc);
}

void process_io_finish_printed(xf_process *process)
{
    (void)take_printed(process, OS_STDOUT, true);
    (void)take_printed(process, OS_STDERR, true);
}
