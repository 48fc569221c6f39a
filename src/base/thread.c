#include "base/thread.h"

#include "base/error.h"

typedef struct thread_beginning {
    void (*run)(void *arg);
    void *arg;
    uv_sem_t begun;
} thread_beginning;

static void begin_thread(void *arg)
{
    thread_beginning beginning = *(thread_beginning *)arg;

    uv_sem_post(&((thread_beginning *)arg)->begun);
    beginning.run(beginning.arg);
}

int thread_start(uv_thread_t *thread, void (*run)(void *arg), void *arg)
{
    thread_beginning beginning = {.run = run, .arg = arg};
    int rc = uv_sem_init(&beginning.begun, 0);

    if (rc < 0)
        return error_from_uv(rc, "uv_sem_init");
    rc = uv_thread_create(thread, begin_thread, &beginning);
    if (rc == 0)
        uv_sem_wait(&beginning.begun);
    uv_sem_destroy(&beginning.begun);
    return rc < 0 ? error_from_uv(rc, "uv_thread_create") : 0;
}
