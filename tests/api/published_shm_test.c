/* Goal: programs that know nothing of each other but a name share memory.  The name ends when the handle that published
 * it is freed, or when its process ends; the memory ends with the last process that has it open; and a program that is
 * silent, hostile or killed does not keep others from it.
 *
 * The other program is this one again, started with "as ROLE NAME".  Programs wait for each other with events in the
 * shared memory, which they could not open otherwise. */
#include "process/process_start.h"
#include "program.h"
#include "rendezvous/connector.h"
#include "rendezvous/handshake.h"
#include "shmem/shm.h"
#include "tasks.h"

enum { PATIENCE_MS = 60000, BYTES = 50000, GROWN = 3000000, LIMIT = 4000000, PROGRAMS = 4 };

static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";
static const uint8_t other_secret[32] = "0123456789abcdef0123456789abcdf";
static const xf_key key = {.bytes = secret, .size = sizeof secret};
static const xf_key other_key = {.bytes = other_secret, .size = sizeof other_secret};

/* At the start of the memory. */
typedef struct board {
    char text[64];
    _Atomic int visitors;
    xf_ref came, go, lock;
    _Alignas(64) char event_places[2][XF_EVENT_BYTES];
    _Alignas(64) char lock_place[XF_LOCK_BYTES];
} board;

_Static_assert(offsetof(board, event_places[1]) % XF_SYNC_ALIGN == 0, "each is where it may be");

/* A handle of the memory, and the objects in it. */
typedef struct table {
    xf_shm *shm;
    board *board;
    xf_event *came, *go; /* a visitor has opened the memory; it may continue */
    xf_lock *lock;
} table;

/* A name that no other run of the tests uses. */
static const char *fresh_name(void)
{
    static char name[OS_NAME_MAX + 1];
    static int number;

    snprintf(name, sizeof name, "named-%lld.%d_", (long long)uv_os_getpid(), number++);
    return name;
}

/* ---- What is shared -------------------------------------------------------------------------- */

static xf_shm *make_shm(void)
{
    xf_shm *shm = NULL;

    assert_int_equal(xf_shm_create(&shm, BYTES, &(xf_shm_options){.limit = LIMIT}), 0);
    return shm;
}

static void expect_published(xf_shm *shm, const char *name, const xf_key *with)
{
    int rc = xf_shm_publish(shm, name, with);

    if (rc < 0)
        print_error("xf_shm_publish: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
}

static xf_shm *expect_found(const char *name, const xf_key *with, xf_shm_access access)
{
    xf_shm *shm = NULL;
    int rc = xf_shm_find(&shm, name, &(xf_shm_find_options){.key = with, .access = access}, PATIENCE_MS);

    if (rc < 0)
        print_error("xf_shm_find: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return shm;
}

static void expect_not_found(const char *name, const xf_key *with, int code, const char *why)
{
    xf_shm *shm;
    int rc = xf_shm_find(&shm, name, &(xf_shm_find_options){.key = with}, PATIENCE_MS);

    if (rc != code || !strstr(xf_error_detail(), why))
        print_error("xf_shm_find: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, code);
    assert_non_null(strstr(xf_error_detail(), why));
}

static xf_sync_place place_at(const table *table, const void *address)
{
    return (xf_sync_place){table->shm, (size_t)((const char *)address - (const char *)table->board)};
}

/* Creates events and a lock in the memory. */
static table lay(xf_shm *shm)
{
    table table = {.shm = shm, .board = xf_shm_data(shm)};
    board *board = table.board;
    xf_event_options came = {.place = place_at(&table, board->event_places[0])};
    xf_event_options go = {.place = place_at(&table, board->event_places[1])};
    xf_lock_options lock = {.place = place_at(&table, board->lock_place)};

    assert_int_equal(xf_event_create(&table.came, &came), 0);
    assert_int_equal(xf_event_create(&table.go, &go), 0);
    assert_int_equal(xf_lock_create(&table.lock, &lock), 0);
    assert_int_equal(xf_event_ref(table.came, &board->came), 0);
    assert_int_equal(xf_event_ref(table.go, &board->go), 0);
    assert_int_equal(xf_lock_ref(table.lock, &board->lock), 0);
    return table;
}

static void close_table(table *table)
{
    xf_lock_free(table->lock);
    xf_event_free(table->go);
    xf_event_free(table->came);
    xf_shm_free(table->shm);
}

/* ---- Roles of another program ---------------------------------------------------------------- */

static void check_role(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s (%s)\n", what, xf_err_name(rc), xf_error_detail());
    exit(2);
}

static table visit_as_role(const char *name)
{
    table table;

    check_role("find", xf_shm_find(&table.shm, name, &(xf_shm_find_options){.key = &key}, PATIENCE_MS));
    table.board = xf_shm_data(table.shm);
    check_role("came", xf_event_open(&table.came, &table.board->came));
    check_role("go", xf_event_open(&table.go, &table.board->go));
    check_role("lock", xf_lock_open(&table.lock, &table.board->lock));
    return table;
}

/* Counts itself, and prints the size. */
static int role_visit(const char *name)
{
    table table = visit_as_role(name);

    atomic_fetch_add(&table.board->visitors, 1);
    printf("%d\n", (int)xf_shm_size(table.shm));
    fflush(stdout);
    close_table(&table);
    return 0;
}

/* Grows the memory, and prints the size once it may continue. */
static int role_grow(const char *name)
{
    table table = visit_as_role(name);
    char *data = xf_shm_data(table.shm);

    check_role("grow", xf_shm_grow(table.shm, GROWN));
    data[GROWN - 1] = 42;
    xf_event_set(table.came);
    check_role("wait", xf_event_wait(table.go, PATIENCE_MS));
    data[LIMIT - 1]++;
    printf("%d\n", (int)xf_shm_size(table.shm));
    fflush(stdout);
    close_table(&table);
    return 0;
}

/* Exits while it owns the lock. */
static int role_lock(const char *name)
{
    table table = visit_as_role(name);

    check_role("lock", xf_lock_acquire(table.lock, PATIENCE_MS));
    xf_event_set(table.came);
    support_kill_self();
}

/* Publishes memory, prints the result, and hangs. */
static int role_publish(const char *name)
{
    xf_shm *shm = make_shm();
    table table = lay(shm);
    int rc = xf_shm_publish(shm, name, &key);

    strcpy(table.board->text, "by a process that will be killed");
    printf("%d\n", rc);
    fflush(stdout);
    if (rc == 0)
        hang();
    close_table(&table);
    return 0;
}

/* Sends the message ASK of the handshake, prints the result, and hangs. */
static int role_ask(const char *name)
{
    static const handshake_key none;
    handshake_session session = {.key = &none, .name = name};
    handshake_message ask = {.kind = HANDSHAKE_ASK, .argument = XF_KIND_SHM};

    check_role("arrive", os_endpoint_connect(&session.channel, name, PATIENCE_MS));
    check_role("ask", handshake_send(&session, &ask, -1));
    printf("0\n");
    fflush(stdout);
    hang();
    return 3;
}

static int run_role(const char *role, const char *name)
{
    static const struct {
        const char *name;
        int (*run)(const char *name);
    } roles[] = {
        {"visit", role_visit}, {"grow", role_grow}, {"lock", role_lock}, {"publish", role_publish}, {"ask", role_ask}};

    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i].name) == 0)
            return roles[i].run(name);
    return 99;
}

static program *start_role(const char *role, const char *name)
{
    const char *const arguments[] = {"as", role, name, NULL};

    return program_start(NULL, arguments, NULL);
}

static void kill_program(program *program)
{
    int64_t pid = program_pid(program);

    support_kill(pid);
    assert_true(support_has_ended(pid, PATIENCE_MS));
    program_end(program, NULL);
}

/* ---- Other programs -------------------------------------------------------------------------- */

static void programs_find_it(void **state)
{
    const char *name = fresh_name();
    table table = lay(make_shm());
    program *programs[PROGRAMS];

    (void)state;
    expect_published(table.shm, name, &key);
    for (int i = 0; i < PROGRAMS; i++)
        programs[i] = start_role("visit", name);
    for (int i = 0; i < PROGRAMS; i++) {
        assert_int_equal(program_number(programs[i]), BYTES);
        assert_int_equal(program_end(programs[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&table.board->visitors), PROGRAMS);
    close_table(&table);
}

static void it_grows_for_all(void **state)
{
    const char *name = fresh_name();
    table table = lay(make_shm());
    char *data = xf_shm_data(table.shm);
    program *program;

    (void)state;
    expect_published(table.shm, name, &key);
    program = start_role("grow", name);
    assert_int_equal(xf_event_wait(table.came, PATIENCE_MS), 0);
    assert_int_equal(xf_shm_size(table.shm), GROWN);
    assert_int_equal(data[GROWN - 1], 42);
    assert_int_equal(xf_shm_grow(table.shm, LIMIT), 0);
    data[LIMIT - 1] = 6;
    xf_event_set(table.go);
    assert_int_equal(program_number(program), LIMIT);
    assert_int_equal(program_end(program, NULL), 0);
    assert_int_equal(data[LIMIT - 1], 7);
    close_table(&table);
}

static void the_death_of_an_owner_of_a_lock_in_it_is_reported(void **state)
{
    const char *name = fresh_name();
    table table = lay(make_shm());
    program *program;

    (void)state;
    expect_published(table.shm, name, &key);
    program = start_role("lock", name);
    assert_int_equal(xf_event_wait(table.came, PATIENCE_MS), 0);
    assert_int_equal(xf_lock_acquire(table.lock, PATIENCE_MS), XF_EOWNERDEAD);
    assert_int_equal(xf_lock_release(table.lock), 0);
    program_end(program, NULL);
    close_table(&table);
}

/* The name is free at once; the memory stays shared. */
static void it_outlives_its_name_whose_owner_is_killed(void **state)
{
    const char *name = fresh_name();
    program *owner = start_role("publish", name), *holder;
    xf_shm *shm, *other;
    table table;

    (void)state;
    assert_int_equal(program_number(owner), 0);
    shm = expect_found(name, &key, XF_SHM_WRITE);
    table = (struct table){.shm = shm, .board = xf_shm_data(shm)};
    assert_int_equal(xf_event_open(&table.came, &table.board->came), 0);
    assert_int_equal(xf_event_open(&table.go, &table.board->go), 0);
    holder = start_role("grow", name);
    assert_int_equal(xf_event_wait(table.came, PATIENCE_MS), 0);
    kill_program(owner);

    expect_not_found(name, &key, XF_ENOENT, name);
    assert_string_equal(table.board->text, "by a process that will be killed");
    other = make_shm();
    expect_published(other, name, NULL);
    assert_int_equal(xf_shm_grow(shm, LIMIT), 0);
    xf_event_set(table.go);
    assert_int_equal(program_number(holder), LIMIT);
    assert_int_equal(program_end(holder, NULL), 0);
    assert_int_equal(((char *)table.board)[LIMIT - 1], 1);
    xf_shm_free(other);
    expect_published(shm, name, &key); /* published by a program that has opened it by name */
    other = expect_found(name, &key, XF_SHM_READ);
    assert_string_equal(xf_shm_data(other), "by a process that will be killed");
    xf_shm_free(other);
    close_table(&table);
    expect_not_found(name, &key, XF_ENOENT, name);
}

/* ---- The family ------------------------------------------------------------------------------ */

typedef struct errand {
    char name[OS_NAME_MAX + 1];
    xf_ref ref; /* of the memory to publish */
} errand;

XF_TASK(write_to_what_is_for_reading, const errand *in, int *out)
{
    xf_shm *shm;

    *out = xf_shm_find(&shm, in->name, &(xf_shm_find_options){.access = XF_SHM_READ}, PATIENCE_MS);
    if (*out == 0 && xf_shm_grow(shm, GROWN) != XF_ESTATE)
        return xf_fail(call, 1, "it grew");
    if (*out == 0)
        *(volatile char *)xf_shm_data(shm) = 1;
    return 0;
}

/* Publishes memory of its own, reports that, and publishes the referenced memory under another name. */
XF_TASK(publish, const errand *in, int *out)
{
    xf_shm *shm;

    *out = xf_shm_create(&shm, BYTES, NULL);
    if (*out == 0)
        *out = xf_shm_publish(shm, in->name, NULL);
    if (*out == 0)
        strcpy(xf_shm_data(shm), "a child's");
    send_number(call, *out);
    xf_stop_requested(call, XF_FOREVER);
    return *out;
}

XF_TASK(open_passed_on, const errand *in, int *out)
{
    xf_shm *shm;

    (void)call;
    *out = xf_shm_open(&shm, &in->ref, XF_SHM_WRITE);
    if (*out == 0) {
        strcat(xf_shm_data(shm), " and another's");
        xf_shm_free(shm);
    }
    return 0;
}

/* Reports that it runs, and runs until it is stopped. */
XF_TASK(stay, const errand *in, int *out)
{
    (void)in;
    *out = 0;
    send_number(call, 1);
    xf_stop_requested(call, XF_FOREVER);
    return 0;
}

static errand errand_with(const char *name)
{
    errand errand = {.name = ""};

    strcpy(errand.name, name);
    return errand;
}

static void stop(xf_process *process)
{
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

static void what_is_for_reading_cannot_be_written_to(void **state)
{
    errand errand = errand_with(fresh_name());
    xf_shm *shm = make_shm();

    (void)state;
    expect_published(shm, errand.name, NULL);
    expect_end(start(&write_to_what_is_for_reading, &errand, sizeof errand, NULL), XF_END_CRASHED, XF_CRASH_ACCESS);
    assert_int_equal(*(char *)xf_shm_data(shm), 0);
    xf_shm_free(shm);
}

static void a_child_publishes_and_what_was_found_is_passed_on(void **state)
{
    errand errand = errand_with(fresh_name());
    xf_process *child = start(&publish, &errand, sizeof errand, NULL);
    xf_shm *shm;

    (void)state;
    assert_int_equal(receive_number(child), 0);
    shm = expect_found(errand.name, NULL, XF_SHM_WRITE);
    stop(child);
    expect_not_found(errand.name, NULL, XF_ENOENT, errand.name);
    assert_int_equal(xf_shm_ref(shm, &errand.ref), 0);
    expect_end(start(&open_passed_on, &errand, sizeof errand, NULL), XF_END_DONE, 0);
    assert_string_equal(xf_shm_data(shm), "a child's and another's");
    xf_shm_free(shm);
}

/* A child does not serve its parent's name, whatever it inherited. */
static void children_do_not_keep_the_name(void **state)
{
    errand errand = errand_with(fresh_name());
    xf_shm *shm = make_shm(), *found;
    xf_process *child;

    (void)state;
    expect_published(shm, errand.name, NULL);
    child = start(&stay, &errand, sizeof errand, NULL);
    receive_number(child);
    xf_shm_free(expect_found(errand.name, NULL, XF_SHM_WRITE));
    xf_shm_free(shm);
    expect_not_found(errand.name, NULL, XF_ENOENT, errand.name);
    shm = make_shm();
    expect_published(shm, errand.name, NULL);
    strcpy(xf_shm_data(shm), "the second");
    found = expect_found(errand.name, NULL, XF_SHM_READ);
    assert_string_equal(xf_shm_data(found), "the second");
    xf_shm_free(found);
    stop(child);
    xf_shm_free(shm);
}

/* The thread that serves the name does not prevent fork. */
static void a_name_changes_no_start_method(void **state)
{
    os_method before, after;
    xf_shm *shm = make_shm();

    (void)state;
    assert_int_equal(xf_cleanup(), 0);
    uv_os_unsetenv("XF_START");
    assert_int_equal(process_start_choose_method(XF_START_DEFAULT, NULL, &before), 0);
    expect_published(shm, fresh_name(), NULL);
    assert_int_equal(process_start_choose_method(XF_START_DEFAULT, NULL, &after), 0);
    assert_int_equal(after, before);
    assert_int_equal(publication_threads(), 1);
    xf_shm_free(shm);
    assert_int_equal(publication_threads(), 0);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void a_name_is_taken_once(void **state)
{
    const char *name = fresh_name();
    xf_shm *shm = make_shm(), *second = make_shm();
    char large[OS_NAME_MAX + 1] = "N";
    xf_listener *listener;
    program *program;

    (void)state;
    strcpy(large + 1, name + 1);
    expect_published(shm, name, &key);
    program = start_role("publish", name);
    assert_int_equal(xf_shm_publish(second, name, NULL), XF_EEXIST);
    assert_non_null(strstr(xf_error_detail(), name));
    assert_int_equal(xf_shm_publish(second, large, NULL), XF_EEXIST);
    assert_int_equal(xf_shm_publish(shm, fresh_name(), NULL), XF_ESTATE);
    assert_int_equal(xf_listener_create(&listener, large, NULL), XF_EEXIST);
    assert_int_equal(program_number(program), XF_EEXIST);
    assert_int_equal(program_end(program, NULL), 0);
    xf_shm_free(expect_found(large, &key, XF_SHM_WRITE));
    xf_shm_free(shm);
    expect_published(second, large, NULL);
    xf_shm_free(second);
}

static void run_acceptor(void *arg)
{
    xf_pipe *pipe;

    assert_int_equal(xf_listener_accept(arg, &pipe, XF_FOREVER), XF_EEND);
}

static void a_listener_is_no_memory_and_memory_no_listener(void **state)
{
    const char *name = fresh_name();
    xf_shm *shm = make_shm();
    xf_listener *listener;
    uv_thread_t thread;
    xf_pipe *pipe;

    (void)state;
    assert_int_equal(xf_listener_create(&listener, name, NULL), 0);
    assert_int_equal(xf_shm_publish(shm, name, NULL), XF_EEXIST);
    assert_int_equal(uv_thread_create(&thread, run_acceptor, listener), 0);
    expect_not_found(name, NULL, XF_EINVAL, name);
    xf_listener_stop(listener);
    uv_thread_join(&thread);
    xf_listener_free(listener);
    expect_published(shm, name, NULL);
    assert_int_equal(xf_connect(&pipe, name, NULL, PATIENCE_MS), XF_EINVAL);
    xf_shm_free(shm);
}

static void what_is_asked_for_is_checked(void **state)
{
    xf_shm *shm = make_shm(), *found;
    xf_key bad = {.bytes = secret, .size = 15};

    (void)state;
    assert_int_equal(xf_shm_publish(shm, "a/b", NULL), XF_EINVAL);
    assert_int_equal(xf_shm_find(&found, "a/b", NULL, 0), XF_EINVAL);
    assert_int_equal(xf_shm_publish(shm, "x", &bad), XF_EINVAL);
    assert_int_equal(xf_shm_find(&found, "x", &(xf_shm_find_options){.key = &bad}, 0), XF_EINVAL);
    assert_int_equal(xf_shm_find(&found, "x", &(xf_shm_find_options){.access = (xf_shm_access)2}, 0), XF_EINVAL);
    expect_published(shm, fresh_name(), NULL); /* none of these was published */
    xf_shm_free(shm);
}

static void a_process_with_another_key_is_refused(void **state)
{
    const char *name = fresh_name();
    xf_shm *shm = make_shm();

    (void)state;
    expect_published(shm, name, &key);
    expect_not_found(name, &other_key, XF_EACCESS, "another key");
    expect_not_found(name, NULL, XF_EACCESS, "requires a key");
    xf_shm_free(expect_found(name, &key, XF_SHM_WRITE));
    xf_shm_free(shm);
    shm = make_shm();
    name = fresh_name();
    expect_published(shm, name, NULL);
    expect_not_found(name, &key, XF_EACCESS, "no key");
    xf_shm_free(expect_found(name, NULL, XF_SHM_WRITE));
    xf_shm_free(shm);
}

/* ---- Visitors who do not say what they should ------------------------------------------------ */

/* Returns the number of handles once everything of earlier tests has ended. */
static size_t handles_at_rest(void)
{
    assert_int_equal(xf_cleanup(), 0);
    return support_handles();
}

static void silent_processes_delay_nobody(void **state)
{
    enum { SILENT = 20 };
    const char *name = fresh_name();
    size_t handles = handles_at_rest();
    xf_shm *shm = make_shm();
    os_channel *links[SILENT];

    (void)state;
    expect_published(shm, name, NULL);
    for (int i = 0; i < SILENT; i++)
        assert_int_equal(os_endpoint_connect(&links[i], name, PATIENCE_MS), 0);
    xf_shm_free(expect_found(name, NULL, XF_SHM_WRITE));
    xf_shm_free(shm); /* while the visitors are connected */
    expect_not_found(name, NULL, XF_ENOENT, name);
    for (int i = 0; i < SILENT; i++)
        os_channel_close(links[i]);
    assert_int_equal(support_handles(), handles);
}

static void a_process_that_is_killed_in_the_handshake_is_dropped(void **state)
{
    const char *name = fresh_name();
    xf_shm *shm = make_shm();
    program *program;

    (void)state;
    expect_published(shm, name, NULL);
    program = start_role("ask", name);
    assert_int_equal(program_number(program), 0);
    xf_shm_free(expect_found(name, NULL, XF_SHM_WRITE));
    kill_program(program);
    xf_shm_free(expect_found(name, NULL, XF_SHM_WRITE));
    xf_shm_free(shm);
}

/* A visitor keeps the memory that it got, even if the name ends before it could acknowledge that. */
static void a_name_that_ends_during_the_handshake_is_reported(void **state)
{
    size_t handles = handles_at_rest(), mappings = support_mappings();
    const char *name = fresh_name();
    xf_shm *shm = make_shm();
    connector connector;

    (void)state;
    expect_published(shm, name, NULL);
    assert_int_equal(connector_open(&connector, name, &(xf_key){0}, XF_KIND_SHM, 0, UINT64_MAX), 0);
    xf_shm_free(shm);
    assert_int_equal(connector_close(&connector, 0), XF_EEND);
    assert_int_equal(support_handles(), handles);
    assert_int_equal(support_mappings(), mappings);
}

static _Atomic bool over;

/* Looks the name up until the test ends: it is found or not. */
static void run_seeker(void *arg)
{
    while (!atomic_load(&over)) {
        xf_shm *shm;
        int rc = xf_shm_find(&shm, arg, &(xf_shm_find_options){.access = XF_SHM_READ}, PATIENCE_MS);
        if (rc != 0 && rc != XF_ENOENT && rc != XF_EEND) {
            fprintf(stderr, "xf_shm_find: %s (%s)\n", xf_err_name(rc), xf_error_detail());
            abort();
        }
        if (rc == 0)
            xf_shm_free(shm);
    }
}

static void names_come_and_go_while_others_look(void **state)
{
    enum { SEEKERS = 3, ROUNDS = 30 };
    uv_thread_t seekers[SEEKERS];
    size_t mappings = support_mappings();

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        const char *name = fresh_name();
        xf_shm *shm = make_shm();
        atomic_store(&over, false);
        expect_published(shm, name, NULL);
        for (int i = 0; i < SEEKERS; i++)
            assert_int_equal(uv_thread_create(&seekers[i], run_seeker, (void *)name), 0);
        xf_shm_free(expect_found(name, NULL, XF_SHM_WRITE));
        xf_shm_free(shm);
        atomic_store(&over, true);
        for (int i = 0; i < SEEKERS; i++)
            uv_thread_join(&seekers[i]);
    }
    assert_int_equal(support_mappings(), mappings);
}

/* If another process overwrites the stored sizes, no access goes outside. */
static void sizes_are_not_believed(void **state)
{
    const char *name = fresh_name();
    xf_shm *shm = make_shm(), *found;
    _Atomic uint64_t *shape = shm->object->body; /* the size, and the limit */

    (void)state;
    expect_published(shm, name, NULL);
    atomic_store(&shape[0], UINT64_MAX);
    atomic_store(&shape[1], UINT64_MAX);
    found = expect_found(name, NULL, XF_SHM_WRITE);
    assert_in_range(xf_shm_size(found), LIMIT, LIMIT + OS_PAGE);
    assert_int_equal(xf_shm_grow(found, LIMIT + OS_PAGE + 1), XF_ELIMIT);
    xf_shm_free(found);
    xf_shm_free(shm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_find_it),
        cmocka_unit_test(it_grows_for_all),
        cmocka_unit_test(the_death_of_an_owner_of_a_lock_in_it_is_reported),
        cmocka_unit_test(it_outlives_its_name_whose_owner_is_killed),
        cmocka_unit_test(what_is_for_reading_cannot_be_written_to),
        cmocka_unit_test(a_child_publishes_and_what_was_found_is_passed_on),
        cmocka_unit_test(children_do_not_keep_the_name),
        cmocka_unit_test(a_name_is_taken_once),
        cmocka_unit_test(a_listener_is_no_memory_and_memory_no_listener),
        cmocka_unit_test(what_is_asked_for_is_checked),
        cmocka_unit_test(a_process_with_another_key_is_refused),
        cmocka_unit_test(silent_processes_delay_nobody),
        cmocka_unit_test(a_process_that_is_killed_in_the_handshake_is_dropped),
        cmocka_unit_test(a_name_that_ends_during_the_handshake_is_reported),
        cmocka_unit_test(names_come_and_go_while_others_look),
        cmocka_unit_test(sizes_are_not_believed),
        cmocka_unit_test(a_name_changes_no_start_method), /* the last one, because it removes XF_START */
    };

    if (argc > 3 && strcmp(argv[1], "as") == 0)
        return run_role(argv[2], argv[3]);
    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
