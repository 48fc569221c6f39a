/* Pipes.  Windows tells when a read has ended, not when one could begin, so a stream always has a read under way, and
 * its event stands for "there is something to read". */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_BUFFER = 32768 };

OVERLAPPED overlapped(HANDLE event)
{
    return (OVERLAPPED){.hEvent = (HANDLE)((uintptr_t)event | 1)}; /* the bit: see GetQueuedCompletionStatus */
}

/* The system cancels what a thread has begun when that thread ends, unless the pipe has a completion port.  Any thread
 * may wait for a child and end soon after, so there is a port, which never gets to know anything. */
int stream_open(child_stream *stream, HANDLE pipe)
{
    int rc;

    stream->pipe = pipe;
    stream->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!stream->event) {
        rc = os_error(GetLastError(), "CreateEventW");
        goto close_stream;
    }
    stream->port = CreateIoCompletionPort(pipe, NULL, 0, 0);
    if (!stream->port) {
        rc = os_error(GetLastError(), "CreateIoCompletionPort");
        goto close_stream;
    }
    stream->data = malloc(STREAM_BUFFER);
    if (!stream->data) {
        rc = os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
        goto close_stream;
    }
    return 0;

close_stream:
    stream_close(stream);
    return rc;
}

/* Ends a read that is under way, unless it is complete: a process can be seen to have ended before the read that its
 * last write completed is seen to be complete. */
static void settle(child_stream *stream)
{
    DWORD count;

    if (stream->state != STREAM_READING)
        return;
    CancelIoEx(stream->pipe, &stream->io);
    GetOverlappedResult(stream->pipe, &stream->io, &count, TRUE);
}

void stream_close(child_stream *stream)
{
    settle(stream);
    stream->state = STREAM_IDLE;
    handle_close(&stream->pipe);
    handle_close(&stream->port);
    handle_close(&stream->event);
    free(stream->data);
    stream->data = NULL;
}

/* ---- Reading --------------------------------------------------------------------------------- */

bool pipe_has_ended(DWORD system)
{
    return system == ERROR_BROKEN_PIPE || system == ERROR_PIPE_NOT_CONNECTED || system == ERROR_NO_DATA;
}

static void stop_reading(child_stream *stream, DWORD system)
{
    stream->state = pipe_has_ended(system) ? STREAM_ENDED : STREAM_FAILED;
    stream->system = system;
    SetEvent(stream->event);
}

static void begin_reading(child_stream *stream)
{
    stream->io = overlapped(stream->event);
    stream->state = STREAM_READING;
    if (!ReadFile(stream->pipe, stream->data, STREAM_BUFFER, NULL, &stream->io)) {
        DWORD system = GetLastError();
        if (system != ERROR_IO_PENDING)
            stop_reading(stream, system);
    }
}

/* Somebody wrote nothing at all, or the thread that began this has ended where a completion port does not help: once
 * more. */
static bool is_to_be_repeated(bool succeeded, DWORD system, DWORD count)
{
    return succeeded ? count == 0 : system == ERROR_OPERATION_ABORTED;
}

static void look_at_read(child_stream *stream)
{
    DWORD count = 0;
    bool succeeded = GetOverlappedResult(stream->pipe, &stream->io, &count, FALSE);
    DWORD system = GetLastError();

    if (is_to_be_repeated(succeeded, system, count)) {
        begin_reading(stream);
    } else if (succeeded) {
        stream->state = STREAM_FILLED;
        stream->from = 0;
        stream->to = count;
    } else if (system != ERROR_IO_INCOMPLETE) {
        stop_reading(stream, system);
    }
}

bool stream_ready(child_stream *stream)
{
    if (!stream->pipe || stream->told)
        return false;
    if (stream->state == STREAM_IDLE)
        begin_reading(stream);
    if (stream->state == STREAM_READING)
        look_at_read(stream);
    return stream->state != STREAM_READING;
}

int stream_read(child_stream *stream, bool writer_has_ended, void *data, size_t size, size_t *count)
{
    DWORD part;

    if (!stream->pipe || stream->told)
        return XF_EEND;
    if (writer_has_ended)
        settle(stream);
    if (!stream_ready(stream))
        return XF_EAGAIN;
    if (stream->state == STREAM_ENDED) {
        stream->told = true;
        return XF_EEND;
    }
    if (stream->state == STREAM_FAILED) {
        stream->state = STREAM_IDLE; /* to be tried again */
        return os_error(stream->system, "ReadFile");
    }
    part = stream->to - stream->from;
    if (part > size)
        part = (DWORD)size;
    memcpy(data, stream->data + stream->from, part);
    stream->from += part;
    if (stream->from == stream->to)
        begin_reading(stream); /* which also resets the event */
    *count = part;
    return 0;
}
