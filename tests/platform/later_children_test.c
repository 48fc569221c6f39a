/* Goal: a child has the rights and surroundings that the program has when the child is started, also when others were
 * started before. */
#include "program.h"
#include "tasks.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct facts {
    uid_t user, effective;
    gid_t group;
    mode_t mask;
    int priority;
    rlim_t files;
    ino_t names; /* the namespace of host names */
} facts;

static facts own_facts(void)
{
    struct rlimit files = {0};
    struct stat names = {0};
    facts own = {.user = getuid(), .effective = geteuid(), .group = getgid()};

    umask(own.mask = umask(0));
    own.priority = getpriority(PRIO_PROCESS, 0);
    getrlimit(RLIMIT_NOFILE, &files);
    own.files = files.rlim_cur;
    stat("/proc/self/ns/uts", &names);
    own.names = names.st_ino;
    return own;
}

XF_TASK(look, const int *in, facts *out)
{
    (void)call, (void)in;
    *out = own_facts();
    return 0;
}

static bool are_equal(const facts *a, const facts *b)
{
    return a->user == b->user && a->effective == b->effective && a->group == b->group && a->mask == b->mask &&
           a->priority == b->priority && a->files == b->files && a->names == b->names;
}

/* Whether a new process, and the worker of a new pool, have what this process has. */
static bool children_are_as_this(void)
{
    facts own = own_facts(), worker = {0};
    int in = 0;
    bool is_equal = false;
    xf_process *process;
    xf_pool *pool;

    if (xf_process_start(&process, &look, &in, sizeof in, NULL) < 0)
        return false;
    if (xf_process_join(process, NULL, LONGEST_MS) == 0 && xf_process_result(process, NULL))
        is_equal = are_equal(xf_process_result(process, NULL), &own);
    xf_process_free(process);
    if (xf_pool_create(&pool, &(xf_pool_options){.workers = 1}) < 0)
        return false;
    is_equal = xf_pool_map(pool, &(xf_map){.task = &look, .in = &in, .out = &worker, .count = 1}) == 0 &&
               are_equal(&worker, &own) && is_equal;
    xf_pool_free(pool);
    return is_equal;
}

static void change_mask(void)
{
    umask(0111);
}

static void change_priority(void)
{
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 1);
}

static void change_limit(void)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur -= 7;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void change_names(void)
{
    if (geteuid() == 0)
        (void)!unshare(CLONE_NEWUTS);
}

static void change_user(void)
{
    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        _exit(9);
}

/* ---- What was started before ------------------------------------------------------------------ */

/* Each start comes before the fork server has read the one before it, which was made by another server. */
static void what_was_started_before_a_change_is_done(void **state)
{
    enum { STARTS = 8 };
    const mode_t mask = umask(0);
    xf_process *processes[STARTS];
    int in = 0;

    (void)state;
    assert_int_equal(xf_cleanup(), 0);
    for (int i = 0; i < STARTS; i++) {
        umask(i % 2 ? 022 : 077);
        processes[i] = start(&look, &in, sizeof in, NULL);
    }
    umask(mask);
    for (int i = 0; i < STARTS; i++)
        expect_end(processes[i], XF_END_DONE, 0);
}

static void a_worker_from_before_a_change_works(void **state)
{
    const mode_t mask = umask(0);
    facts out[4];
    int in[4] = {0};
    xf_pool *pool;

    (void)state;
    assert_int_equal(xf_cleanup(), 0);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1, .eager = true}), 0);
    umask(077);
    expect_end(start(&look, in, sizeof *in, NULL), XF_END_DONE, 0);
    umask(mask);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &look, .in = in, .out = out, .count = 4}), 0);
    xf_pool_free(pool);
}

/* ---- Rights that are given up ----------------------------------------------------------------- */

enum { NOT_ROOT = 77 };

/* Has a server and a copy of this process, which has the server's descriptors, too; then gives up the right to kill
 * that server, and starts a child. */
static int role_drops(void)
{
    enum { PATIENCE_S = 60 };
    int ends[2];
    char byte;
    pid_t copy;

    if (geteuid() != 0)
        return NOT_ROOT;
    alarm(PATIENCE_S); /* ends this process when the start hangs */
    if (!children_are_as_this() || pipe(ends) < 0)
        return 1;
    copy = fork();
    if (copy == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) != 0);
    }
    change_user();
    return copy < 0 || !children_are_as_this() || xf_cleanup() < 0 ? 2 : 0;
}

static void a_server_that_may_not_be_killed_holds_nothing_up(void **state)
{
    const char *const arguments[] = {"drops", NULL};
    int64_t code = program_end(program_start(NULL, arguments, NULL), NULL);

    (void)state;
    if (code == NOT_ROOT) {
        print_message("this user is not root, and has no rights to give up\n");
        skip();
    }
    assert_int_equal(code, 0);
}

/* ---- Each change ------------------------------------------------------------------------------ */

/* Returns the number of the first change that children do not follow; 0: they follow all. */
static int role_changes(void)
{
    void (*const changes[])(void) = {change_mask, change_priority, change_limit, change_names, change_user};
    xf_process *before;
    int in = 0;

    if (!children_are_as_this() || xf_process_start(&before, &look, &in, sizeof in, NULL) < 0)
        return 100;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        changes[i]();
        if (!children_are_as_this())
            return (int)i + 1;
    }
    xf_process_free(before);
    return 0;
}

static void later_children_follow_each_change(void **state)
{
    const char *const arguments[] = {"changes", NULL};

    (void)state;
    assert_int_equal(program_end(program_start(NULL, arguments, NULL), NULL), 0);
}

static int run_role(const char *role)
{
    return strcmp(role, "drops") == 0 ? role_drops() : role_changes();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_children_follow_each_change),
        cmocka_unit_test(what_was_started_before_a_change_is_done),
        cmocka_unit_test(a_worker_from_before_a_change_works),
        cmocka_unit_test(a_server_that_may_not_be_killed_holds_nothing_up),
    };

    xf_main(argc, argv);
    return argc > 1 ? run_role(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
