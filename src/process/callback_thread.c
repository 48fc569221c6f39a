#include "process/callback_thread.h"

#include "base/per_process.h"
#include "base/thread.h"
#include "os/identity.h"

#include <stdlib.h>
#include <string.h>

typedef struct callback_thread {
    uv_mutex_t lock;   /* of everything below, and of the sources; not held while call runs */
    uv_cond_t changed; /* a source was posted, or call has returned, or the thread is to end */
    uv_thread_t thread;
    bool runs, ends;
    callback_source *first, *last; /* that were posted */
    callback_source *current;      /* whose call runs; NULL: none */
} callback_thread;

static callback_thread self;

/* In the thread itself: the generation of its process, + 1, as a child that it forks has no callback thread. */
static _Thread_local uint32_t calls_back_in;

static callback_thread parents; /* in a forked child: it cannot free this, and keeps it in sight of leak checkers */

static void initialize_callback_thread(void)
{
    parents = self;
    memset(&self, 0, sizeof self);
    if (uv_mutex_init(&self.lock) || uv_cond_init(&self.changed))
        abort();
}

static void lock_callback_thread(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, initialize_callback_thread);
    uv_mutex_lock(&self.lock);
}

/* ---- On the thread --------------------------------------------------------------------------- */

static void call_first(void)
{
    callback_source *source = self.first;

    self.first = source->next;
    source->posted = false;
    self.current = source;
    uv_mutex_unlock(&self.lock);
    source->call(source);
    uv_mutex_lock(&self.lock);
    self.current = NULL;
    uv_cond_broadcast(&self.changed);
}

static void run_callbacks(void *arg)
{
    (void)arg;
    calls_back_in = os_self_generation() + 1;
    uv_mutex_lock(&self.lock);
    while (self.first || !self.ends) {
        if (self.first)
            call_first();
        else
            uv_cond_wait(&self.changed, &self.lock);
    }
    uv_mutex_unlock(&self.lock);
}

bool callback_thread_is_this(void)
{
    return calls_back_in == os_self_generation() + 1;
}

/* ---- On other threads ------------------------------------------------------------------------ */

int callback_thread_add(callback_source *source)
{
    int rc = 0;

    lock_callback_thread();
    if (!self.runs) {
        rc = thread_start(&self.thread, run_callbacks, NULL);
        self.runs = rc == 0;
    }
    if (rc == 0)
        source->added = true;
    uv_mutex_unlock(&self.lock);
    return rc;
}

static void forget_post(callback_source *source)
{
    callback_source **at = &self.first;

    self.last = NULL;
    while (*at) {
        if (*at == source) {
            *at = source->next;
            continue;
        }
        self.last = *at;
        at = &(*at)->next;
    }
    source->posted = false;
}

void callback_thread_remove(callback_source *source)
{
    lock_callback_thread();
    source->added = false;
    if (source->posted)
        forget_post(source);
    while (self.current == source && !callback_thread_is_this())
        uv_cond_wait(&self.changed, &self.lock);
    uv_mutex_unlock(&self.lock);
}

void callback_thread_enter(callback_source *source)
{
    lock_callback_thread();
    self.current = source;
    uv_mutex_unlock(&self.lock);
}

void callback_thread_post(callback_source *source)
{
    lock_callback_thread();
    if (source->added && !source->posted) {
        source->posted = true;
        source->next = NULL;
        if (self.first)
            self.last->next = source;
        else
            self.first = source;
        self.last = source;
        uv_cond_broadcast(&self.changed);
    }
    uv_mutex_unlock(&self.lock);
}

void callback_thread_end(void)
{
    lock_callback_thread();
    if (self.runs) {
        self.ends = true;
        uv_cond_broadcast(&self.changed);
        uv_mutex_unlock(&self.lock);
        uv_thread_join(&self.thread);
        uv_mutex_lock(&self.lock);
        self.runs = self.ends = false;
    }
    uv_mutex_unlock(&self.lock);
}
