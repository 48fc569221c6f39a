/* Goal: whatever a task has started ends with its child, in whichever group or session it is; no child can be kept from
 * being killed by what it does to its own group; and how it ended is known whatever the program does about SIGCHLD.
 * POSIX only: on Windows a job has them all (orphans_test.c). */
#include "process/call.h"
#include "program.h"
#include "protocol/black_box.h"
#include "tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { END_MS = 20000 };

/* ---- Tasks ----------------------------------------------------------------------------------- */

typedef enum escape { GROUP, SESSION, ORPHAN, ORPHANS_CHILD, ESCAPES } escape;

static const char *const escapes[] = {"group", "session", "orphan", "orphan's child"};

static _Noreturn void sleep_on(void)
{
    for (;;)
        pause();
}

/* Becomes what the task leaves behind, and writes its id to the pipe. */
static _Noreturn void escape_as(escape how, int told)
{
    pid_t own;

    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    how == GROUP ? (void)setpgid(0, 0) : (void)setsid();
    if (how >= ORPHAN && fork() != 0)
        _exit(0);
    if (how == ORPHANS_CHILD) {
        setsid();
        if (fork() != 0)
            sleep_on();
    }
    own = getpid();
    (void)!write(told, &own, sizeof own);
    for (int fd = 0; fd < 256; fd++)
        close(fd);
    sleep_on();
}

static pid_t start_escaped(escape how)
{
    int ends[2];
    pid_t first, escaped = 0;

    if (pipe(ends) < 0)
        return 0;
    first = fork();
    if (first == 0)
        escape_as(how, ends[1]);
    (void)!read(ends[0], &escaped, sizeof escaped);
    close(ends[0]);
    close(ends[1]);
    if (how == ORPHAN || how == ORPHANS_CHILD)
        waitpid(first, NULL, 0);
    return escaped;
}

typedef enum after { WAITS, RETURNS, CRASHES, EXITS } after;

typedef struct order {
    escape how;
    after after;
} order;

static int go_on(after after)
{
    if (after == WAITS)
        sleep_on();
    if (after == CRASHES)
        abort();
    if (after == EXITS)
        exit(3);
    return 0;
}

XF_ENTRY(leave_one)
{
    order order;
    size_t size;

    memcpy(&order, xf_call_input(call, &size), sizeof order);
    send_number(call, start_escaped(order.how));
    return go_on(order.after);
}

/* Prints the id, because nothing can be sent in a pool. */
XF_TASK(leave_and_wait, const int *in, int *out)
{
    (void)call, (void)out;
    printf("%lld\n", (long long)start_escaped((escape)*in));
    fflush(stdout);
    sleep_on();
    return 0;
}

/* Moves itself to the group of a process that it has started, so that nobody is left in its own. */
static pid_t join_another_group(void)
{
    pid_t other = fork();

    if (other == 0)
        sleep_on();
    setpgid(other, other);
    setpgid(0, other);
    return other;
}

static void leave_own_group(void)
{
    join_another_group();
    for (int fd = 3; fd < 256; fd++)
        close(fd);
}

XF_ENTRY(change_group)
{
    send_number(call, 1);
    leave_own_group();
    sleep_on();
    return 0;
}

XF_ENTRY(change_group_and_say)
{
    send_number(call, join_another_group());
    sleep_on();
    return 0;
}

/* Leaves a process behind, takes back what it can of what the program knows of this one, and says so. */
XF_ENTRY(hide_and_leave_one)
{
    pid_t escaped = start_escaped(SESSION);

    join_another_group();
    memset(&call->box->status, 0, sizeof call->box->status);
    send_number(call, escaped);
    sleep_on();
    return 0;
}

XF_TASK(change_group_item, const int *in, int *out)
{
    (void)call;
    if (*in) {
        leave_own_group();
        sleep_on();
    }
    *out = 1;
    return 0;
}

/* The parent of a process; 0 when there is none. */
static int parent_of(const char *pid)
{
    char path[300], line[512], *fields;
    int parent = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    file = fopen(path, "r");
    if (!file)
        return 0;
    fields = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    fclose(file);
    return fields && sscanf(fields, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* Counts the children that a process has, zombies too.
 *   one  Set to one of them. */
static int count_children(int parent, int *one)
{
    DIR *all = opendir("/proc");
    struct dirent *entry;
    int count = 0;

    while (all && (entry = readdir(all)))
        if (atoi(entry->d_name) > 0 && parent_of(entry->d_name) == parent) {
            *one = atoi(entry->d_name);
            count++;
        }
    if (all)
        closedir(all);
    return count;
}

/* Leaves many processes that end at once, and waits until this process is its parent's only child again. */
XF_ENTRY(leave_zombies)
{
    int one;

    (void)call;
    for (int i = 0; i < 20; i++) {
        pid_t middle = fork();
        if (middle == 0) {
            fork();
            _exit(0);
        }
        waitpid(middle, NULL, 0);
    }
    while (count_children(getppid(), &one) > 1)
        ;
    return 0;
}

XF_ENTRY(end_somehow)
{
    after after;
    size_t size;

    memcpy(&after, xf_call_input(call, &size), sizeof after);
    return go_on(after);
}

XF_ENTRY(tell_parents)
{
    send_number(call, getppid());
    sleep_on();
    return 0;
}

/* ---- Descendants ----------------------------------------------------------------------------- */

static xf_process *start_leaving(escape how, after after, int64_t *escaped)
{
    order order = {how, after};
    xf_process *process = start(&leave_one, &order, sizeof order, NULL);

    *escaped = receive_number(process);
    assert_true(*escaped > 0);
    return process;
}

static void expect_gone(int64_t pid, const char *what)
{
    bool is_gone = support_has_ended(pid, END_MS);

    if (!is_gone)
        support_kill(pid);
    if (!is_gone)
        fail_msg("%s lives on", what);
}

static void a_kill_takes_each_descendant(void **state)
{
    (void)state;
    for (int how = 0; how < ESCAPES; how++) {
        int64_t escaped;
        xf_process *process = start_leaving((escape)how, WAITS, &escaped);
        assert_true(support_alive(escaped));
        xf_process_kill(process);
        expect_end(process, XF_END_TERMINATED, 0);
        expect_gone(escaped, escapes[how]);
    }
}

static void each_end_takes_each_descendant(void **state)
{
    static const struct {
        after after;
        xf_end kind;
        int code;
    } ends[] = {{RETURNS, XF_END_DONE, 0}, {CRASHES, XF_END_CRASHED, XF_CRASH_ABORT}, {EXITS, XF_END_EXITED, 3}};

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (int how = 0; how < ESCAPES; how++) {
            int64_t escaped;
            xf_process *process = start_leaving((escape)how, ends[i].after, &escaped);
            expect_end(process, ends[i].kind, ends[i].code);
            expect_gone(escaped, escapes[how]);
        }
}

static void a_kill_from_outside_takes_each_descendant(void **state)
{
    (void)state;
    for (int how = 0; how < ESCAPES; how++) {
        int64_t escaped;
        xf_process *process = start_leaving((escape)how, WAITS, &escaped);
        support_kill(xf_process_pid(process));
        expect_end(process, XF_END_KILLED, 0);
        expect_gone(escaped, escapes[how]);
    }
}

static void a_neighbours_descendants_live_on(void **state)
{
    int64_t escaped[2];
    xf_process *one = start_leaving(ORPHAN, WAITS, &escaped[0]), *other = start_leaving(ORPHAN, WAITS, &escaped[1]);

    (void)state;
    xf_process_kill(one);
    expect_end(one, XF_END_TERMINATED, 0);
    expect_gone(escaped[0], "an orphan");
    assert_true(support_alive(escaped[1]));
    xf_process_free(other);
    expect_gone(escaped[1], "an orphan");
}

static void nothing_is_left_unreaped(void **state)
{
    (void)state;
    expect_end(start(&leave_zombies, NULL, 0, NULL), XF_END_DONE, 0);
}

/* Runs a task that leaves one behind in a process or in a pool, and waits. */
static int role_leaves(const char *place, int how)
{
    if (strcmp(place, "pool") == 0) {
        xf_pool *pool;
        int out;
        if (xf_pool_create(&pool, &(xf_pool_options){.workers = 1}) == 0)
            xf_pool_map(pool, &(xf_map){.task = &leave_and_wait, .in = &how, .out = &out, .count = 1});
    } else {
        xf_process_join(start(&leave_and_wait, &how, sizeof how, NULL), NULL, XF_FOREVER);
    }
    return 1;
}

static void the_end_of_the_program_takes_each_descendant(void **state)
{
    static const char *const places[] = {"process", "pool"}, *const ways[] = {"0", "1", "2", "3"};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (int how = 0; how < ESCAPES; how++) {
            const char *const arguments[] = {places[i], ways[how], NULL};
            program *parent = program_start(NULL, arguments, NULL);
            int64_t escaped = program_number(parent);
            assert_true(escaped > 0 && support_alive(escaped));
            support_kill(program_pid(parent));
            expect_gone(escaped, escapes[how]);
            program_end(parent, NULL);
        }
}

/* ---- Another namespace's /proc -------------------------------------------------------------------- */

#define NO_NAMESPACE 77

/* Makes a process with that id in this namespace, which ends with the namespace; false if the system cannot. */
static bool start_stranger(pid_t id)
{
    struct clone_args wanted = {.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&id, .set_tid_size = 1};
    long made = syscall(SYS_clone3, &wanted, sizeof wanted);

    if (made == 0)
        sleep_on();
    return made == id;
}

/* Leaves a process behind that is called otherwise by /proc, and waits until there is one that is called so here. */
XF_ENTRY(leave_one_of_another_name)
{
    int ends[2];
    char name[16] = "";

    if (pipe(ends) < 0)
        return 1;
    if (fork() == 0) {
        setsid();
        (void)!readlink("/proc/self", name, sizeof name - 1);
        (void)!write(ends[1], name, sizeof name);
        sleep_on();
    }
    if (read(ends[0], name, sizeof name) != sizeof name)
        return 1;
    send_number(call, atoi(name));
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

/* As process 1 of a namespace with the /proc of the one around it. */
static int be_first(void)
{
    xf_process *process;
    pid_t stranger;

    if (xf_process_start(&process, &leave_one_of_another_name, NULL, 0, NULL) < 0)
        return 1;
    stranger = (pid_t)receive_number(process);
    if (!start_stranger(stranger))
        return NO_NAMESPACE;
    xf_process_terminate(process);
    xf_process_join(process, NULL, XF_FOREVER);
    xf_process_free(process);
    return waitpid(stranger, NULL, WNOHANG) != 0;
}

static int role_unshares(void)
{
    pid_t first;
    int status;

    if (unshare(CLONE_NEWPID) < 0)
        return NO_NAMESPACE;
    first = fork();
    if (first == 0)
        _exit(be_first());
    return waitpid(first, &status, 0) == first && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void no_stranger_is_taken_for_a_descendant(void **state)
{
    const char *const arguments[] = {"unshares", "", NULL};
    int64_t code;

    (void)state;
    if (!support_limits_memory()) {
        print_message("a sanitizer that looks for leaks needs its own /proc\n");
        skip();
    }
    code = program_end(program_start(NULL, arguments, NULL), NULL);
    if (code == NO_NAMESPACE) {
        print_message("this user can make no namespace of ids, or choose no id in it\n");
        skip();
    }
    assert_int_equal(code, 0);
}

/* ---- A main that does not come to xf_main ---------------------------------------------------- */

/* Starts a child whose main hangs, and prints the id of the process that hangs. */
static int role_hangs(xf_start_method method)
{
    int hanging = 0;
    xf_process *process = NULL;

    setenv("XF_TEST_HANGS", "1", 1);
    if (xf_process_start(&process, &tell_parents, NULL, 0, &(xf_process_options){.start = method}) < 0)
        return 1;
    if (count_children(getpid(), &hanging) != 1)
        return 1;
    printf("%d\n", hanging);
    fflush(stdout);
    xf_process_join(process, NULL, XF_FOREVER);
    return 1;
}

static void a_main_that_hangs_ends_with_the_program(void **state)
{
    static const char *const methods[] = {"spawn", "forkserver"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const char *const arguments[] = {"hangs", methods[i], NULL};
        program *parent = program_start(NULL, arguments, NULL);
        int64_t hanging = program_number(parent);
        assert_true(hanging > 0 && support_alive(hanging));
        support_kill(program_pid(parent));
        expect_gone(hanging, methods[i]);
        program_end(parent, NULL);
    }
}

/* ---- Children that leave their own group ----------------------------------------------------- */

static void a_child_without_its_group_can_be_killed(void **state)
{
    xf_process *process = start(&change_group, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

static void a_child_that_hides_takes_its_descendants(void **state)
{
    xf_process *process = start(&hide_and_leave_one, NULL, 0, NULL);
    int64_t escaped = receive_number(process);

    (void)state;
    assert_true(escaped > 0);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
    expect_gone(escaped, "its descendant");
}

/* By spawn it has no keeper, as its main would lose the thread; what it has started escapes then. */
static void a_child_with_a_thread_before_xf_main_can_be_killed(void **state)
{
    xf_process *process;
    int64_t other;

    (void)state;
    setenv("XF_TEST_THREAD", "1", 1);
    process = start(&change_group_and_say, NULL, 0, NULL);
    unsetenv("XF_TEST_THREAD");
    other = receive_number(process);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
    if (support_alive(other))
        support_kill(other);
}

static void a_child_without_its_group_can_time_out(void **state)
{
    xf_process_options options = {.limits.wall_ms = 300, .grace_ms = 50};

    (void)state;
    expect_end(start(&change_group, NULL, 0, &options), XF_END_TIMED_OUT, 0);
}

static void a_worker_without_its_group_can_time_out(void **state)
{
    int in[] = {0, 1, 0, 0}, out[4] = {0};
    xf_future *future;
    xf_pool *pool;
    xf_process_options process = {.grace_ms = 50};

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1, .process = &process}), 0);
    assert_int_equal(
        xf_pool_map_async(
            &future, pool,
            &(xf_map){.task = &change_group_item, .in = in, .out = out, .count = 4, .chunk = 1, .timeout_ms = 300}),
        0);
    assert_int_equal(xf_future_wait(future, LONGEST_MS), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_string_equal(xf_future_report(future, 1)->kind_name, "timed out");
    xf_future_free(future);
    xf_pool_free(pool);
}

/* ---- Keepers --------------------------------------------------------------------------------- */

static void a_stopped_keeper_holds_nothing_up(void **state)
{
    xf_process *process = start(&tell_parents, NULL, 0, NULL);

    (void)state;
    kill((pid_t)receive_number(process), SIGSTOP);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

static void the_child_of_a_killed_keeper_was_killed(void **state)
{
    xf_process *process = start(&tell_parents, NULL, 0, NULL);
    int64_t pid = xf_process_pid(process);

    (void)state;
    support_kill(receive_number(process));
    expect_end(process, XF_END_KILLED, 0);
    expect_gone(pid, "the child");
}

/* ---- Who reaps ------------------------------------------------------------------------------- */

static void expect_true_ends(void)
{
    static const struct {
        after after;
        xf_end kind;
        int code;
    } ends[] = {{RETURNS, XF_END_DONE, 0}, {CRASHES, XF_END_CRASHED, XF_CRASH_ABORT}, {EXITS, XF_END_EXITED, 3}};

    for (int i = 0; i < 30; i++)
        expect_end(start(&end_somehow, &ends[i % 3].after, sizeof(after), NULL), ends[i % 3].kind, ends[i % 3].code);
}

static void the_end_is_known_when_the_program_ignores_its_children(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    expect_true_ends();
    signal(SIGCHLD, SIG_DFL);
}

static void reap_all(void *stop)
{
    while (!atomic_load((_Atomic bool *)stop))
        waitpid(-1, NULL, WNOHANG);
}

static void the_end_is_known_when_the_program_reaps_everything(void **state)
{
    static _Atomic bool stop;
    uv_thread_t thread;

    (void)state;
    assert_int_equal(uv_thread_create(&thread, reap_all, &stop), 0);
    expect_true_ends();
    atomic_store(&stop, true);
    uv_thread_join(&thread);
}

/* ---- The program ----------------------------------------------------------------------------- */

static void *idle(void *arg)
{
    sleep_on();
    return arg;
}

static void start_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, idle, NULL);
}

static int run_descendants_role(const char *role, const char *argument)
{
    if (strcmp(role, "hangs") == 0)
        return role_hangs(strcmp(argument, "spawn") == 0 ? XF_START_SPAWN : XF_START_FORKSERVER);
    return strcmp(role, "unshares") == 0 ? role_unshares() : role_leaves(role, atoi(argument));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_takes_each_descendant),
        cmocka_unit_test(each_end_takes_each_descendant),
        cmocka_unit_test(a_kill_from_outside_takes_each_descendant),
        cmocka_unit_test(a_neighbours_descendants_live_on),
        cmocka_unit_test(nothing_is_left_unreaped),
        cmocka_unit_test(the_end_of_the_program_takes_each_descendant),
        cmocka_unit_test(no_stranger_is_taken_for_a_descendant),
        cmocka_unit_test(a_main_that_hangs_ends_with_the_program),
        cmocka_unit_test(a_child_without_its_group_can_be_killed),
        cmocka_unit_test(a_child_that_hides_takes_its_descendants),
        cmocka_unit_test(a_child_with_a_thread_before_xf_main_can_be_killed),
        cmocka_unit_test(a_child_without_its_group_can_time_out),
        cmocka_unit_test(a_worker_without_its_group_can_time_out),
        cmocka_unit_test(a_stopped_keeper_holds_nothing_up),
        cmocka_unit_test(the_child_of_a_killed_keeper_was_killed),
        cmocka_unit_test(the_end_is_known_when_the_program_ignores_its_children),
        cmocka_unit_test(the_end_is_known_when_the_program_reaps_everything),
    };

    if (getenv("XF_TEST_HANGS"))
        sleep_on();
    if (getenv("XF_TEST_THREAD"))
        start_thread();
    xf_main(argc, argv);
    return argc > 2 ? run_descendants_role(argv[1], argv[2]) : cmocka_run_group_tests(tests, NULL, NULL);
}
