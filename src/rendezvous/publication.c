#include "rendezvous/publication.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/per_process.h"
#include "rendezvous/acceptor.h"

#include <stdlib.h>
#include <uv.h>

enum { REST_MS = 20 };

struct notice {
    host host; /* first: the notice is its host */
    object *object;
    uv_thread_t thread;
};

/* ---- Threads --------------------------------------------------------------------------------- */

static _Atomic int threads;

static void forget_threads(void)
{
    atomic_store(&threads, 0);
}

/* A forked child has none of its parent's. */
static _Atomic int *own_threads(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, forget_threads);
    return &threads;
}

int notice_threads(void)
{
    return atomic_load(own_threads());
}

/* ---- On its thread --------------------------------------------------------------------------- */

static int grant_object(host *host, const guest *guest, xf_ref *ref, void **given)
{
    notice *notice = (struct notice *)host;

    (void)guest;
    *ref = notice->object->ref;
    *given = notice;
    return 0;
}

/* The object stays as it is. */
static void take_back(void *given)
{
    (void)given;
}

/* Until it is stopped.  When the process has run out of something, the one who was to be let in may still be at the
 * door, so that nothing would be waited for. */
static void run(void *arg)
{
    notice *notice = arg;
    void *given;
    int rc;

    while ((rc = host_serve(&notice->host, &given, CLOCK_NEVER)) != XF_EEND)
        if (rc < 0 && rc != XF_EACCESS)
            uv_sleep(REST_MS);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

int notice_open(notice **out, object *object, const char *name, const xf_key *key)
{
    notice *notice = calloc(1, sizeof *notice);
    int rc;

    if (!notice)
        return error_detail(XF_ENOMEM, "a name for shared memory");
    notice->object = object;
    notice->host.kind = (xf_object_kind)object->ref.kind;
    notice->host.patience_ms = HOST_PATIENCE_MS;
    notice->host.grant = grant_object;
    notice->host.regret = take_back;
    rc = host_open(&notice->host, name, key);
    if (rc < 0)
        goto free_notice;
    rc = uv_thread_create(&notice->thread, run, notice);
    if (rc < 0) {
        rc = error_detail(XF_EPROCESSES, "uv_thread_create: %s", uv_strerror(rc));
        goto close_host;
    }
    atomic_fetch_add(own_threads(), 1);
    *out = notice;
    return 0;

close_host:
    host_close(&notice->host);
free_notice:
    free(notice);
    return rc;
}

void notice_close(notice *notice)
{
    if (!notice)
        return;
    host_stop(&notice->host);
    uv_thread_join(&notice->thread);
    atomic_fetch_sub(own_threads(), 1);
    host_close(&notice->host);
    free(notice);
}
