/* The server: a small process that forks children on request, so that starting a child costs the same however large the
 * program is.  Requests and reports are datagrams of a SOCK_SEQPACKET pair. */
#include "base/clock.h"
#include "base/error.h"
#include "os/identity.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
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
    int pidfd;       /* -1: the system has none */
    int lifeline[2]; /* as of a child; this process holds both ends */
    pthread_mutex_t lock;
    uint64_t surroundings; /* of this process when the server was started */
    uint32_t generation;   /* of the process that has started it */
    _Atomic int holders;   /* its children, and who has opened it */
    bool is_closed;        /* it is asked for nothing more */
    bool reached;          /* it has come to xf_main */
    bool is_reaped;        /* it has ended, and the next one says how, if that is known */
    siginfo_t end;
};

/* The descriptors of a request, in the order in which they are sent. */
enum {
    IN_NEWS, /* first, so that a request whose other descriptors are missing can be answered */
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

/* ---- The rights and surroundings of this process ---------------------------------------------- */

static void mix(uint64_t *sum, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *sum = (*sum ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
}

/* Adds the lines of proc(5), status, that children inherit. */
static void mix_status(uint64_t *sum)
{
    static const char *const wanted[] = {"Umask",      "Uid",     "Gid",          "Groups",      "Cap",
                                         "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed"};
    char line[4096];
    FILE *file = fopen("/proc/self/status", "re");

    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (strncmp(line, wanted[i], strlen(wanted[i])) == 0)
                mix(sum, line, strlen(line));
    if (file)
        fclose(file);
}

static void mix_place(uint64_t *sum, const char *path)
{
    struct stat facts = {.st_ino = 0};

    (void)stat(path, &facts);
    mix(sum, &facts.st_dev, sizeof facts.st_dev);
    mix(sum, &facts.st_ino, sizeof facts.st_ino);
}

/* Sums up what children inherit of this process besides its directory, streams and environment. */
static uint64_t sum_surroundings(void)
{
    static const char *const places[] = {"/",
                                         "/proc/self/ns/mnt",
                                         "/proc/self/ns/pid_for_children",
                                         "/proc/self/ns/net",
                                         "/proc/self/ns/user",
                                         "/proc/self/ns/ipc",
                                         "/proc/self/ns/uts",
                                         "/proc/self/ns/cgroup"};
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    struct rlimit limit;
    int priority = getpriority(PRIO_PROCESS, (id_t)getpid());

    mix_status(&sum);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        mix_place(&sum, places[i]);
    for (int resource = 0; resource < RLIM_NLIMITS; resource++)
        if (getrlimit(resource, &limit) == 0)
            mix(&sum, &limit, sizeof limit);
    mix(&sum, &priority, sizeof priority);
    return sum;
}

/* ---- In the program -------------------------------------------------------------------------- */

/* Executes the server.  Its main may hang before it comes to xf_main, so the kernel ends it with this process. */
static int execute_server(os_server *server, int socket, int null)
{
    child_fds fds = NO_CHILD_FDS;
    int rc = fd_pipe(server->lifeline);

    if (rc < 0)
        return rc;
    fds.stdio[0] = fds.stdio[1] = fds.stdio[2] = null;
    fds.channel = socket;
    server->surroundings = sum_surroundings();
    fds.lifeline = server->lifeline[0]; /* so that there is a reader when this process has ended */
    rc = exec_again(&server->pid, SERVER_ARGUMENT, environ, &fds);
    if (rc < 0)
        return rc;
    server->is_reaped = false;
    child_arm_lifeline(server->lifeline[0], server->pid, 0);
    server->pidfd = pidfd_of(server->pid);
    return 0;
}

static void close_server_fds(os_server *server)
{
    fd_close(&server->requests);
    fd_close(&server->pidfd);
    fd_close(&server->lifeline[0]);
    fd_close(&server->lifeline[1]);
}

/* Sees whether the server has said that it has come to xf_main.  Where it has ended with requests that it had not read,
 * the system reports that once, before it gives what the server has said.  Called with its lock held. */
static void hear_server(os_server *server)
{
    ssize_t size;
    char said;

    if (server->reached || server->requests < 0)
        return;
    do
        size = recv(server->requests, &said, 1, MSG_PEEK | MSG_DONTWAIT);
    while (size < 0 && (errno == ECONNRESET || errno == EINTR));
    server->reached = size == 1;
}

/* Waits for the server's end and has the system forget it.  One that another part of the program has reaped has ended,
 * too.  False when it has not ended in that time.  Called with its lock held. */
static bool reap_server(os_server *server, int patience_ms)
{
    struct pollfd ended = {.fd = server->pidfd, .events = POLLIN};
    uint64_t deadline = clock_deadline(patience_ms);

    while (!server->is_reaped) {
        int left_ms = clock_left_ms(deadline);
        server->is_reaped = wait_process(server->pidfd, server->pid, &server->end, WEXITED | WNOHANG, NULL) < 0 ||
                            server->end.si_pid != 0;
        if (left_ms == 0)
            break;
        if (!server->is_reaped)
            (void)fd_poll(&ended, 1, server->pidfd < 0 ? 1 : left_ms);
    }
    return server->is_reaped;
}

/* Closes what is left of a server that is asked for nothing more, once it has ended.  Called with its lock held. */
static void clear_server(os_server *server, int patience_ms)
{
    if (!server->is_closed || !reap_server(server, patience_ms))
        return;
    hear_server(server);
    close_server_fds(server);
}

/* Ends a server that nobody needs any more, whatever it is doing.  It has the rights that this process had once, so
 * that this process may not be allowed to kill it; the kernel is, by the lifeline.  A byte is news on that as its end
 * would be, which does not come while a copy of this process has the other end, too. */
static void end_server(os_server *server)
{
    enum { PATIENCE_MS = 2000 }; /* it may wait for a disk */

    if (server->is_reaped)
        return;
    (void)!write(server->lifeline[1], "", 1);
    signal_process(server->pidfd, server->pid, SIGKILL);
    (void)reap_server(server, PATIENCE_MS);
}

static void free_server(os_server *server)
{
    close_server_fds(server);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

os_server *server_hold(os_server *server)
{
    atomic_fetch_add(&server->holders, 1);
    return server;
}

/* A copy of the process that has started the server frees its own memory only. */
void server_let_go(os_server *server)
{
    bool is_own;

    if (!server)
        return;
    is_own = server->generation == os_self_generation();
    if (is_own) {
        pthread_mutex_lock(&server->lock);
        clear_server(server, 0);
        pthread_mutex_unlock(&server->lock);
    }
    if (atomic_fetch_sub(&server->holders, 1) > 1)
        return;
    if (is_own)
        end_server(server);
    free_server(server);
}

int os_server_open(os_server **out)
{
    int pair[2] = {-1, -1}, rc, null = -1;
    os_server *server = malloc(sizeof *server);

    if (!server)
        return os_error(ENOMEM, "malloc");
    *server = (os_server){.requests = -1,
                          .pidfd = -1,
                          .lifeline = {-1, -1},
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .generation = os_self_generation(),
                          .holders = 1,
                          .is_reaped = true};
    rc = fd_socketpair(pair, SOCK_SEQPACKET);
    server->requests = pair[0];
    if (rc == 0)
        rc = fd_null(&null);
    if (rc == 0)
        rc = execute_server(server, pair[1], null);
    fd_close(&null);
    fd_close(&pair[1]);
    if (rc < 0)
        server_let_go(server);
    else
        *out = server;
    return rc;
}

bool os_server_is_current(const os_server *server)
{
    return server->surroundings == sum_surroundings();
}

/* The server reads what it was sent, and then the end: closing would not give it that while a copy of this process has
 * the socket, too. */
void os_server_close(os_server *server)
{
    enum { PATIENCE_MS = 100 }; /* it ends at once, or is waited for again when one of its children is freed */

    if (!server)
        return;
    pthread_mutex_lock(&server->lock);
    server->is_closed = true;
    (void)shutdown(server->requests, SHUT_WR);
    clear_server(server, atomic_load(&server->holders) > 1 ? PATIENCE_MS : 0);
    pthread_mutex_unlock(&server->lock);
    server_let_go(server);
}

/* A process that ends closes its sockets a moment before it can be waited for. */
bool server_has_reached(os_server *server, siginfo_t *info)
{
    enum { PATIENCE_MS = 1000 };
    bool reached;

    pthread_mutex_lock(&server->lock);
    hear_server(server);
    reached = server->reached;
    if (!reached)
        (void)reap_server(server, PATIENCE_MS);
    *info = server->end;
    pthread_mutex_unlock(&server->lock);
    return reached || !info->si_pid;
}

/* Waits until the server has taken some of the requests before.  One that hangs in its main, or is stopped, takes
 * none. */
static bool can_take_request(os_server *server)
{
    struct pollfd room = {.fd = server->requests, .events = POLLOUT};
    enum { PATIENCE_MS = 2000 };
    bool has_room = fd_poll(&room, 1, PATIENCE_MS) == 0;

    errno = ETIMEDOUT;
    return has_room;
}

static int explain_server(os_server *server)
{
    siginfo_t info;

    if (server_has_reached(server, &info))
        return error_detail(XF_EEND, "the server has ended");
    if (info.si_code == CLD_EXITED)
        return error_detail(XF_EMAIN, "the child's main ended with exit code %d before it reached xf_main",
                            info.si_status);
    return error_detail(XF_EMAIN, "signal %d ended the child's main before it reached xf_main", info.si_status);
}

static int send_request(os_server *server, request *head, const char *environment, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(IN_MAX * sizeof(int))];
    } control = {.bytes = {0}}; /* whole, as the kernel reads what is between its parts, too */
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
        sent = sendmsg(server->requests, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && (errno == EINTR || (errno == EAGAIN && can_take_request(server))));
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) /* the latter once, where it has not read all */
        return explain_server(server);
    return sent < 0 ? os_error(errno, "sendmsg to the server") : 0;
}

int server_start(os_server *server, const os_start *start, const child_fds *fds)
{
    int sent[IN_MAX] = {fds->news,      fds->stdio[0], fds->stdio[1], fds->stdio[2],
                        fds->directory, fds->channel,  fds->lifeline, fds->box};
    size_t count = IN_EXTRA;
    request head;
    os_shm apart = OS_SHM_NONE;
    int rc = XF_ENOMEM;
    char *environment = NULL, **merged = merge_environment(start->environment);

    memset(&head, 0, sizeof head); /* its padding is sent, too */
    head.box_size = start->box->size;
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

typedef struct server {
    int requests;
    os_entry entry;
    char *environment; /* the one that was sent last; environ points into it */
    size_t environment_size;
    char **pointers;
} server;

/* Reports to the program why there is no child. */
static void server_refuse(int socket, int error)
{
    keeper_news news = {.error = error};

    keeper_tell(socket, &news);
}

static void on_child_end(int number)
{
    (void)number; /* the signal only interrupts ppoll */
}

/* Lets the system forget the keepers that have ended: what they had to say they have said themselves. */
static void server_reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

static os_shm server_map(int fd, size_t size, input_access access, int news)
{
    os_shm shm = shm_map_inherited(fd, size, access);

    if (!shm.address)
        child_refuse(news, errno);
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
        inputs[i] = server_map(fd, head->input_sizes[i], head->access[i], received[IN_NEWS]);
        kept[i] = head->access[i] == INPUT_WRITABLE ? fd : -1;
    }
}

static _Noreturn void server_run_child(server *self, const request *head, const int *received)
{
    static newborn child;
    child_fds fds = {{received[IN_STDIN], received[IN_STDOUT], received[IN_STDERR]},
                     received[IN_DIRECTORY],
                     received[IN_CHANNEL],
                     received[IN_LIFELINE],
                     -1,
                     received[IN_NEWS],
                     {-1, -1}};

    close(self->requests); /* so that nobody has it once the server has ended */
    child_divide(&fds, true);
    child.channel = CHANNEL_OF(fds.channel);
    child.inherited.channel = &child.channel;
    child.inherited.box = server_map(received[IN_BOX], head->box_size, INPUT_BOX, fds.news);
    shm_copy_box(&child.inherited.box);
    server_map_inputs(head, received, child.inherited.inputs, fds.inputs);
    child_close_others(&fds);
    child_settle(&fds);
    limit_self(child.inherited.box.address);
    for (int i = 0; i < 3; i++)
        fd_close(&fds.stdio[i]);
    fd_close(&fds.directory);
    child_catch_faults(child.inherited.box.address);
    self->entry(&child.inherited);
    abort();
}

static void server_serve(server *self, const request *head, const char *environment, const int *received)
{
    pid_t pid = -1;

    errno = ENOMEM;
    if (server_take_environment(self, head, environment, received) == 0)
        pid = fork();
    if (pid == 0)
        server_run_child(self, head, received);
    if (pid < 0) {
        server_refuse(received[IN_NEWS], errno);
        return;
    }
    setpgid(pid, pid); /* the keeper does it, too, and may be later than the end of the server, which its group gets */
    close(received[IN_NEWS]);
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
    else if (count > IN_NEWS)
        server_refuse(fds[IN_NEWS], EMFILE); /* the process has no number left for some */
    for (size_t i = IN_NEWS + 1; i < count; i++)
        close(fds[i]);
    return true;
}

/* A descriptor of a request could get the number of a standard stream that main has closed, and not be kept. */
static void open_closed_streams(void)
{
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0)
            (void)open("/dev/null", O_RDWR); /* at that number, as it is the lowest free one */
}

_Noreturn void server_run(int requests, os_entry entry)
{
    server self = {.requests = requests, .entry = entry};
    struct sigaction action = {.sa_handler = on_child_end};
    struct pollfd waiting = {.fd = requests, .events = POLLIN};
    uint8_t build[OS_BUILD_ID_SIZE];
    sigset_t blocked, open;

    open_closed_streams();
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
    send(requests, "", 1, MSG_NOSIGNAL); /* it has come to xf_main */
    for (;;) {
        int ready = ppoll(&waiting, 1, NULL, &open);
        server_reap();
        if (ready > 0 && !server_take_request(&self))
            _exit(0);
    }
}
