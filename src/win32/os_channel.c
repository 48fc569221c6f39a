/* Channels: pipes.  Windows says when a read has ended, not when one could begin.  So a channel reads one buffer ahead:
 * a read is always under way, and the channel's event is set when it ends, which means "there is something to read".  A
 * write that does not wait goes through another buffer of the channel, the outbox, where its bytes stay until the pipe
 * has room. */
#include "base/clock.h"
#include "base/error.h"
#include "os_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_BUFFER = 32768 };

/* The lowest bit of the event keeps the port from getting a packet: "GetQueuedCompletionStatus". */
OVERLAPPED overlapped(HANDLE event)
{
    return (OVERLAPPED){.hEvent = (HANDLE)((uintptr_t)event | 1)};
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static int stream_make_event(HANDLE *event)
{
    *event = CreateEventW(NULL, TRUE, FALSE, NULL);
    return *event ? 0 : os_error(GetLastError(), "CreateEventW");
}

/* Opens a channel with a completion port.  The system cancels a read or write when the thread that began it ends,
 * unless the pipe has such a port.  Any thread may wait for a child and end soon after, so there is a port, which never
 * gets a packet. */
int stream_open(os_channel *channel, HANDLE pipe, stream_kind kind)
{
    int rc;

    channel->pipe = pipe;
    channel->kind = kind;
    rc = stream_make_event(&channel->event);
    if (rc == 0 && kind != STREAM_OUTPUT)
        rc = stream_make_event(&channel->outbox.event);
    if (rc < 0)
        goto release;
    channel->port = CreateIoCompletionPort(pipe, NULL, 0, 0);
    if (!channel->port) {
        rc = os_error(GetLastError(), "CreateIoCompletionPort");
        goto release;
    }
    channel->data = malloc(STREAM_BUFFER);
    if (!channel->data) {
        rc = os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
        goto release;
    }
    return 0;

release:
    stream_release(channel);
    return rc;
}

/* Ends a read that is under way.  It must not lose a read that is complete: a process may be seen to have ended before
 * the read that its last write completed is seen to be complete. */
static void stream_stop_reading(os_channel *channel)
{
    DWORD count;

    if (channel->state != STREAM_READING)
        return;
    CancelIoEx(channel->pipe, &channel->io);
    GetOverlappedResult(channel->pipe, &channel->io, &count, TRUE);
}

/* Whether the outbox can be used: its bytes are in the pipe, or will never be. */
static bool stream_outbox_is_free(os_channel *channel)
{
    DWORD count;

    if (channel->outbox.pending && (GetOverlappedResult(channel->pipe, &channel->outbox.io, &count, FALSE) ||
                                    GetLastError() != ERROR_IO_INCOMPLETE))
        channel->outbox.pending = false;
    return !channel->outbox.pending;
}

void stream_release(os_channel *channel)
{
    DWORD count;

    if (!stream_outbox_is_free(channel)) {
        CancelIoEx(channel->pipe, &channel->outbox.io);
        GetOverlappedResult(channel->pipe, &channel->outbox.io, &count, TRUE);
        channel->outbox.pending = false;
    }
    stream_stop_reading(channel);
    channel->state = STREAM_IDLE;
    for (size_t i = 0; i < channel->sent_count; i++)
        CloseHandle(channel->sent[i]);
    channel->sent_count = 0;
    free(channel->sent);
    channel->sent = NULL;
    handle_close(&channel->pipe);
    handle_close(&channel->port);
    handle_close(&channel->event);
    handle_close(&channel->outbox.event);
    free(channel->data);
    channel->data = NULL;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Whether a failed read or write means that the other end is closed. */
static bool stream_is_end(DWORD system)
{
    return system == ERROR_BROKEN_PIPE || system == ERROR_PIPE_NOT_CONNECTED || system == ERROR_NO_DATA;
}

static void stream_fail(os_channel *channel, DWORD system)
{
    channel->state = stream_is_end(system) ? STREAM_ENDED : STREAM_FAILED;
    channel->system = system;
    SetEvent(channel->event);
}

static void stream_begin_read(os_channel *channel)
{
    channel->io = overlapped(channel->event);
    channel->state = STREAM_READING;
    if (!ReadFile(channel->pipe, channel->data, STREAM_BUFFER, NULL, &channel->io)) {
        DWORD system = GetLastError();
        if (system != ERROR_IO_PENDING)
            stream_fail(channel, system);
    }
}

/* Looks at the read that is under way.  Repeats it after a write of no bytes by the other side, and when the system has
 * cancelled it because the thread that began it has ended (the completion port does not prevent this everywhere). */
static void stream_check_read(os_channel *channel)
{
    DWORD count = 0;
    bool succeeded = GetOverlappedResult(channel->pipe, &channel->io, &count, FALSE);
    DWORD system = GetLastError();

    if (succeeded ? count == 0 : system == ERROR_OPERATION_ABORTED) {
        stream_begin_read(channel);
    } else if (succeeded) {
        channel->state = STREAM_FILLED;
        channel->from = 0;
        channel->to = count;
    } else if (system != ERROR_IO_INCOMPLETE) {
        stream_fail(channel, system);
    }
}

bool stream_ready(os_channel *channel)
{
    if (!channel->pipe || channel->ended)
        return false;
    if (channel->state == STREAM_IDLE)
        stream_begin_read(channel);
    if (channel->state == STREAM_READING)
        stream_check_read(channel);
    return channel->state != STREAM_READING;
}

static int stream_read_now(os_channel *channel, void *data, size_t size, size_t *count)
{
    DWORD part;

    if (!channel->pipe || channel->ended)
        return XF_EEND;
    if (channel->writer_has_ended)
        stream_stop_reading(channel);
    if (!stream_ready(channel))
        return XF_EAGAIN;
    if (channel->state == STREAM_ENDED) {
        channel->ended = true;
        return XF_EEND;
    }
    if (channel->state == STREAM_FAILED) {
        channel->state = STREAM_IDLE; /* the next call tries again */
        return os_error(channel->system, "ReadFile");
    }
    part = channel->to - channel->from;
    if (part > size)
        part = (DWORD)size;
    memcpy(data, channel->data + channel->from, part);
    channel->from += part;
    if (channel->from == channel->to)
        stream_begin_read(channel); /* which also resets the event */
    *count = part;
    return 0;
}

int os_channel_read(os_channel *channel, void *data, size_t size, size_t *count, int timeout_ms)
{
    uint64_t deadline = timeout_ms ? clock_deadline(timeout_ms) : 0;
    int rc;

    while ((rc = stream_read_now(channel, data, size, count)) == XF_EAGAIN && timeout_ms != 0) {
        rc = handles_wait(&channel->event, 1, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* ---- Attached handles ------------------------------------------------------------------------ */

/* Copies a handle into the child.  The parent makes the copy, because the child has no right to open the parent. */
static int stream_copy_for_child(os_channel *channel, HANDLE handle, HANDLE *copy)
{
    if (DuplicateHandle(GetCurrentProcess(), handle, channel->process, copy, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return 0;
    return WaitForSingleObject(channel->process, 0) == WAIT_OBJECT_0 ? XF_EEND
                                                                     : os_error(GetLastError(), "DuplicateHandle");
}

/* Copies a handle within this process, for the other side to take.  A parent closes the copy when it takes it.  An
 * unrelated process cannot be relied on for that, so the channel keeps its copies until it is closed. */
static int stream_copy_here(os_channel *channel, HANDLE handle, HANDLE *copy)
{
    HANDLE self = GetCurrentProcess(), *sent = channel->sent;

    if (channel->kind != STREAM_TO_PARENT) {
        sent = realloc(sent, (channel->sent_count + 1) * sizeof *sent);
        if (!sent)
            return os_error(ERROR_NOT_ENOUGH_MEMORY, "realloc");
        channel->sent = sent;
    }
    if (!DuplicateHandle(self, handle, self, copy, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return os_error(GetLastError(), "DuplicateHandle");
    if (channel->kind != STREAM_TO_PARENT)
        sent[channel->sent_count++] = *copy;
    return 0;
}

static void stream_drop_copy(os_channel *channel, HANDLE copy)
{
    if (channel->kind == STREAM_TO_CHILD) {
        DuplicateHandle(channel->process, copy, NULL, NULL, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
        return;
    }
    CloseHandle(copy);
    if (channel->kind != STREAM_TO_PARENT)
        channel->sent_count--;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void stream_fill_outbox(os_channel *channel, const void *data, size_t size, HANDLE attached)
{
    uint64_t token = (uintptr_t)attached;

    memcpy(channel->outbox.data, data, size);
    for (int i = 0; attached && i < OS_TOKEN_SIZE; i++)
        channel->outbox.data[OS_TOKEN_AT + i] = (uint8_t)(token >> (8 * i));
}

static int stream_begin_write(os_channel *channel, const void *data, size_t size)
{
    DWORD system;

    channel->outbox.io = overlapped(channel->outbox.event);
    if (WriteFile(channel->pipe, data, (DWORD)size, NULL, &channel->outbox.io))
        return 0;
    system = GetLastError();
    if (system != ERROR_IO_PENDING)
        return stream_is_end(system) ? XF_EEND : os_error(system, "WriteFile");
    channel->outbox.pending = true;
    return 0;
}

static int stream_write_part(os_channel *channel, const void *data, size_t size, DWORD *count)
{
    DWORD system;
    int rc = stream_begin_write(channel, data, size);

    if (rc < 0)
        return rc;
    channel->outbox.pending = false;
    if (GetOverlappedResult(channel->pipe, &channel->outbox.io, count, TRUE))
        return 0;
    system = GetLastError();
    return stream_is_end(system) ? XF_EEND : os_error(system, "WriteFile");
}

/* Writes and waits.  The system copies the bytes that do not fit into the pipe, so this gives it only a part at a
 * time. */
static int stream_write_all(os_channel *channel, const char *left, size_t size, HANDLE attached)
{
    enum { PART = 65536 };
    size_t first = !attached ? 0 : size < OS_CHANNEL_WRITE_MAX ? size : OS_CHANNEL_WRITE_MAX;

    if (first > 0)
        stream_fill_outbox(channel, left, first, attached);
    for (size_t at = 0; at < size;) {
        DWORD count;
        int rc = at < first ? stream_write_part(channel, channel->outbox.data + at, first - at, &count)
                            : stream_write_part(channel, left + at, size - at < PART ? size - at : PART, &count);
        if (rc < 0)
            return rc;
        at += count;
    }
    return 0;
}

static int stream_write_bytes(os_channel *channel, const void *data, size_t size, HANDLE attached, int timeout_ms)
{
    uint64_t deadline = timeout_ms ? clock_deadline(timeout_ms) : 0;
    int rc;

    while (!stream_outbox_is_free(channel)) {
        if (timeout_ms == 0)
            return XF_EAGAIN;
        rc = handles_wait(&channel->outbox.event, 1, deadline);
        if (rc < 0)
            return rc;
    }
    if (timeout_ms < 0)
        return stream_write_all(channel, data, size, attached);
    assert(size <= OS_CHANNEL_WRITE_MAX);
    stream_fill_outbox(channel, data, size, attached);
    return stream_begin_write(channel, channel->outbox.data, size);
}

int os_channel_write(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms)
{
    HANDLE copy = NULL;
    int rc = 0;

    if (!channel->pipe)
        return XF_EEND;
    if (handle != -1)
        rc = channel->kind == STREAM_TO_CHILD ? stream_copy_for_child(channel, (HANDLE)handle, &copy)
                                              : stream_copy_here(channel, (HANDLE)handle, &copy);
    if (rc < 0)
        return rc;
    rc = stream_write_bytes(channel, data, size, copy, timeout_ms);
    if (rc < 0 && copy)
        stream_drop_copy(channel, copy);
    return rc;
}

/* ---- Taking handles -------------------------------------------------------------------------- */

static int stream_nothing_attached(void)
{
    return error_detail(XF_EPROTO, "no handle came with the bytes");
}

static int stream_open_other_side(const os_channel *channel, HANDLE *process)
{
    ULONG id;

    if (!(channel->kind == STREAM_ACCEPTED ? GetNamedPipeClientProcessId(channel->pipe, &id)
                                           : GetNamedPipeServerProcessId(channel->pipe, &id)))
        return os_error(GetLastError(), "GetNamedPipeServerProcessId");
    *process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, id);
    if (*process)
        return 0;
    return GetLastError() == ERROR_INVALID_PARAMETER ? stream_nothing_attached()
                                                     : os_error(GetLastError(), "OpenProcess");
}

/* Takes a handle from a process.  A process that has ended has no handles any more. */
static int stream_take_from(HANDLE process, uint64_t token, DWORD options, intptr_t *handle)
{
    HANDLE taken;
    DWORD system;

    if (DuplicateHandle(process, (HANDLE)(uintptr_t)token, GetCurrentProcess(), &taken, 0, FALSE,
                        DUPLICATE_SAME_ACCESS | options)) {
        *handle = (intptr_t)taken;
        return 0;
    }
    system = GetLastError();
    return system == ERROR_NO_SYSTEM_RESOURCES ? os_error(system, "DuplicateHandle") : stream_nothing_attached();
}

/* Handles have 32 significant bits.  Negative ones stand for the caller's own process and thread, so they are not
 * taken. */
int os_channel_take(os_channel *channel, uint64_t token, intptr_t *handle)
{
    HANDLE process;
    int rc;

    if (token == 0 || token > INT32_MAX)
        return stream_nothing_attached();
    if (channel->kind == STREAM_TO_CHILD)
        return stream_take_from(channel->process, token, DUPLICATE_CLOSE_SOURCE, handle);
    if (channel->kind == STREAM_TO_PARENT) {
        *handle = (intptr_t)token;
        return 0;
    }
    rc = stream_open_other_side(channel, &process);
    if (rc < 0)
        return rc;
    rc = stream_take_from(process, token, 0, handle);
    CloseHandle(process);
    return rc;
}

void os_channel_close(os_channel *channel)
{
    stream_release(channel);
    free(channel);
}
