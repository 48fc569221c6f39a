/* Goal: what the C library does to threads by signals works in a child, also when the program had threads before
 * (POSIX): changing the user, and cancelling a thread. */
#include "tasks.h"

#include <pthread.h>
#include <unistd.h>

static void *sleep_on(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return NULL;
}

XF_TASK(change_user_and_cancel, const int *in, int *out)
{
    pthread_t thread;
    void *end = NULL;

    *out = *in + 1;
    if (pthread_create(&thread, NULL, sleep_on, NULL) != 0)
        return 2;
    if (setresuid(getuid(), getuid(), getuid()) < 0) /* each thread has to do it */
        return 3;
    if (pthread_cancel(thread) != 0 || pthread_join(thread, &end) != 0 || end != PTHREAD_CANCELED)
        return 4;
    return 0;
}

static void threads_can_be_signalled_in_a_child(void **state)
{
    const int in = 1;
    xf_process *process;

    (void)state;
    for (int i = 0; i < 3; i++) {
        process = start(&change_user_and_cancel, &in, sizeof in, NULL);
        assert_string_equal(xf_end_name(join(process).kind), xf_end_name(XF_END_DONE));
        xf_process_free(process);
    }
}

static void threads_can_be_signalled_in_a_worker(void **state)
{
    const int in[3] = {1, 2, 3};
    int out[3];
    xf_pool *pool = NULL;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 2}), 0);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &change_user_and_cancel, .in = in, .out = out, .count = 3}),
                     0);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_can_be_signalled_in_a_child),
        cmocka_unit_test(threads_can_be_signalled_in_a_worker),
    };
    pthread_t thread;

    xf_main(argc, argv);
    if (pthread_create(&thread, NULL, sleep_on, NULL) != 0) /* so that the C library has set its handlers */
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
