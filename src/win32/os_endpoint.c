/* Endpoints: named pipes that admit this user only.  An endpoint always has one pipe instance more than it has accepted
 * processes; the next process connects to that instance.  The system drops the name with the last instance.
 *
 * FILE_FLAG_FIRST_PIPE_INSTANCE makes sure that no other process serves the same pipe.  Wine ignores the flag, so each
 * endpoint has a second pipe, which can have one instance only, and to which no process connects. */
#include "base/clock.h"
#include "base/error.h"
#include "os_private.h"

#include <aclapi.h>
#include <stdlib.h>
#include <wchar.h>

#include <sddl.h>

enum { ENDPOINT_BUFFER = 4096, NAME_SIZE = 256 };

struct os_endpoint {
    wchar_t name[NAME_SIZE];
    SECURITY_ATTRIBUTES security;
    HANDLE claim; /* the second pipe, which claims the name */
    HANDLE pipe;  /* the instance that the next process connects to */
    HANDLE event;
    OVERLAPPED io;
    enum { ENDPOINT_WAITING, ENDPOINT_REACHED, ENDPOINT_MISSED } state;
    _Atomic bool shut;
};

/* ---- This user ------------------------------------------------------------------------------- */

/* Finds the user of this process; the caller frees the result. */
static int endpoint_find_user(TOKEN_USER **out)
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

/* Makes the name of a pipe, and, if access is not NULL, a description of who may use it: only this user, who also owns
 * it, so that a process that connects can check who owns the pipe. */
static int endpoint_name_pipe(const char *name, wchar_t full[NAME_SIZE], PSECURITY_DESCRIPTOR *access)
{
    wchar_t rule[2 * NAME_SIZE], *sid;
    TOKEN_USER *user;
    int rc = endpoint_find_user(&user);

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

/* Checks that the pipe is this user's; XF_EACCESS when it is another user's. */
static int endpoint_check_owner(HANDLE pipe, const char *name)
{
    PSECURITY_DESCRIPTOR access = NULL;
    TOKEN_USER *user;
    PSID owner;
    DWORD system;
    int rc = endpoint_find_user(&user);

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

/* ---- Endpoints ------------------------------------------------------------------------------- */

/* Begins to wait for a process to connect to the instance.  The event is set when one has, or when the wait has
 * failed. */
static void endpoint_await_client(os_endpoint *endpoint)
{
    DWORD system;

    endpoint->io = overlapped(endpoint->event);
    system = ConnectNamedPipe(endpoint->pipe, &endpoint->io) ? ERROR_PIPE_CONNECTED : GetLastError();
    endpoint->state = system == ERROR_IO_PENDING       ? ENDPOINT_WAITING
                      : system == ERROR_PIPE_CONNECTED ? ENDPOINT_REACHED
                                                       : ENDPOINT_MISSED;
    if (endpoint->state != ENDPOINT_WAITING)
        SetEvent(endpoint->event);
}

static int endpoint_create_pipe(const os_endpoint *endpoint, const wchar_t *name, DWORD flags, DWORD instances,
                                HANDLE *pipe)
{
    *pipe = CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
                             PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, instances,
                             ENDPOINT_BUFFER, ENDPOINT_BUFFER, 0, (SECURITY_ATTRIBUTES *)&endpoint->security);
    return *pipe == INVALID_HANDLE_VALUE ? os_error(GetLastError(), "CreateNamedPipeW") : 0;
}

static int endpoint_make_instance(os_endpoint *endpoint, DWORD flags)
{
    HANDLE pipe;
    int rc = endpoint_create_pipe(endpoint, endpoint->name, flags, PIPE_UNLIMITED_INSTANCES, &pipe);

    if (rc < 0)
        return rc;
    endpoint->pipe = pipe;
    endpoint_await_client(endpoint);
    return 0;
}

/* Claims the name and makes the first instance.  When another process has the name, the flag gives ERROR_ACCESS_DENIED,
 * and the limit of one instance gives ERROR_PIPE_BUSY. */
static int endpoint_claim_name(os_endpoint *endpoint, const char *name)
{
    wchar_t claim[NAME_SIZE + 1];
    int rc;

    swprintf(claim, NAME_SIZE + 1, L"%ls!", endpoint->name); /* '!' is in no endpoint's name */
    rc = endpoint_create_pipe(endpoint, claim, FILE_FLAG_FIRST_PIPE_INSTANCE, 1, &endpoint->claim);
    if (rc == 0) {
        rc = endpoint_make_instance(endpoint, FILE_FLAG_FIRST_PIPE_INSTANCE);
        if (rc < 0)
            CloseHandle(endpoint->claim);
    }
    return rc == XF_EACCESS || rc == XF_EBUSY ? error_detail(XF_EEXIST, "a process listens as %s", name) : rc;
}

int os_endpoint_open(os_endpoint **out, const char *name)
{
    os_endpoint *endpoint = calloc(1, sizeof *endpoint);
    int rc;

    if (!endpoint)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    endpoint->security.nLength = sizeof endpoint->security;
    rc = endpoint_name_pipe(name, endpoint->name, &endpoint->security.lpSecurityDescriptor);
    if (rc < 0)
        goto free_endpoint;
    endpoint->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!endpoint->event) {
        rc = os_error(GetLastError(), "CreateEventW");
        goto free_security;
    }
    rc = endpoint_claim_name(endpoint, name);
    if (rc < 0)
        goto close_event;
    *out = endpoint;
    return 0;

close_event:
    CloseHandle(endpoint->event);
free_security:
    LocalFree(endpoint->security.lpSecurityDescriptor);
free_endpoint:
    free(endpoint);
    return rc;
}

/* Makes a channel of a pipe.  The pipe belongs to this function even when it fails, and is closed then. */
static int endpoint_make_channel(os_channel **out, HANDLE pipe, stream_kind kind)
{
    os_channel *channel = calloc(1, sizeof *channel);
    int rc;

    if (!channel) {
        CloseHandle(pipe);
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    }
    rc = stream_open(channel, pipe, kind);
    if (rc < 0)
        free(channel);
    else
        *out = channel;
    return rc;
}

static void endpoint_check_client(os_endpoint *endpoint)
{
    DWORD unused;

    if (endpoint->state != ENDPOINT_WAITING)
        return;
    if (GetOverlappedResult(endpoint->pipe, &endpoint->io, &unused, FALSE))
        endpoint->state = ENDPOINT_REACHED;
    else if (GetLastError() != ERROR_IO_INCOMPLETE)
        endpoint->state = ENDPOINT_MISSED;
}

/* A wait may end although no process has connected: when the thread that began the wait has ended, or the process has
 * disconnected already. */
int os_endpoint_accept(os_endpoint *endpoint, os_channel **channel)
{
    HANDLE reached = endpoint->pipe;
    int rc;

    if (atomic_load(&endpoint->shut))
        return error_detail(XF_EEND, "the endpoint was shut down");
    endpoint_check_client(endpoint);
    if (endpoint->state == ENDPOINT_MISSED) {
        DisconnectNamedPipe(reached);
        endpoint_await_client(endpoint);
        return XF_EAGAIN;
    }
    if (endpoint->state == ENDPOINT_WAITING)
        return XF_EAGAIN;
    rc = endpoint_make_instance(endpoint, 0);
    return rc < 0 ? rc : endpoint_make_channel(channel, reached, STREAM_ACCEPTED);
}

void os_endpoint_shutdown(os_endpoint *endpoint)
{
    atomic_store(&endpoint->shut, true);
    SetEvent(endpoint->event);
}

void os_endpoint_close(os_endpoint *endpoint)
{
    DWORD unused;

    if (endpoint->state == ENDPOINT_WAITING && CancelIoEx(endpoint->pipe, &endpoint->io))
        GetOverlappedResult(endpoint->pipe, &endpoint->io, &unused, TRUE);
    CloseHandle(endpoint->pipe);
    CloseHandle(endpoint->claim);
    CloseHandle(endpoint->event);
    LocalFree(endpoint->security.lpSecurityDescriptor);
    free(endpoint);
}

void os_endpoint_let_go(os_endpoint *endpoint)
{
    os_endpoint_close(endpoint);
}

/* Lists what to wait for: the endpoint and the channels, unless one of the channels is ready already. */
static DWORD endpoint_list_events(os_endpoint *endpoint, os_channel *const *channels, size_t count, HANDLE *events,
                                  bool *ready)
{
    DWORD listed = 0;

    *ready = false;
    if (endpoint)
        events[listed++] = endpoint->event;
    for (size_t i = 0; i < count; i++) {
        if (stream_ready(channels[i]))
            *ready = true;
        events[listed++] = channels[i]->event;
    }
    return listed;
}

int os_endpoint_wait(os_endpoint *endpoint, os_channel *const *channels, size_t count, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    HANDLE events[OS_CHANNELS_MAX + 1];
    DWORD listed;
    bool ready;
    int signalled;

    for (;;) {
        listed = endpoint_list_events(endpoint, channels, count, events, &ready);
        if (ready)
            return 0;
        signalled = handles_wait(events, listed, deadline);
        if (signalled < 0 || (endpoint && signalled == 0))
            return signalled;
    }
}

/* ---- Connecting ------------------------------------------------------------------------------ */

/* Opens a pipe so that the process that has the endpoint can identify this user, but cannot act as this user. */
static HANDLE endpoint_open_pipe(const wchar_t *name)
{
    return CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
                       FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
}

/* Whether the error means that the pipe does not exist, or has disappeared: Wine returns HANDLES_CLOSED when it
 * disappears during the wait. */
static bool endpoint_is_missing(DWORD system)
{
    enum { HANDLES_CLOSED = 676 }; /* MinGW's headers do not define it */

    return system == ERROR_FILE_NOT_FOUND || system == HANDLES_CLOSED;
}

/* Connects.  When all instances are taken, it waits for the next one, which the endpoint makes as soon as it accepts a
 * process. */
static int endpoint_connect(const char *name, const wchar_t *full, int timeout_ms, HANDLE *pipe)
{
    uint64_t now, deadline = GetTickCount64() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    DWORD system;

    for (;;) {
        *pipe = endpoint_open_pipe(full);
        if (*pipe != INVALID_HANDLE_VALUE)
            return 0;
        system = GetLastError();
        if (system == ERROR_PIPE_BUSY) {
            now = GetTickCount64();
            if (timeout_ms >= 0 && now >= deadline)
                return error_detail(XF_ETIMEDOUT, "%s does not accept connections", name);
            if (WaitNamedPipeW(full, timeout_ms < 0 ? NMPWAIT_WAIT_FOREVER : (DWORD)(deadline - now)) ||
                GetLastError() == ERROR_SEM_TIMEOUT)
                continue;
            system = GetLastError();
        }
        return endpoint_is_missing(system) ? error_detail(XF_ENOENT, "no process listens as %s", name)
                                           : os_error(system, "CreateFileW of a pipe");
    }
}

int os_endpoint_connect(os_channel **channel, const char *name, int timeout_ms)
{
    wchar_t full[NAME_SIZE];
    HANDLE pipe;
    int rc = endpoint_name_pipe(name, full, NULL);

    if (rc == 0)
        rc = endpoint_connect(name, full, timeout_ms, &pipe);
    if (rc < 0)
        return rc;
    rc = endpoint_check_owner(pipe, name);
    if (rc == 0)
        return endpoint_make_channel(channel, pipe, STREAM_CONNECTED);
    CloseHandle(pipe);
    return rc;
}
