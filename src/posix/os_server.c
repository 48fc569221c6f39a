/* The server: a small process that forks children on request, so that starting a child costs the same however large the
 * program is.  Requests and reports are datagrams of a SOCK_SEQPACKET pair. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct os_server {
    int requests;
    pid_t pid;
    int pidfd; /* -1: the system has none */
};

/* The descriptors of a request, in the order in which they are sent. */
enum {
    IN_STATUS, /* first, so that a request whose other descriptors are missing can be answered */
    IN_STDIN,
    IN_STDOUT,
    IN_STDERR,
    IN_DIRECTORY,
    IN_CHANNEL,
    IN_LIFELINE,
    IN_BOX,
    IN_EXTRA,
    IN_MAX = IN_EXTRA + OS_INPUTS + 1
};

enum { INLINE_ENVIRONMENT = 65536 };

/* The head of a request.  The environment follows, or is in a segment when it is large. */
typedef server_request request;

/* ---- In the program -------------------------------------------------------------------------- */

int os_server_open(os_server **out)
{
    child_fds fds = {{-1, -1, -1}, -1, -1, -1, -1, {-1, -1}};
    int pair[2] = {-1, -1}, rc, null = -1;
    pid_t pid;
    os_server *server = malloc(sizeof *server);

    if (!server)
        return os_error(ENOMEM, "malloc");
    rc = fd_socketpair(pair, SOCK_SEQPACKET);
    if (rc < 0)
        goto free_server;
    rc = fd_null(&null);
    if (rc < 0)
        goto close_pair;
    fds.stdio[0] = fds.stdio[1] = fds.stdio[2] = null;
    fds.channel = pair[1];
    rc = exec_again(&pid, SERVER_ARGUMENT, environ, &fds);
    if (rc < 0)
        goto close_pair;
    server->requests = pair[0];
    server->pid = pid;
    server->pidfd = pidfd_of(pid);
    if (server->pidfd < 0 && errno != ENOSYS) {
        rc = os_error(errno, "pidfd_open");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        goto close_pair;
    }
    close(null);
    close(pair[1]);
    *out = server;
    return 0;

close_pair:
    fd_close(&null);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
free_server:
    free(server);
    return rc;
}

void os_server_close(os_server *server)
{
    siginfo_t info;

    if (!server)
        return;
    close(server->requests);
    wait_process(server->pidfd, server->pid, &info, WEXITED, NULL);
    fd_close(&server->pidfd);
    free(server);
}

static int send_request(os_server *server, request *head, const char *environment, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(IN_MAX * sizeof(int))];
    } control;
    struct iovec parts[2] = {{head, sizeof *head}, {(char *)environment, head->environment_size}};
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = head->environment_apart ? 1 : 2,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    ssize_t sent;

    control.header =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof *fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
    do
        sent = sendmsg(server->requests, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? os_error(errno, "sendmsg to the server") : 0;
}

int server_start(os_server *server, const os_start *start, const child_fds *fds, int status)
{
    int sent[IN_MAX] = {status,         fds->stdio[0], fds->stdio[1], fds->stdio[2],
                        fds->directory, fds->channel,  fds->lifeline, fds->box};
    size_t count = IN_EXTRA;
    request head = {.box_size = start->box->size};
    os_shm apart = OS_SHM_NONE;
    int rc = XF_ENOMEM;
    char *environment = NULL, **merged = merge_environment(start->environment);

    if (merged)
        environment = flatten_strings(merged, &head.environment_size);
    free(merged);
    if (!environment)
        return os_error(ENOMEM, "malloc");
    for (int i = 0; i < OS_INPUTS; i++) {
        head.access[i] = shm_access_of_child(start->inputs[i]);
        if (head.access[i] == INPUT_NONE)
            continue;
        head.input_sizes[i] = start->inputs[i]->size;
        sent[count++] = fds->inputs[i];
    }
    head.environment_apart = head.environment_size > INLINE_ENVIRONMENT;
    if (head.environment_apart) {
        rc = os_shm_create(&apart, head.environment_size, 0);
        if (rc < 0)
            goto free_environment;
        memcpy(apart.address, environment, head.environment_size);
        sent[count++] = (int)apart.handle;
    }
    rc = send_request(server, &head, environment, sent, count);
    os_shm_close(&apart);

free_environment:
    free(environment);
    return rc;
}

/* ---- In the server --------------------------------------------------------------------------- */

typedef struct served {
    pid_t pid;
    int status;
} served;

typedef struct server {
    int requests;
    os_entry entry;
    served *children;
    size_t count;
    size_t room;
    char *environment; /* the one that was sent last; environ points into it */
    size_t environment_size;
    char **pointers;
} server;

/* Reports to the program how a child ended, or why there is none. */
static void server_report(int status, int error, const siginfo_t *info, const struct rusage *usage)
{
    server_news news;

    memset(&news, 0, sizeof news);
    news.error = error;
    if (info) {
        news.info = *info;
        news.usage = *usage;
    }
    send(status, &news, sizeof news, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(status);
}

static void on_child_end(int number)
{
    (void)number; /* the signal only interrupts ppoll */
}

static void server_reap(server *self)
{
    siginfo_t info = {0};
    struct rusage usage;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        pid_t pid = info.si_pid;
        kill(-pid, SIGKILL); /* before the group's id is free again */
        wait_process(-1, pid, &info, WEXITED, &usage);
        for (size_t i = 0; i < self->count; i++)
            if (self->children[i].pid == pid) {
                server_report(self->children[i].status, 0, &info, &usage);
                self->children[i--] = self->children[--self->count];
            }
        info.si_pid = 0;
    }
}

static _Noreturn void server_end_all(server *self)
{
    for (size_t i = 0; i < self->count; i++) {
        kill(-self->children[i].pid, SIGKILL);
        kill(self->children[i].pid, SIGKILL);
    }
    _exit(0);
}

static os_shm server_map(int fd, size_t size, input_access access)
{
    os_shm shm = shm_map_inherited(fd, size, access);

    if (!shm.address)
        _exit(1);
    return shm;
}

char **server_unflatten(const char *sent, size_t size, char **flat)
{
    size_t count = 0;
    char **pointers;

    for (size_t at = 0; at < size; at += strlen(sent + at) + 1)
        count++;
    *flat = malloc(size + 1);
    pointers = calloc(count + 1, sizeof *pointers);
    if (!*flat || !pointers) {
        free(*flat);
        free(pointers);
        return NULL;
    }
    memcpy(*flat, sent, size);
    count = 0;
    for (size_t at = 0; at < size; at += strlen(*flat + at) + 1)
        pointers[count++] = *flat + at;
    return pointers;
}

/* How many of the inputs before that one the request has. */
static size_t count_inputs(const request *head, int before)
{
    size_t count = 0;

    for (int i = 0; i < before; i++)
        count += head->input_sizes[i] > 0;
    return count;
}

/* Makes the strings the environment of the server, and so of the children that it forks.  Mostly they are that already.
 * Returns 0, or -1 when there is no memory. */
static int server_set_environment(server *self, const char *sent, size_t size)
{
    char **pointers, *flat;

    if (self->environment && size == self->environment_size && memcmp(sent, self->environment, size) == 0)
        return 0;
    pointers = server_unflatten(sent, size, &flat);
    if (!pointers)
        return -1;
    environ = pointers;
    free(self->environment);
    free(self->pointers);
    self->environment = flat;
    self->environment_size = size;
    self->pointers = pointers;
    return 0;
}

static int server_take_environment(server *self, const request *head, const char *environment, const int *received)
{
    char *apart;
    int fd, rc;

    if (!head->environment_apart)
        return server_set_environment(self, environment, head->environment_size);
    fd = received[IN_EXTRA + count_inputs(head, OS_INPUTS)];
    apart = mmap(NULL, head->environment_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (apart == MAP_FAILED)
        return -1;
    apart[head->environment_size - 1] = 0;
    rc = server_set_environment(self, apart, head->environment_size);
    munmap(apart, head->environment_size);
    return rc;
}

/*   kept  Set to the descriptors that stay open. */
static void server_map_inputs(const request *head, const int *received, os_shm inputs[OS_INPUTS], int kept[OS_INPUTS])
{
    for (int i = 0; i < OS_INPUTS; i++) {
        int fd = received[IN_EXTRA + count_inputs(head, i)];
        inputs[i] = OS_SHM_NONE;
        if (head->input_sizes[i] == 0)
            continue;
        inputs[i] = server_map(fd, head->input_sizes[i], head->access[i]);
        kept[i] = head->access[i] == INPUT_WRITABLE ? fd : -1;
    }
}

static _Noreturn void server_run_child(server *self, const request *head, const int *received)
{
    static newborn child;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    child_fds fds = {{received[IN_STDIN], received[IN_STDOUT], received[IN_STDERR]},
                     received[IN_DIRECTORY],
                     received[IN_CHANNEL],
                     received[IN_LIFELINE],
                     -1,
                     {-1, -1}};

    child.channel = CHANNEL_OF(fds.channel);
    child.inherited.channel = &child.channel;
    child.inherited.box = server_map(received[IN_BOX], head->box_size, INPUT_BOX);
    shm_copy_box(&child.inherited.box);
    server_map_inputs(head, received, child.inherited.inputs, fds.inputs);
    child_close_others(&fds);
    child_settle(&fds, child.inherited.box.address);
    limit_self(child.inherited.box.address);
    for (int i = 0; i < 3; i++)
        fd_close(&fds.stdio[i]);
    fd_close(&fds.directory);
    sigaction(SIGCHLD, &standard, NULL); /* undoes the only handler that the server has installed */
    child_catch_faults(child.inherited.box.address);
    self->entry(&child.inherited);
    abort();
}

static bool server_make_room(server *self)
{
    size_t room = self->room ? 2 * self->room : 64;
    served *children;

    if (self->count < self->room)
        return true;
    children = realloc(self->children, room * sizeof *children);
    if (!children)
        return false;
    self->children = children;
    self->room = room;
    return true;
}

static void server_serve(server *self, const request *head, const char *environment, const int *received)
{
    pid_t pid = -1;

    errno = ENOMEM;
    if (server_make_room(self) && server_take_environment(self, head, environment, received) == 0)
        pid = fork();
    if (pid == 0)
        server_run_child(self, head, received);
    if (pid < 0) {
        server_report(received[IN_STATUS], errno, NULL, NULL);
        return;
    }
    setpgid(pid, pid);
    self->children[self->count++] = (served){pid, received[IN_STATUS]};
}

typedef struct received_request {
    request head;
    char environment[INLINE_ENVIRONMENT + 1];
} received_request;

/* Receives one request and its descriptors.  Returns the request's size, 0 when the program has ended, or -1 to try
 * again. */
static ssize_t receive_request(server *self, received_request *into, int *fds, size_t *count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(IN_MAX * sizeof(int))];
    } control;
    struct iovec part = {into, sizeof *into};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(self->requests, &message, MSG_CMSG_CLOEXEC);

    *count = 0;
    if (size > 0 && message.msg_controllen >= CMSG_LEN(sizeof *fds)) {
        *count = (control.header.cmsg_len - CMSG_LEN(0)) / sizeof *fds;
        memcpy(fds, CMSG_DATA(&control.header), *count * sizeof *fds);
    }
    return size;
}

/* How many descriptors the request must come with. */
static size_t descriptors_of(const request *head)
{
    return IN_EXTRA + count_inputs(head, OS_INPUTS) + head->environment_apart;
}

bool server_is_whole(const request *head, size_t size, size_t descriptors, const char *inside)
{
    size_t environment = size < sizeof *head ? 0 : size - sizeof *head;

    if (size < sizeof *head || descriptors != descriptors_of(head) || head->box_size < sizeof(os_status))
        return false;
    if (head->environment_apart)
        return environment == 0 && head->environment_size > 0;
    return environment == head->environment_size && (environment == 0 || inside[environment - 1] == 0);
}

/* Receives one request and serves it; false when the program has ended. */
static bool server_take_request(server *self)
{
    static received_request received;
    int fds[IN_MAX];
    size_t count;
    ssize_t size = receive_request(self, &received, fds, &count);

    if (size == 0)
        return false;
    if (size < 0)
        return errno != EBADF && errno != ENOTCONN;
    if (server_is_whole(&received.head, (size_t)size, count, received.environment))
        server_serve(self, &received.head, received.environment, fds);
    else if (count > IN_STATUS)
        server_report(fds[IN_STATUS], EMFILE, NULL, NULL); /* the process has no number left for some */
    for (size_t i = IN_STATUS + 1; i < count; i++)
        close(fds[i]);
    return true;
}

_Noreturn void server_run(int requests, os_entry entry)
{
    server self = {.requests = requests, .entry = entry};
    struct sigaction action = {.sa_handler = on_child_end};
    struct pollfd waiting = {.fd = requests, .events = POLLIN};
    uint8_t build[OS_BUILD_ID_SIZE];
    sigset_t blocked, open;

    child_drop_pending();
    child_reset_signals(); /* these three are done once here, for all children */
    child_catch_exit();
    os_self_build(build);
    os_self_show("forkserver");
    sigemptyset(&open);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigaction(SIGCHLD, &action, NULL);
    for (;;) {
        int ready = ppoll(&waiting, 1, NULL, &open);
        server_reap(&self);
        if (ready > 0 && !server_take_request(&self))
            server_end_all(&self);
    }
}
