/* Goal: when all processes are killed at once while they use all kinds of shared objects, no process survives and
 * nothing is left in the system.
 *
 * A process tree is a program with a pool and two children, each with a child of its own.  All of them use the same
 * queue, pipe, locks, memory and array, without end.  The test kills all of them from outside, in random order, in
 * several rounds. */
#include "program.h"
#include "tasks.h"

enum { ROUNDS = 3, CHILDREN = 2, WORKERS = 2, FAMILY = 1 + 2 * CHILDREN + WORKERS, ROOM = 64, END_MS = 1000 };

/* ---- A family -------------------------------------------------------------------------------- */

/* The input of a child, which passes it on to the next. */
typedef struct refs {
    xf_ref queue, pipe[2], lock, rwlock, semaphore, array;
    char shm[64];    /* the name of published memory */
    int generations; /* of children below the process that gets this */
} refs;

typedef struct things {
    xf_queue *queue;
    xf_pipe *pipe[2];
    xf_lock *lock;
    xf_rwlock *rwlock;
    xf_semaphore *semaphore;
    xf_shm *shm;
    xf_array *array;
} things;

enum { SHM_SIZE = 1 << 16, SHM_LIMIT = 1 << 24, ELEMENTS = 8, LARGE = 20000 };

static void make(things *things)
{
    assert_int_equal(xf_queue_create(&things->queue, &(xf_queue_options){.capacity = 64}), 0);
    assert_int_equal(xf_pipe_create(&things->pipe[0], &things->pipe[1], NULL), 0);
    assert_int_equal(xf_lock_create(&things->lock, NULL), 0);
    assert_int_equal(xf_rwlock_create(&things->rwlock, NULL), 0);
    assert_int_equal(xf_semaphore_create(&things->semaphore, &(xf_semaphore_options){.limit = 2}), 0);
    assert_int_equal(xf_shm_create(&things->shm, SHM_SIZE, &(xf_shm_options){.limit = SHM_LIMIT}), 0);
    assert_int_equal(xf_array_create(&things->array, ELEMENTS, sizeof(int64_t)), 0);
}

static const char *name_of_memory(int64_t head, char name[64])
{
    snprintf(name, 64, "remains-test.%lld", (long long)head);
    return name;
}

static int name(const things *things, refs *refs)
{
    int rc = xf_queue_ref(things->queue, &refs->queue);

    for (int i = 0; rc == 0 && i < 2; i++)
        rc = xf_pipe_ref(things->pipe[i], &refs->pipe[i]);
    if (rc == 0)
        rc = xf_lock_ref(things->lock, &refs->lock);
    if (rc == 0)
        rc = xf_rwlock_ref(things->rwlock, &refs->rwlock);
    if (rc == 0)
        rc = xf_semaphore_ref(things->semaphore, &refs->semaphore);
    if (rc == 0)
        rc = xf_shm_publish(things->shm, name_of_memory(uv_os_getpid(), refs->shm), NULL);
    if (rc == 0)
        rc = xf_array_ref(things->array, &refs->array);
    return rc;
}

static int open_all(things *things, const refs *refs)
{
    int rc = xf_queue_open(&things->queue, &refs->queue);

    for (int i = 0; rc == 0 && i < 2; i++)
        rc = xf_pipe_open(&things->pipe[i], &refs->pipe[i]);
    if (rc == 0)
        rc = xf_lock_open(&things->lock, &refs->lock);
    if (rc == 0)
        rc = xf_rwlock_open(&things->rwlock, &refs->rwlock);
    if (rc == 0)
        rc = xf_semaphore_open(&things->semaphore, &refs->semaphore);
    if (rc == 0)
        rc = xf_shm_find(&things->shm, refs->shm, NULL, XF_FOREVER);
    if (rc == 0)
        rc = xf_array_open(&things->array, &refs->array, sizeof(int64_t));
    return rc;
}

static int use_messages(const things *things, int turn)
{
    static char data[LARGE];
    size_t got;
    int rc = xf_queue_put(things->queue, data, turn % 2 ? LARGE : 50, 0);

    if (rc == 0 || rc == XF_ETIMEDOUT)
        rc = xf_queue_get_into(things->queue, data, sizeof data, &got, 0);
    if (rc == 0 || rc == XF_ETIMEDOUT)
        rc = xf_pipe_send(things->pipe[turn % 2], data, turn % 3 ? LARGE : 50, 0);
    if (rc == 0 || rc == XF_ETIMEDOUT)
        rc = xf_pipe_receive_into(things->pipe[(turn + 1) % 2], data, sizeof data, &got, 0);
    return rc == XF_ETIMEDOUT ? 0 : rc;
}

/* No process ends before all are killed, so no call returns XF_EOWNERDEAD. */
static int use_locks(const things *things, int turn)
{
    int rc = xf_lock_acquire(things->lock, XF_FOREVER);

    if (rc == 0)
        rc = xf_lock_release(things->lock);
    if (rc == 0)
        rc = turn % 2 ? xf_rwlock_write(things->rwlock, XF_FOREVER) : xf_rwlock_read(things->rwlock, XF_FOREVER);
    if (rc == 0)
        rc = xf_rwlock_release(things->rwlock);
    if (rc == 0)
        rc = xf_semaphore_acquire(things->semaphore, XF_FOREVER);
    return rc < 0 ? rc : xf_semaphore_release(things->semaphore);
}

static int use_memory(const things *things, int turn)
{
    size_t size = xf_shm_size(things->shm);
    int rc = xf_lock_acquire(xf_array_lock(things->array), XF_FOREVER);

    if (rc < 0)
        return rc;
    XF_ARRAY_AT(things->array, int64_t, turn % ELEMENTS)++;
    ((volatile char *)xf_shm_data(things->shm))[size - 1] = (char)turn;
    if (turn % 16 == 0 && size + SHM_SIZE <= SHM_LIMIT)
        rc = xf_shm_grow(things->shm, size + SHM_SIZE);
    return rc < 0 ? rc : xf_lock_release(xf_array_lock(things->array));
}

static int use_all(const things *things, int turn)
{
    int rc = use_messages(things, turn);

    if (rc == 0)
        rc = use_locks(things, turn);
    return rc == 0 ? use_memory(things, turn) : rc;
}

/* Reports that it and its descendants are working; ends only if something fails. */
XF_ENTRY(belong)
{
    refs refs = *(const struct refs *)xf_call_input(call, NULL);
    things things;
    int rc = open_all(&things, &refs);

    if (rc == 0 && refs.generations-- > 0) {
        xf_process *below;
        rc = xf_process_start(&below, &belong, &refs, sizeof refs, NULL);
        if (rc == 0 && receive_number(below) < 0)
            rc = XF_ESTATE;
    }
    for (int turn = 0; rc == 0; turn++) {
        rc = use_all(&things, turn);
        if (turn == 10)
            send_number(call, rc);
    }
    return xf_fail(call, rc, "%s: %s", xf_err_name(rc), xf_error_detail());
}

XF_TASK(square, const double *in, double *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

/* The program at the root of the tree. */
static int role_head(void)
{
    xf_pool_options options = {.workers = WORKERS, .eager = true};
    refs refs = {.generations = 1};
    double in[64] = {3}, out[64];
    xf_process *children[CHILDREN];
    things things;
    xf_pool *pool;
    int rc;

    make(&things);
    assert_int_equal(name(&things, &refs), 0);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = start(&belong, &refs, sizeof refs, NULL);
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(receive_number(children[i]), 0);
    for (int turn = 0;; turn++) {
        rc = use_all(&things, turn);
        assert_int_equal(rc, 0);
        assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = 64}), 0);
        printf("%d\n", turn);
        fflush(stdout);
    }
    return 1;
}

/* ---- From outside ---------------------------------------------------------------------------- */

static uint64_t seed = 1;

static size_t random_below(size_t bound)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)(seed >> 33) % bound;
}

static void shuffle(int64_t *pids, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = random_below(i);
        int64_t pid = pids[i - 1];
        pids[i - 1] = pids[other];
        pids[other] = pid;
    }
}

/* No process of the tree runs: neither those that were killed, nor those that were about to start. */
static void expect_nobody(const int64_t *killed, size_t count)
{
    int64_t pids[ROOM];

    for (size_t i = 0; i < count; i++)
        assert_true(support_has_ended(killed[i], END_MS));
    while ((count = support_same_program(pids, ROOM)) > 0)
        for (size_t i = 0; i < count; i++)
            assert_true(support_has_ended(pids[i], END_MS));
}

/* The names of a killed program are free. */
static void expect_free(int64_t head)
{
    char name[64];
    xf_shm *shm;

    assert_int_equal(xf_shm_find(&shm, name_of_memory(head, name), NULL, XF_FOREVER), XF_ENOENT);
    assert_int_equal(xf_shm_create(&shm, 1, NULL), 0);
    assert_int_equal(xf_shm_publish(shm, name, NULL), 0);
    xf_shm_free(shm);
}

/* Returns how many processes there were. */
static size_t kill_a_family(void)
{
    const char *const arguments[] = {"head", NULL};
    program *head = program_start(NULL, arguments, NULL);
    size_t turns = random_below(30), count;
    int64_t pids[ROOM];

    for (size_t i = 0; i <= turns; i++)
        assert_string_not_equal(program_line(head), "");
    count = support_same_program(pids, ROOM);
    assert_in_range(count, FAMILY, ROOM);
    shuffle(pids, count);
    for (size_t i = 0; i < count; i++)
        support_kill(pids[i]);
    expect_nobody(pids, count);
    expect_free(program_pid(head));
    program_end(head, NULL);
    return count;
}

typedef struct names {
    char *text; /* the names, each with a line end before and behind */
    int left;   /* names that are not in the text */
} names;

static void remember(void *arg, const char *name)
{
    names *names = arg;
    size_t size = strlen(names->text);

    names->text = realloc(names->text, size + strlen(name) + 3);
    assert_non_null(names->text);
    sprintf(names->text + size, "%s\n", name);
}

static void look_up(void *arg, const char *name)
{
    char line[4096];
    names *names = arg;

    snprintf(line, sizeof line, "\n%s\n", name);
    if (strstr(names->text, line))
        return;
    print_error("left: %s\n", name);
    names->left++;
}

static names list_names(void)
{
    names names = {malloc(2), 0};

    assert_non_null(names.text);
    strcpy(names.text, "\n");
    support_names(remember, &names);
    return names;
}

static int entries(const char *directory)
{
    uv_fs_t request;
    int count = uv_fs_scandir(NULL, &request, directory, 0, NULL);

    uv_fs_req_cleanup(&request);
    return count;
}

/* Sets the directory for temporary files of this program and of those that it starts. */
static char *set_temporary_directory(void)
{
    static const char *const variables[] = {"TMPDIR", "TMP", "TEMP"};
    static char path[1024];
    size_t size = sizeof path;
    uv_fs_t request;

    assert_int_equal(uv_os_tmpdir(path, &size), 0);
    snprintf(path + size, sizeof path - size, "/crossfork_remains_XXXXXX");
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, path, NULL), 0);
    strcpy(path, request.path);
    uv_fs_req_cleanup(&request);
    for (int i = 0; i < 3; i++)
        assert_int_equal(uv_os_setenv(variables[i], path), 0);
    return path;
}

/* In the first round the system makes things that it keeps. */
static void nothing_and_nobody_is_left(void **state)
{
    char *directory = set_temporary_directory();
    names names = {NULL, 0};
    size_t killed = 0, handles = 0;
    uv_fs_t request;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        killed += kill_a_family();
        if (round == 0) {
            names = list_names();
            handles = support_handles();
        }
        support_names(look_up, &names);
        assert_int_equal(names.left, 0);
        assert_int_equal(entries(directory), 0);
        assert_int_equal(support_handles(), handles);
    }
    assert_int_equal(uv_fs_rmdir(NULL, &request, directory, NULL), 0);
    free(names.text);
    print_message("%d processes killed\n", (int)killed);
}

/* ---- Whether it would be seen ---------------------------------------------------------------- */

static void a_name_that_is_left_is_seen(void **state)
{
    names before = list_names();
    void *made = support_make_name();

    (void)state;
    support_names(look_up, &before);
    assert_int_equal(before.left, 1);
    before.left = 0;
    support_drop_name(made);
    support_names(look_up, &before);
    assert_int_equal(before.left, 0);
    free(before.text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_is_left_is_seen),
        cmocka_unit_test(nothing_and_nobody_is_left),
    };

    xf_main(argc, argv);
    if (argc > 1)
        return role_head();
    support_own_names();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
