/* Goal: if any call fails while two programs connect, or while one opens memory that the other has published, on either
 * side, then both finish, the failed call returns an error that says why, nothing is left behind, and the listener or
 * the publication still works.
 *
 * A sweep: the first call fails, then the second, and so on until a round passes with no failure. */
#include "base/error.h"
#include "faults.h"
#include "leak_check.h"
#include "os/identity.h"
#include "tasks.h"

#include <stdatomic.h>

enum { MOST_ROUNDS = 400 };

static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";

/* The thread that connects.  One thread serves all rounds, because making a thread takes memory of libuv. */
static struct guest {
    uv_thread_t thread;
    uv_sem_t go, done;
    bool over; /* no more rounds */
    _Atomic bool ended;
    char name[64];
    int rc;
} guest;

static void visit_once(void)
{
    xf_connect_options options = {.key = {.bytes = secret, .size = sizeof secret}};
    xf_pipe *pipe;

    faults_forget_detail();
    guest.rc = xf_connect(&pipe, guest.name, &options, XF_FOREVER);
    if (guest.rc == 0) {
        guest.rc = xf_pipe_send(pipe, "hello", 5, XF_FOREVER);
        xf_pipe_free(pipe);
    }
    assert_true(guest.rc == 0 || *xf_error_detail());
}

static void run_guest(void *unused)
{
    (void)unused;
    faults_forget_detail(); /* the detail and the fault have memory of their own in each thread */
    (void)os_self_thread();
    for (uv_sem_wait(&guest.go); !guest.over; uv_sem_wait(&guest.go)) {
        visit_once();
        atomic_store(&guest.ended, true);
        uv_sem_post(&guest.done);
    }
}

static int receive_once(xf_pipe *pipe)
{
    xf_message message;
    int rc = xf_pipe_receive(pipe, &message, XF_FOREVER);

    if (rc == 0)
        xf_message_free(&message);
    return rc;
}

/* Accepts until the guest has connected, or has ended without.  Returns the first failure. */
static int serve_once(xf_listener *listener)
{
    xf_pipe *pipe;
    int rc, first = 0;

    do {
        faults_forget_detail();
        rc = xf_listener_accept(listener, &pipe, 10);
        assert_true(rc == 0 || *xf_error_detail());
        if (first == 0 && rc != XF_ETIMEDOUT)
            first = rc;
    } while (rc < 0 && !atomic_load(&guest.ended));
    if (rc == 0) {
        rc = receive_once(pipe);
        first = first < 0 ? first : rc;
        xf_pipe_free(pipe);
    }
    return first;
}

/* Returns the result of this side; guest.rc is that of the other side. */
static int connect_both(void)
{
    xf_listener_options options = {.key = {.bytes = secret, .size = sizeof secret}};
    xf_listener *listener;
    int rc = xf_listener_create(&listener, guest.name, &options);

    guest.rc = 0;
    if (rc < 0)
        return rc;
    atomic_store(&guest.ended, false);
    uv_sem_post(&guest.go);
    rc = serve_once(listener);
    uv_sem_wait(&guest.done);
    xf_listener_free(listener);
    return rc;
}

/* Returns whether the call may fail without an error.  Without the file that says when a process began, its id alone
 * names it; without an event to sleep on, a wait polls. */
static bool is_spare(const fault *fault)
{
    return strcmp(fault->name, "open") == 0 || strstr(fault->name, "CreateEvent");
}

static bool is_reported(const fault *fault, int rc)
{
    if (!fault || (rc == 0 && guest.rc == 0 && is_spare(fault)))
        return rc == 0 && guest.rc == 0;
    return rc == fault->code || guest.rc == fault->code;
}

static void connecting(void **state)
{
    counts before;
    const fault *fault;
    int n = 0;

    (void)state;
    (void)os_self_thread();
    assert_int_equal(connect_both(), 0); /* also makes all that is made once */
    before = count();
    do {
        int rc;
        faults_forget_detail();
        faults_arm(++n);
        rc = connect_both();
        fault = faults_disarm();
        if (!is_reported(fault, rc))
            fail_msg("call %d, %s: %s, and %s for the guest", n, fault ? fault->name : "none", xf_err_name(rc),
                     xf_err_name(guest.rc));
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    assert_null(fault);
    printf("           %d calls\n", n - 1);
}

/* ---- Memory with a name ---------------------------------------------------------------------- */

/* Opens the published memory, and checks its content. */
static int find_once(const xf_key *key, xf_shm_access access)
{
    xf_shm *shm;
    int rc = xf_shm_find(&shm, guest.name, &(xf_shm_find_options){.key = key, .access = access}, XF_FOREVER);

    assert_true(rc == 0 || *xf_error_detail());
    if (rc < 0)
        return rc;
    assert_string_equal(xf_shm_data(shm), "the same");
    xf_shm_free(shm);
    return 0;
}

/* Publishes memory, and opens it; if a call failed, opens it again, because the publication still works. */
static int publish_and_find(void)
{
    xf_key key = {.bytes = secret, .size = sizeof secret};
    xf_shm *shm;
    int rc = xf_shm_create(&shm, 100, NULL);

    if (rc < 0)
        return rc;
    strcpy(xf_shm_data(shm), "the same");
    rc = xf_shm_publish(shm, guest.name, &key);
    if (rc == 0) {
        rc = find_once(&key, XF_SHM_READ);
        if (rc < 0)
            assert_int_equal(find_once(&key, XF_SHM_WRITE), 0);
    }
    xf_shm_free(shm);
    return rc;
}

/* A failure on the publication's thread is not reported if the thread succeeds in the end; otherwise the program that
 * connected gets an error, perhaps only that the other side does not answer. */
static bool is_reported_by_name(const fault *fault, int rc)
{
    return fault ? rc == 0 || rc == fault->code || rc == XF_EEND : rc == 0;
}

static void publishing_and_finding(void **state)
{
    counts before;
    const fault *fault;
    int n = 0, reported = 0;

    (void)state;
    assert_int_equal(publish_and_find(), 0);
    before = count();
    do {
        int rc;
        faults_forget_detail();
        faults_arm(++n);
        rc = publish_and_find();
        fault = faults_disarm();
        if (!is_reported_by_name(fault, rc))
            fail_msg("call %d, %s: %s (%s)", n, fault ? fault->name : "none", xf_err_name(rc), xf_error_detail());
        reported += rc < 0 && rc == fault->code;
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    assert_null(fault);
    assert_true(reported > n / 2);
    printf("           %d calls, %d reported\n", n - 1, reported);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connecting),
        cmocka_unit_test(publishing_and_finding),
    };
    int failures;

    xf_main(argc, argv);
    snprintf(guest.name, sizeof guest.name, "fault-test.%lld", (long long)uv_os_getpid());
    if (uv_sem_init(&guest.go, 0) || uv_sem_init(&guest.done, 0) || uv_thread_create(&guest.thread, run_guest, NULL))
        return 99;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    guest.over = true;
    uv_sem_post(&guest.go);
    uv_thread_join(&guest.thread);
    return failures;
}
