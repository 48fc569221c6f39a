/* Doors and links: named pipes that admit this user only.  A door always has one instance more than it has taken in,
 * where the next one arrives; the name is gone with the last instance.
 *
 * FILE_FLAG_FIRST_PIPE_INSTANCE sees to it that a door has its pipe alone.  Wine passes over it, so there is another
 * pipe that can have one instance only, and to which nobody connects. */
#include "base/error.h"
#include "os_private.h"

#include <aclapi.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <sddl.h>

enum { LINK_BUFFER = 4096, NAME_SIZE = 256 };

struct os_door {
    wchar_t name[NAME_SIZE];
    SECURITY_ATTRIBUTES security;
    HANDLE claim; /* to the name */
    HANDLE pipe;  /* where the next one arrives */
    HANDLE event;
    OVERLAPPED io;
    enum { DOOR_WAITING, DOOR_REACHED, DOOR_MISSED } state;
    _Atomic bool shut;
};

struct os_link {
    child_stream stream;
    HANDLE event; /* of what is being written */
    OVERLAPPED io;
    bool pending;
    bool was_arrived_at;
    uint8_t outbox[OS_LINK_WRITE_MAX];
};

/* ---- This user ------------------------------------------------------------------------------- */

/* Freed by the caller with free. */
static int find_user(TOKEN_USER **out)
{
    TOKEN_USER *user = NULL;
    DWORD size = 0;
    HANDLE token;
    int rc = 0;

    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
        return os_error(GetLastError(), "OpenProcessToken");
    GetTokenInformation(token, TokenUser, NULL, 0, &size);
    user = malloc(size);
    if (!user)
        rc = os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    else if (!GetTokenInformation(token, TokenUser, user, size, &size))
        rc = os_error(GetLastError(), "GetTokenInformation");
    CloseHandle(token);
    if (rc < 0)
        free(user);
    else
        *out = user;
    return rc;
}

/* The name of a pipe, and a description of who may use it, if that is wanted: the user, who also owns it, so that those
 * who arrive can see whose it is. */
static int name_pipe(const char *name, wchar_t full[NAME_SIZE], PSECURITY_DESCRIPTOR *access)
{
    wchar_t rule[2 * NAME_SIZE], *sid;
    TOKEN_USER *user;
    int rc = find_user(&user);

    if (rc < 0)
        return rc;
    if (!ConvertSidToStringSidW(user->User.Sid, &sid)) {
        rc = os_error(GetLastError(), "ConvertSidToStringSidW");
        goto free_user;
    }
    swprintf(full, NAME_SIZE, L"\\\\.\\pipe\\crossfork-%ls-%hs", sid, name);
    swprintf(rule, sizeof rule / sizeof *rule, L"O:%lsD:P(A;;GA;;;%ls)", sid, sid);
    if (access && !ConvertStringSecurityDescriptorToSecurityDescriptorW(rule, SDDL_REVISION_1, access, NULL))
        rc = os_error(GetLastError(), "ConvertStringSecurityDescriptorToSecurityDescriptorW");
    LocalFree(sid);
free_user:
    free(user);
    return rc;
}

/* XF_EACCESS when the pipe is another user's. */
static int check_owner(HANDLE pipe, const char *name)
{
    PSECURITY_DESCRIPTOR access = NULL;
    TOKEN_USER *user;
    PSID owner;
    DWORD system;
    int rc = find_user(&user);

    if (rc < 0)
        return rc;
    system = GetSecurityInfo(pipe, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION, &owner, NULL, NULL, NULL, &access);
    if (system != ERROR_SUCCESS)
        rc = os_error(system, "GetSecurityInfo");
    else if (!EqualSid(owner, user->User.Sid))
        rc = error_detail(XF_EACCESS, "another user listens as %s", name);
    LocalFree(access);
    free(user);
    return rc;
}

/* ---- Doors ----------------------------------------------------------------------------------- */

/* Waits for somebody to arrive at the instance; the event is set when somebody has, or the wait has failed. */
static void await_arrival(os_door *door)
{
    DWORD system;

    door->io = overlapped(door->event);
    system = ConnectNamedPipe(door->pipe, &door->io) ? ERROR_PIPE_CONNECTED : GetLastError();
    door->state = system == ERROR_IO_PENDING       ? DOOR_WAITING
                  : system == ERROR_PIPE_CONNECTED ? DOOR_REACHED
                                                   : DOOR_MISSED;
    if (door->state != DOOR_WAITING)
        SetEvent(door->event);
}

static int create_pipe(const os_door *door, const wchar_t *name, DWORD flags, DWORD instances, HANDLE *pipe)
{
    *pipe = CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
                             PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, instances,
                             LINK_BUFFER, LINK_BUFFER, 0, (SECURITY_ATTRIBUTES *)&door->security);
    return *pipe == INVALID_HANDLE_VALUE ? os_error(GetLastError(), "CreateNamedPipeW") : 0;
}

static int make_instance(os_door *door, DWORD flags)
{
    HANDLE pipe;
    int rc = create_pipe(door, door->name, flags, PIPE_UNLIMITED_INSTANCES, &pipe);

    if (rc < 0)
        return rc;
    door->pipe = pipe;
    await_arrival(door);
    return 0;
}

/* Takes the name, and makes the first instance.  Where the name is taken, the flag gives ERROR_ACCESS_DENIED, and the
 * number of instances ERROR_PIPE_BUSY. */
static int claim_name(os_door *door, const char *name)
{
    wchar_t claim[NAME_SIZE + 1];
    int rc;

    swprintf(claim, NAME_SIZE + 1, L"%ls!", door->name); /* which no name has in it */
    rc = create_pipe(door, claim, FILE_FLAG_FIRST_PIPE_INSTANCE, 1, &door->claim);
    if (rc == 0) {
        rc = make_instance(door, FILE_FLAG_FIRST_PIPE_INSTANCE);
        if (rc < 0)
            CloseHandle(door->claim);
    }
    return rc == XF_EACCESS || rc == XF_EBUSY ? error_detail(XF_EEXIST, "a process listens as %s", name) : rc;
}

int os_door_open(os_door **out, const char *name)
{
    os_door *door = calloc(1, sizeof *door);
    int rc;

    if (!door)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    door->security.nLength = sizeof door->security;
    rc = name_pipe(name, door->name, &door->security.lpSecurityDescriptor);
    if (rc < 0)
        goto free_door;
    door->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!door->event) {
        rc = os_error(GetLastError(), "CreateEventW");
        goto free_security;
    }
    rc = claim_name(door, name);
    if (rc < 0)
        goto close_event;
    *out = door;
    return 0;

close_event:
    CloseHandle(door->event);
free_security:
    LocalFree(door->security.lpSecurityDescriptor);
free_door:
    free(door);
    return rc;
}

/* A link of a pipe, which is the link's from then on, also on failure. */
static int make_link(os_link **out, HANDLE pipe, bool was_arrived_at)
{
    os_link *link = calloc(1, sizeof *link);
    int rc;

    if (!link) {
        CloseHandle(pipe);
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    }
    link->was_arrived_at = was_arrived_at;
    rc = stream_open(&link->stream, pipe);
    if (rc < 0)
        goto free_link;
    link->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!link->event) {
        rc = os_error(GetLastError(), "CreateEventW");
        goto close_stream;
    }
    *out = link;
    return 0;

close_stream:
    stream_close(&link->stream);
free_link:
    free(link);
    return rc;
}

static void look_at_arrival(os_door *door)
{
    DWORD unused;

    if (door->state != DOOR_WAITING)
        return;
    if (GetOverlappedResult(door->pipe, &door->io, &unused, FALSE))
        door->state = DOOR_REACHED;
    else if (GetLastError() != ERROR_IO_INCOMPLETE)
        door->state = DOOR_MISSED;
}

/* A wait is over without anybody when the thread that began it has ended, or who came has left already. */
int os_door_admit(os_door *door, os_link **link)
{
    HANDLE reached = door->pipe;
    int rc;

    if (atomic_load(&door->shut))
        return error_detail(XF_EEND, "the door is shut");
    look_at_arrival(door);
    if (door->state == DOOR_MISSED) {
        DisconnectNamedPipe(reached);
        await_arrival(door);
        return XF_EAGAIN;
    }
    if (door->state == DOOR_WAITING)
        return XF_EAGAIN;
    rc = make_instance(door, 0);
    return rc < 0 ? rc : make_link(link, reached, true);
}

void os_door_shut(os_door *door)
{
    atomic_store(&door->shut, true);
    SetEvent(door->event);
}

void os_door_close(os_door *door)
{
    DWORD unused;

    if (door->state == DOOR_WAITING && CancelIoEx(door->pipe, &door->io))
        GetOverlappedResult(door->pipe, &door->io, &unused, TRUE);
    CloseHandle(door->pipe);
    CloseHandle(door->claim);
    CloseHandle(door->event);
    LocalFree(door->security.lpSecurityDescriptor);
    free(door);
}

/* What is waited for: the door and the links, unless one of these is ready already. */
static DWORD list_events(os_door *door, os_link *const *links, size_t count, HANDLE *events, bool *ready)
{
    DWORD listed = 0;

    *ready = false;
    if (door)
        events[listed++] = door->event;
    for (size_t i = 0; i < count; i++) {
        if (stream_ready(&links[i]->stream))
            *ready = true;
        events[listed++] = links[i]->stream.event;
    }
    return listed;
}

int os_door_wait(os_door *door, os_link *const *links, size_t count, int timeout_ms)
{
    uint64_t deadline = GetTickCount64() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    HANDLE events[OS_LINKS_MAX + 1];
    DWORD listed, signalled;
    bool ready;

    for (;;) {
        uint64_t now = GetTickCount64();
        listed = list_events(door, links, count, events, &ready);
        if (ready)
            return 0;
        signalled = WaitForMultipleObjects(listed, events, FALSE,
                                           timeout_ms < 0   ? INFINITE
                                           : now < deadline ? (DWORD)(deadline - now)
                                                            : 0);
        if (signalled == WAIT_TIMEOUT)
            return XF_ETIMEDOUT;
        if (signalled == WAIT_FAILED)
            return os_error(GetLastError(), "WaitForMultipleObjects");
        if (door && signalled == WAIT_OBJECT_0)
            return 0;
    }
}

/* ---- Links ----------------------------------------------------------------------------------- */

/* Whoever made the pipe gets to know who we are, and no more than that. */
static HANDLE open_pipe_of(const wchar_t *name)
{
    return CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
                       FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
}

/* Whether there is no such pipe, or none any more: what Wine says of one that goes while it is waited for. */
static bool has_gone(DWORD system)
{
    enum { HANDLES_CLOSED = 676 }; /* which MinGW's headers do not have */

    return system == ERROR_FILE_NOT_FOUND || system == HANDLES_CLOSED;
}

/* Where all instances are taken, one comes free when the door has admitted somebody. */
static int arrive(const char *name, const wchar_t *full, int timeout_ms, HANDLE *pipe)
{
    uint64_t now, deadline = GetTickCount64() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    DWORD system;

    for (;;) {
        *pipe = open_pipe_of(full);
        if (*pipe != INVALID_HANDLE_VALUE)
            return 0;
        system = GetLastError();
        if (system == ERROR_PIPE_BUSY) {
            now = GetTickCount64();
            if (timeout_ms >= 0 && now >= deadline)
                return error_detail(XF_ETIMEDOUT, "nobody takes in who arrives at %s", name);
            if (WaitNamedPipeW(full, timeout_ms < 0 ? NMPWAIT_WAIT_FOREVER : (DWORD)(deadline - now)) ||
                GetLastError() == ERROR_SEM_TIMEOUT)
                continue;
            system = GetLastError();
        }
        return has_gone(system) ? error_detail(XF_ENOENT, "nobody listens as %s", name)
                                : os_error(system, "CreateFileW of a pipe");
    }
}

int os_link_open(os_link **link, const char *name, int timeout_ms)
{
    wchar_t full[NAME_SIZE];
    HANDLE pipe;
    int rc = name_pipe(name, full, NULL);

    if (rc == 0)
        rc = arrive(name, full, timeout_ms, &pipe);
    if (rc < 0)
        return rc;
    rc = check_owner(pipe, name);
    if (rc == 0)
        return make_link(link, pipe, false);
    CloseHandle(pipe);
    return rc;
}

int os_link_read(os_link *link, void *data, size_t size, size_t *count)
{
    return stream_read(&link->stream, false, data, size, count);
}

/* Whether the bytes written last are in the pipe, or never will be. */
static bool outbox_is_free(os_link *link)
{
    DWORD count;

    if (link->pending &&
        (GetOverlappedResult(link->stream.pipe, &link->io, &count, FALSE) || GetLastError() != ERROR_IO_INCOMPLETE))
        link->pending = false;
    return !link->pending;
}

static int write_out(os_link *link, const void *data, size_t size)
{
    DWORD system;

    assert(size <= sizeof link->outbox);
    if (!outbox_is_free(link))
        return XF_EAGAIN;
    memcpy(link->outbox, data, size);
    link->io = overlapped(link->event);
    if (WriteFile(link->stream.pipe, link->outbox, (DWORD)size, NULL, &link->io))
        return 0;
    system = GetLastError();
    if (system != ERROR_IO_PENDING)
        return os_error(system, "WriteFile");
    link->pending = true;
    return 0;
}

static void put_token(uint8_t *at, uint64_t token)
{
    for (int i = 0; i < OS_TOKEN_SIZE; i++)
        at[i] = (uint8_t)(token >> (8 * i));
}

/* The other side gets it for itself. */
int os_link_write(os_link *link, void *data, size_t size, intptr_t handle)
{
    if (handle != -1)
        put_token((uint8_t *)data + OS_TOKEN_AT, (uint64_t)handle);
    return write_out(link, data, size);
}

static int open_other_side(const os_link *link, HANDLE *process)
{
    ULONG id;

    if (!(link->was_arrived_at ? GetNamedPipeClientProcessId(link->stream.pipe, &id)
                               : GetNamedPipeServerProcessId(link->stream.pipe, &id)))
        return os_error(GetLastError(), "GetNamedPipeServerProcessId");
    *process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, id);
    if (*process)
        return 0;
    return GetLastError() == ERROR_INVALID_PARAMETER ? error_detail(XF_EEND, "the other side has ended")
                                                     : os_error(GetLastError(), "OpenProcess");
}

/* Handles have 32 significant bits, and those that are negative stand for the caller's own process and thread. */
int os_link_take(os_link *link, uint64_t token, intptr_t *handle)
{
    HANDLE process, taken;
    int rc = token == 0 || token > INT32_MAX ? error_detail(XF_EPROTO, "no handle came with the bytes")
                                             : open_other_side(link, &process);

    if (rc < 0)
        return rc;
    if (DuplicateHandle(process, (HANDLE)(uintptr_t)token, GetCurrentProcess(), &taken, 0, FALSE,
                        DUPLICATE_SAME_ACCESS))
        *handle = (intptr_t)taken;
    else
        rc = GetLastError() == ERROR_INVALID_HANDLE ? error_detail(XF_EPROTO, "no handle came with the bytes")
                                                    : os_error(GetLastError(), "DuplicateHandle");
    CloseHandle(process);
    return rc;
}

void os_link_close(os_link *link)
{
    DWORD count;

    if (!outbox_is_free(link)) {
        CancelIoEx(link->stream.pipe, &link->io);
        GetOverlappedResult(link->stream.pipe, &link->io, &count, TRUE);
    }
    stream_close(&link->stream);
    CloseHandle(link->event);
    free(link);
}
