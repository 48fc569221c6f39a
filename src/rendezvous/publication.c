#include "rendezvous/publication.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/per_process.h"
#include "base/thread.h"
#include "rendezvous/acceptor.h"

#include <stdlib.h>
#include <uv.h>

enum { RETRY_MS = 20 };

struct publication {
    acceptor acceptor; /* first: a pointer to the acceptor is one to the publication */
    object *object;
    uv_thread_t thread;
};

/* In a forked copy of the process that published it there is no thread, and the endpoint is the parent's. */
static void publication_let_go(publication *publication)
{
    acceptor_let_go(&publication->acceptor);
    free(publication);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static _Atomic int threads;

static void forget_threads(void)
{
    atomic_store(&threads, 0);
}

/* A forked child has none of its parent's threads. */
static _Atomic int *count_of_threads(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, forget_threads);
    return &threads;
}

int publication_threads(void)
{
    return atomic_load(count_of_threads());
}

/* ---- On its thread --------------------------------------------------------------------------- */

static int grant_object(acceptor *acceptor, const acceptor_pending *pending, xf_ref *ref, void **granted)
{
    publication *publication = (struct publication *)acceptor;

    (void)pending;
    *ref = publication->object->ref;
    *granted = publication;
    return 0;
}

/* The publication keeps the object, so there is nothing to take back. */
static void keep_object(void *granted)
{
    (void)granted;
}

/* Runs until the publication is closed.  When the process has run out of some resource, a connection may still wait in
 * the endpoint; then the next wait would return at once, so the thread sleeps before it tries again. */
static void run_publication(void *arg)
{
    publication *publication = arg;
    void *granted;
    int rc;

    while ((rc = acceptor_accept(&publication->acceptor, &granted, CLOCK_NEVER)) != XF_EEND)
        if (rc < 0 && rc != XF_EACCESS)
            uv_sleep(RETRY_MS);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

int publication_open(publication **out, object *object, const char *name, const xf_key *key)
{
    publication *publication = calloc(1, sizeof *publication);
    int rc;

    if (!publication)
        return error_detail(XF_ENOMEM, "a name for shared memory");
    publication->object = object;
    publication->acceptor.kind = (xf_object_kind)object->ref.kind;
    publication->acceptor.step_timeout_ms = ACCEPTOR_STEP_TIMEOUT_MS;
    publication->acceptor.grant = grant_object;
    publication->acceptor.revoke = keep_object;
    rc = acceptor_open(&publication->acceptor, name, key);
    if (rc < 0)
        goto free_publication;
    rc = thread_start(&publication->thread, run_publication, publication);
    if (rc < 0)
        goto close_acceptor;
    atomic_fetch_add(count_of_threads(), 1);
    *out = publication;
    return 0;

close_acceptor:
    acceptor_close(&publication->acceptor);
free_publication:
    free(publication);
    return rc;
}

void publication_close(publication *publication)
{
    if (!publication)
        return;
    if (!object_is_own(publication->object)) {
        publication_let_go(publication);
        return;
    }
    acceptor_stop(&publication->acceptor);
    uv_thread_join(&publication->thread);
    atomic_fetch_sub(count_of_threads(), 1);
    acceptor_close(&publication->acceptor);
    free(publication);
}
