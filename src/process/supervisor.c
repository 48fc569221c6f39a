#include "process/supervisor.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/per_process.h"
#include "base/thread.h"
#include "lockfree/wake_word.h"
#include "os/identity.h"
#include "os/server.h"
#include "process/callback_thread.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LINGER (1000 * UINT64_C(1000000)) /* nanoseconds for which it stays when nothing is supervised */

enum { NOT_RUNNING, RUNNING, ENDING };

/* A key of the watcher is a slot and its generation, so news that arrive after the slot was freed are recognised. */
typedef struct supervised_slot {
    supervised *supervised;
    uint32_t generation;
    uint32_t next_free;
} supervised_slot;

typedef struct supervisor {
    uv_mutex_t starting; /* held while the thread or the server is started or ended; taken before lock */
    uv_mutex_t lock;
    uv_cond_t on_due_returned;
    int state;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    os_watcher *watcher;
    uint64_t next_check; /* when the timer fires; CLOCK_NEVER: it does not */
    uint64_t idle_since;
    bool end_now;
    supervised_slot *slots;
    uint32_t room;
    uint32_t free; /* first free slot, or room */
    uint32_t count;
    supervised *current; /* whose on_due is being called; NULL: none */
    os_server *server;
    os_shm wake_page;                 /* its first word is the wake word; created when a thread first needs it */
    _Atomic(os_shm *) open_wake_page; /* &wake_page; NULL: not created yet */
} supervisor;

static supervisor self;

static supervisor parents; /* in a forked child: it cannot free this memory, and keeps it in sight of leak checkers */

static void end_at_exit(void);

static void initialize_supervisor(void)
{
    parents = self;
    memset(&self, 0, sizeof self);
    self.wake_page = OS_SHM_NONE;
    if (atexit(end_at_exit) || uv_mutex_init(&self.starting) || uv_mutex_init(&self.lock) ||
        uv_cond_init(&self.on_due_returned))
        abort();
}

static void set_up_supervisor(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, initialize_supervisor);
}

bool supervisor_runs(void)
{
    bool runs;

    set_up_supervisor();
    uv_mutex_lock(&self.lock);
    runs = self.state != NOT_RUNNING;
    uv_mutex_unlock(&self.lock);
    return runs;
}

/* ---- On the thread --------------------------------------------------------------------------- */

static void call_on_due(supervised *supervised)
{
    self.current = supervised;
    uv_mutex_unlock(&self.lock);
    supervised->on_due(supervised);
    uv_mutex_lock(&self.lock);
    self.current = NULL;
    uv_cond_broadcast(&self.on_due_returned);
}

static void on_child_news(uint64_t key, void *arg)
{
    uint32_t at = (uint32_t)key;

    (void)arg;
    uv_mutex_lock(&self.lock);
    if (at < self.room && self.slots[at].supervised && self.slots[at].generation == key >> 32)
        call_on_due(self.slots[at].supervised);
    uv_mutex_unlock(&self.lock);
}

/* Each of them once, though on_due may set a deadline that has passed, too: the others have their turn. */
static void call_all_due(uint64_t now)
{
    for (uint32_t i = 0; i < self.room; i++) {
        supervised *supervised = self.slots[i].supervised;
        if (!supervised || supervised->deadline > now)
            continue;
        supervised->deadline = CLOCK_NEVER;
        call_on_due(supervised);
    }
}

static uint64_t find_next_check(void)
{
    uint64_t next = self.count ? CLOCK_NEVER : self.idle_since + LINGER;

    for (uint32_t i = 0; i < self.room; i++)
        if (self.slots[i].supervised && self.slots[i].supervised->deadline < next)
            next = self.slots[i].supervised->deadline;
    return next;
}

static void close_loop_handles(void)
{
    os_watcher_close(self.watcher);
    uv_close((uv_handle_t *)&self.wake, NULL);
    uv_close((uv_handle_t *)&self.timer, NULL);
}

static void on_supervisor_timer(uv_timer_t *timer);

/* Calls on_due where the deadline has passed, and sets the timer for the next deadline; ends the thread when nothing
 * is supervised. */
static void check_due(void)
{
    uint64_t now = uv_hrtime(), next;

    uv_mutex_lock(&self.lock);
    call_all_due(now);
    next = find_next_check();
    if (self.next_check <= now || next < self.next_check)
        self.next_check = next; /* an earlier time stays: a check for nothing is cheaper than being woken to move it */
    if (self.count == 0 && (self.end_now || next <= now)) {
        self.state = ENDING;
        close_loop_handles();
    } else if (self.next_check != CLOCK_NEVER) {
        uv_update_time(&self.loop);
        uv_timer_start(&self.timer, on_supervisor_timer, (uint64_t)clock_left_ms(self.next_check), 0);
    }
    uv_mutex_unlock(&self.lock);
}

static void on_supervisor_timer(uv_timer_t *timer)
{
    (void)timer;
    check_due();
}

static void on_supervisor_wake(uv_async_t *wake)
{
    (void)wake;
    check_due();
}

static void run_supervisor(void *arg)
{
    (void)arg;
    uv_run(&self.loop, UV_RUN_DEFAULT);
    uv_loop_close(&self.loop);
    callback_thread_end();
    os_server_close(self.server); /* no child is started before this thread was joined */
    self.server = NULL;
    atomic_store(&self.open_wake_page, NULL);
    os_shm_close(&self.wake_page);
}

/* ---- Starting and ending --------------------------------------------------------------------- */

/* Opens the loop and starts the thread.  Called with starting and lock held. */
static int start_thread(void)
{
    int rc = os_loop_open(&self.loop);

    if (rc < 0)
        return rc;
    uv_timer_init(&self.loop, &self.timer);
    rc = uv_async_init(&self.loop, &self.wake, on_supervisor_wake);
    if (rc < 0) {
        rc = error_from_uv(rc, "uv_async_init");
        goto close_timer;
    }
    rc = os_watcher_open(&self.watcher, &self.loop, on_child_news, NULL);
    if (rc < 0)
        goto close_wake;
    self.next_check = CLOCK_NEVER;
    self.end_now = false;
    rc = thread_start(&self.thread, run_supervisor, NULL);
    if (rc < 0)
        goto close_watcher;
    self.state = RUNNING;
    return 0;

close_watcher:
    os_watcher_close(self.watcher);
close_wake:
    uv_close((uv_handle_t *)&self.wake, NULL);
close_timer:
    uv_close((uv_handle_t *)&self.timer, NULL);
    uv_run(&self.loop, UV_RUN_DEFAULT);
    uv_loop_close(&self.loop);
    return rc;
}

static void free_slots(void)
{
    free(self.slots);
    self.slots = NULL;
    self.room = self.free = 0;
}

/* Waits for the end of the thread, which is ending.  Called with starting and lock held. */
static void join_thread(void)
{
    uv_mutex_unlock(&self.lock);
    uv_thread_join(&self.thread);
    uv_mutex_lock(&self.lock);
    free_slots();
    self.state = NOT_RUNNING;
}

/* Ends the thread, unless something is supervised.  Called with starting and lock held. */
static int end_supervisor(void)
{
    if (self.count > 0)
        return error_detail(XF_EBUSY, "%u processes are still open", (unsigned)self.count);
    if (self.state == NOT_RUNNING) {
        free_slots(); /* a thread that could not be started has left them */
        return 0;
    }
    self.end_now = true;
    if (self.state == RUNNING)
        uv_async_send(&self.wake);
    join_thread();
    return 0;
}

int supervisor_end(void)
{
    int rc;

    set_up_supervisor();
    uv_mutex_lock(&self.starting);
    uv_mutex_lock(&self.lock);
    rc = end_supervisor();
    uv_mutex_unlock(&self.lock);
    uv_mutex_unlock(&self.starting);
    return rc;
}

/* Frees everything, so a sanitizer finds no leak, unless another thread holds a lock. */
static void end_at_exit(void)
{
    set_up_supervisor();
    if (uv_mutex_trylock(&self.starting) != 0)
        return;
    if (uv_mutex_trylock(&self.lock) == 0) {
        (void)end_supervisor();
        uv_mutex_unlock(&self.lock);
    }
    uv_mutex_unlock(&self.starting);
}

/* ---- What is supervised ---------------------------------------------------------------------- */

static int make_slots(void)
{
    uint32_t room = self.room ? 2 * self.room : 16;
    supervised_slot *slots = realloc(self.slots, room * sizeof *slots);

    if (!slots)
        return error_detail(XF_ENOMEM, "the table of processes");
    for (uint32_t i = self.room; i < room; i++)
        slots[i] = (supervised_slot){NULL, 1, i + 1};
    self.slots = slots;
    self.room = room;
    return 0;
}

static int add_supervised(supervised *supervised)
{
    int rc;

    if (self.state == ENDING)
        join_thread();
    rc = self.free == self.room ? make_slots() : 0;
    if (rc == 0 && self.state == NOT_RUNNING)
        rc = start_thread();
    if (rc < 0)
        return rc;
    supervised->slot = self.free;
    supervised->deadline = CLOCK_NEVER;
    self.free = self.slots[supervised->slot].next_free;
    self.slots[supervised->slot].supervised = supervised;
    self.count++;
    return 0;
}

int supervisor_add(supervised *supervised)
{
    int rc;

    set_up_supervisor();
    uv_mutex_lock(&self.starting);
    uv_mutex_lock(&self.lock);
    rc = add_supervised(supervised);
    uv_mutex_unlock(&self.lock);
    uv_mutex_unlock(&self.starting);
    return rc;
}

/* Makes the thread check at that time or earlier.  It is woken only if it would sleep longer. */
static void check_by(uint64_t time)
{
    if (time >= self.next_check)
        return;
    self.next_check = time;
    uv_async_send(&self.wake);
}

void supervisor_remove(supervised *supervised)
{
    uv_thread_t caller = uv_thread_self();
    supervised_slot *slot;

    uv_mutex_lock(&self.lock);
    slot = &self.slots[supervised->slot];
    slot->supervised = NULL;
    slot->generation++;
    slot->next_free = self.free;
    self.free = supervised->slot;
    while (self.current == supervised && !uv_thread_equal(&caller, &self.thread))
        uv_cond_wait(&self.on_due_returned, &self.lock);
    if (--self.count == 0) {
        self.idle_since = uv_hrtime();
        check_by(self.idle_since + LINGER);
    }
    uv_mutex_unlock(&self.lock);
}

void supervisor_enter(supervised *supervised)
{
    uv_mutex_lock(&self.lock);
    self.current = supervised;
    uv_mutex_unlock(&self.lock);
}

int supervisor_watch(supervised *supervised, os_child *child)
{
    uint64_t key;

    uv_mutex_lock(&self.lock);
    key = (uint64_t)self.slots[supervised->slot].generation << 32 | supervised->slot;
    uv_mutex_unlock(&self.lock);
    return os_child_watch(child, self.watcher, key);
}

void supervisor_set_deadline(supervised *supervised, uint64_t deadline)
{
    uv_mutex_lock(&self.lock);
    supervised->deadline = deadline;
    check_by(deadline);
    uv_mutex_unlock(&self.lock);
}

/* ---- The wake word --------------------------------------------------------------------------- */

int supervisor_open_wake_word(void)
{
    int rc = 0;

    uv_mutex_lock(&self.lock);
    if (!atomic_load(&self.open_wake_page)) {
        rc = os_shm_create(&self.wake_page, OS_PAGE, OS_SHM_WAITABLE | OS_SHM_PRIVATE);
        if (rc == 0)
            atomic_store(&self.open_wake_page, &self.wake_page);
    }
    uv_mutex_unlock(&self.lock);
    return rc;
}

void supervisor_arm(os_word *word)
{
    wake_word *wake = self.wake_page.address;

    *word = (os_word){&self.wake_page, wake, wake_word_arm(wake), NULL};
}

void supervisor_wake_waiters(void)
{
    os_shm *shm = atomic_load(&self.open_wake_page);

    if (shm)
        wake_word_signal(shm, shm->address);
}

/* ---- The server ------------------------------------------------------------------------------ */

static void close_server(void)
{
    os_server_close(self.server);
    self.server = NULL;
}

/* Starts a child by the server, and another server first when that one turns out to have been killed, or is no longer
 * what this process is. */
static int start_by_server(os_child **child, os_start *start)
{
    int rc = 0;

    if (self.server && !os_server_is_current(self.server))
        close_server();
    for (int attempt = 0; attempt < 2; attempt++) {
        rc = self.server ? 0 : os_server_open(&self.server);
        if (rc < 0)
            return rc;
        start->server = self.server;
        rc = os_child_start(child, start);
        if (rc != XF_EEND && rc != XF_EMAIN)
            return rc;
        close_server();
    }
    return rc == XF_EMAIN ? rc
                          : error_detail(XF_ESYSTEM, "the server of XF_START_FORKSERVER ends as soon as it is started");
}

int supervisor_start_child(os_child **child, os_start *start)
{
    int rc;

    if (start->method != OS_SERVER || !os.has_server)
        return os_child_start(child, start);
    uv_mutex_lock(&self.starting);
    rc = start_by_server(child, start);
    uv_mutex_unlock(&self.starting);
    return rc;
}
