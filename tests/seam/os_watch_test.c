/* Goal: both twins keep every sentence of src/os/child.h about watching many children. */
#include "seam.h"

#include <stdlib.h>
#include <uv.h>

static const seam_role roles[] = {
    {0},
};

/* ---- Watching -------------------------------------------------------------------------------- */

/* Children that are watched; the lock, because one of them at a time is another thread's. */
typedef struct crowd {
    uv_loop_t loop;
    uv_mutex_t lock;
    os_watcher *watcher;
    kid kids[100];
    size_t heard[100];
    bool ended[100];
    int left;
} crowd;

static void hear_some(crowd *crowd, uint64_t key)
{
    char part[100];
    size_t count;

    while (os_channel_read(os_child_channel(crowd->kids[key].child, OS_CHANNEL), part, sizeof part, &count, 0) == 0)
        crowd->heard[key] += count;
}

/* Watches the child again until it has ended. */
static void on_ready(uint64_t key, void *arg)
{
    crowd *crowd = arg;
    os_end end;

    uv_mutex_lock(&crowd->lock);
    if (crowd->ended[key])
        goto unlock;
    os_child_unwatch(crowd->kids[key].child);
    hear_some(crowd, key);
    if (os_child_end(crowd->kids[key].child, &end) < 0) {
        assert_int_equal(os_child_watch(crowd->kids[key].child, crowd->watcher, key), 0);
        goto unlock;
    }
    assert_int_equal(end.kind, OS_EXITED);
    hear_some(crowd, key);
    crowd->ended[key] = true;
    if (--crowd->left == 0)
        uv_stop(&crowd->loop);

unlock:
    uv_mutex_unlock(&crowd->lock);
}

static crowd *open_crowd(int size)
{
    crowd *crowd = calloc(1, sizeof *crowd);

    assert_non_null(crowd);
    crowd->left = size;
    assert_int_equal(uv_loop_init(&crowd->loop), 0);
    assert_int_equal(uv_mutex_init(&crowd->lock), 0);
    assert_int_equal(os_watcher_open(&crowd->watcher, &crowd->loop, on_ready, crowd), 0);
    return crowd;
}

static void close_crowd(crowd *crowd)
{
    os_watcher_close(crowd->watcher);
    assert_int_equal(uv_run(&crowd->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&crowd->loop), 0);
    uv_mutex_destroy(&crowd->lock);
    free(crowd);
}

static void a_hundred_children_are_watched(void **state)
{
    crowd *crowd = open_crowd(100);

    (void)state;
    for (uint64_t key = 0; key < 100; key++) {
        crowd->kids[key] = start_role("hello");
        assert_int_equal(os_child_watch(crowd->kids[key].child, crowd->watcher, key), 0);
    }
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    assert_int_equal(crowd->left, 0);
    for (uint64_t key = 0; key < 100; key++) {
        assert_int_equal(crowd->heard[key], strlen("hello\n"));
        close_kid(&crowd->kids[key]);
    }
    close_crowd(crowd);
}

static void watch_from_thread(void *arg)
{
    crowd *crowd = arg;

    uv_mutex_lock(&crowd->lock);
    crowd->kids[0] = start_role("hello");
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    uv_mutex_unlock(&crowd->lock);
}

static void another_thread_may_begin_a_watch(void **state)
{
    crowd *crowd = open_crowd(1);
    uv_thread_t thread;

    (void)state;
    assert_int_equal(uv_thread_create(&thread, watch_from_thread, crowd), 0);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    uv_thread_join(&thread);
    assert_int_equal(crowd->heard[0], strlen("hello\n"));
    close_kid(&crowd->kids[0]);
    close_crowd(crowd);
}

static void a_watch_reports_what_was_there_before(void **state)
{
    crowd *crowd = open_crowd(1);

    (void)state;
    crowd->kids[0] = start_role("hello");
    assert_true(support_sentinel_ready(os_child_sentinel(crowd->kids[0].child), PATIENCE));
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    uv_run(&crowd->loop, UV_RUN_DEFAULT);
    assert_int_equal(crowd->heard[0], strlen("hello\n"));
    close_kid(&crowd->kids[0]);
    close_crowd(crowd);
}

static void unwatching_is_harmless(void **state)
{
    crowd *crowd = open_crowd(1);

    (void)state;
    crowd->kids[0] = start_role("wait");
    os_child_unwatch(crowd->kids[0].child);
    assert_int_equal(os_child_watch(crowd->kids[0].child, crowd->watcher, 0), 0);
    os_child_unwatch(crowd->kids[0].child);
    os_child_unwatch(crowd->kids[0].child);
    crowd->ended[0] = true; /* a call that was under way may still come */
    kill_and_finish(&crowd->kids[0]);
    close_crowd(crowd);
}

/* A watch that is ended as soon as the first of several reasons for it is reported, and is begun again. */
typedef struct restless {
    uv_thread_t thread;
    uv_loop_t loop;
    os_watcher *watcher;
    kid kid;
    int rounds;
} restless;

static void watch_once_more(uint64_t key, void *arg)
{
    restless *restless = arg;

    if (restless->rounds == 0)
        return; /* a call that was under way */
    os_child_unwatch(restless->kid.child);
    if (--restless->rounds > 0)
        assert_int_equal(os_child_watch(restless->kid.child, restless->watcher, key), 0);
    else
        uv_stop(&restless->loop);
}

/* The child has closed its channel and has ended, so there are two reasons at the same time. */
static void be_restless(void *arg)
{
    restless *restless = arg;

    assert_int_equal(uv_loop_init(&restless->loop), 0);
    assert_int_equal(os_watcher_open(&restless->watcher, &restless->loop, watch_once_more, restless), 0);
    restless->kid = start_role("hello");
    assert_true(support_sentinel_ready(os_child_sentinel(restless->kid.child), PATIENCE));
    assert_int_equal(os_child_watch(restless->kid.child, restless->watcher, 0), 0);
    uv_run(&restless->loop, UV_RUN_DEFAULT);
    finish_well(&restless->kid);
    os_watcher_close(restless->watcher);
    assert_int_equal(uv_run(&restless->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&restless->loop), 0);
}

static void watches_may_end_while_they_are_reported(void **state)
{
    enum { THREADS = 4, ROUNDS = 250 };
    restless all[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        all[i].rounds = ROUNDS;
        assert_int_equal(uv_thread_create(&all[i].thread, be_restless, &all[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&all[i].thread);
}

static void use_everything(void)
{
    another_thread_may_begin_a_watch(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_hundred_children_are_watched),          cmocka_unit_test(another_thread_may_begin_a_watch),
    cmocka_unit_test(a_watch_reports_what_was_there_before),   cmocka_unit_test(unwatching_is_harmless),
    cmocka_unit_test(watches_may_end_while_they_are_reported), cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
