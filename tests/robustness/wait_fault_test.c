/* Goal: if any call fails in a wait for many things or in a watch, then the caller gets an error that says why, and
 * nothing is left behind; if no helper thread can be made, the wait still ends in time.
 *
 * A sweep: the first call fails, then the second, and so on until a round passes with no failure. */
#include "faults.h"
#include "leak_check.h"
#include "os/memory.h"
#include "tasks.h"

enum { MOST_ROUNDS = 100, COUNT = 40 };

XF_TASK(stay, const int *in, int *out)
{
    *out = *in;
    (void)xf_stop_requested(call, XF_FOREVER);
    return 0;
}

static xf_wait_item items[COUNT];
static uv_loop_t loop;

/* The last item is a process. */
static void make_items(void)
{
    int n = 0;

    for (int i = 0; i < COUNT - 1; i++) {
        items[i] = (xf_wait_item){.kind = XF_WAIT_EVENT};
        assert_int_equal(xf_event_create(&items[i].event, NULL), 0);
    }
    items[COUNT - 1] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = start(&stay, &n, sizeof n, NULL)};
}

static void free_items(void)
{
    for (int i = 0; i < COUNT - 1; i++)
        xf_event_free(items[i].event);
    xf_process_free(items[COUNT - 1].process);
    assert_int_equal(xf_cleanup(), 0);
}

static void on_ready(xf_watch *watch, const xf_wait_item *ready, int count, void *arg)
{
    assert_int_equal(count, COUNT);
    assert_true(ready[0].ready);
    *(bool *)arg = true;
    xf_watch_stop(watch);
}

static int wait_and_watch(void)
{
    xf_watch *watch;
    bool called = false;
    int rc = xf_wait(items, COUNT, 1);

    rc = rc == XF_ETIMEDOUT
             ? xf_watch_start(&watch, &loop,
                              &(xf_watch_options){.items = items, .count = COUNT, .callback = on_ready, .arg = &called})
             : rc;
    if (rc == 0)
        xf_event_set(items[0].event);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(called, rc == 0);
    return rc;
}

/* A wait that gets no event to sleep on (Windows) polls. */
static int expected(const fault *fault)
{
    return fault && !strstr(fault->name, "CreateEvent") ? fault->code : 0;
}

static const fault *fail_call(int n)
{
    const fault *fault;
    int rc;

    make_items();
    faults_forget_detail();
    faults_arm(n);
    rc = wait_and_watch();
    fault = faults_disarm();
    if (rc != expected(fault) || (rc < 0 && !*xf_error_detail()))
        fail_msg("call %d, %s: %s (%s)", n, fault ? fault->name : "none", xf_err_name(rc), xf_error_detail());
    free_items();
    return fault;
}

/* Makes all that is made once.  The wait is long enough to sleep; a wait of a millisecond may not be. */
static void wait_for_once(void)
{
    make_items();
    assert_int_equal(xf_wait(items, COUNT, 1000), XF_ETIMEDOUT);
    free_items();
    assert_null(fail_call(MOST_ROUNDS));
}

static void waiting_and_watching(void **state)
{
    const fault *fault;
    counts before;
    int n = 0;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    wait_for_once();
    before = count();
    do {
        fault = fail_call(++n);
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    assert_null(fault);
    assert_true(n > 5);
    printf("           %d calls\n", n - 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

enum { WORDS = 300 };

typedef struct sleeper {
    os_shm shm[4];
    os_word words[WORDS];
} sleeper;

static void sleep_until_the_last(void *arg)
{
    sleeper *sleeper = arg;

    while (atomic_load(sleeper->words[WORDS - 1].word) == 0)
        os_shm_wait_any(sleeper->words, WORDS, -1);
}

/* The first thread fails, or the second. */
static void no_thread_to_help(void **state)
{
    sleeper sleeper;
    uv_thread_t thread;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(os_shm_create(&sleeper.shm[i], OS_PAGE, OS_SHM_WAITABLE), 0);
    for (int i = 0; i < WORDS; i++)
        sleeper.words[i] = (os_word){&sleeper.shm[i % 4], (_Atomic uint32_t *)sleeper.shm[i % 4].address + i, 0, NULL};
    for (int n = 1; n <= 2; n++) {
        assert_int_equal(uv_thread_create(&thread, sleep_until_the_last, &sleeper), 0);
        faults_arm(n);
        uv_sleep(10); /* no word changes for a while, so that the thread comes to sleep on them */
        atomic_store(sleeper.words[WORDS - 1].word, 1);
        os_shm_wake(sleeper.words[WORDS - 1].shm, sleeper.words[WORDS - 1].word, OS_ALL);
        uv_thread_join(&thread);
        (void)faults_disarm();
        atomic_store(sleeper.words[WORDS - 1].word, 0);
    }
    for (int i = 0; i < 4; i++)
        os_shm_close(&sleeper.shm[i]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_and_watching),
        cmocka_unit_test(no_thread_to_help),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
