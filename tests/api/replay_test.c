/* Goal: a task that fails in a child is saved, and fails in the same way when it is replayed in one process; broken
 * files and full disks do no harm. */
#include "base/writer.h"
#include "process/replay_file.h"
#include "program.h"
#include "scratch.h"
#include "tasks.h"

#include <unistd.h>

/* ---- A directory for each test --------------------------------------------------------------- */

static char directory[1024];

static int make_directory(void **state)
{
    char pattern[1024];
    size_t size = sizeof pattern - 32;
    uv_fs_t request;

    (void)state;
    assert_int_equal(uv_os_tmpdir(pattern, &size), 0);
    strcat(pattern, "/crossfork-XXXXXX");
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, pattern, NULL), 0);
    snprintf(directory, sizeof directory, "%s", request.path);
    uv_fs_req_cleanup(&request);
    return 0;
}

/* Removes all files of the directory, and returns how many there were. */
static int empty_directory(void)
{
    uv_fs_t request, removal;
    uv_dirent_t entry;
    char path[2048];
    int count = 0;

    assert_true(uv_fs_scandir(NULL, &request, directory, 0, NULL) >= 0);
    while (uv_fs_scandir_next(&request, &entry) == 0) {
        snprintf(path, sizeof path, "%s/%s", directory, entry.name);
        assert_int_equal(uv_fs_unlink(NULL, &removal, path, NULL), 0);
        uv_fs_req_cleanup(&removal);
        count++;
    }
    uv_fs_req_cleanup(&request);
    return count;
}

static int remove_directory(void **state)
{
    uv_fs_t request;

    (void)state;
    empty_directory();
    assert_int_equal(uv_fs_rmdir(NULL, &request, directory, NULL), 0);
    uv_fs_req_cleanup(&request);
    return 0;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

typedef enum way { FAIL, EXIT, FAULT, FINE, WAIT, KILL } way;

typedef struct order {
    way way;
    int number;
} order;

/* The fault is intended: the undefined behaviour sanitizer must let it happen. */
__attribute__((noinline, no_sanitize("undefined", "address"))) static void access_nothing(void)
{
    static int *volatile nothing;

    *nothing = 1;
}

static int carry_out(xf_call *call, const order *order)
{
    xf_log(call, XF_LOG_INFO, "order %d, %d", (int)order->way, order->number);
    switch (order->way) {
    case FAIL:
        return xf_fail(call, order->number, "as ordered");
    case EXIT:
        exit(order->number);
    case FAULT:
        access_nothing();
        return 0;
    case WAIT:
        while (!xf_stop_requested(call, XF_FOREVER))
            continue;
        return 1;
    case KILL:
        support_kill_self();
    default:
        return 0;
    }
}

XF_TASK(obey, const order *in, int *out)
{
    *out = in->number;
    return carry_out(call, in);
}

/* The same, with the order at the end of bytes of any length. */
XF_ENTRY(obey_last)
{
    size_t size;
    const char *in = xf_call_input(call, &size);
    order order;

    memcpy(&order, in + size - sizeof order, sizeof order);
    return carry_out(call, &order);
}

static int encode_order(xf_writer *writer, const void *object)
{
    return xf_writer_put(writer, object, sizeof(order));
}

static int decode_order(const void *data, size_t size, void **object)
{
    if (size != sizeof(order))
        return -1;
    *object = malloc(size);
    memcpy(*object, data, size);
    return 0;
}

static const xf_codec order_codec = {encode_order, decode_order, free};

XF_ENTRY_CODEC(obey_object, &order_codec, NULL)
{
    return carry_out(call, xf_call_object(call));
}

static int learned;

XF_ENTRY(learn)
{
    memcpy(&learned, xf_call_input(call, NULL), sizeof learned);
    return 0;
}

XF_ENTRY(exit_with_what_was_learned)
{
    (void)call;
    exit(learned);
}

/* Returns 10, plus 1 if it has the environment, plus 2 if it has the directory that was set; sends a message. */
XF_ENTRY(look_around)
{
    char path[1024] = "", value[16] = "", gone[16];
    size_t size = sizeof value, length = sizeof path;

    xf_send(call, "x", 1);
    uv_os_getenv("XF_REPLAY_TEST", value, &size);
    uv_cwd(path, &length);
    if (uv_os_getenv("XF_REPLAY_GONE", gone, &(size_t){sizeof gone}) != UV_ENOENT)
        exit(9);
    exit(10 + (strcmp(value, "yes=1") == 0) + 2 * (strstr(path, "crossfork-") != NULL));
}

/* ---- Running again --------------------------------------------------------------------------- */

static int64_t run_again(const char *path)
{
    char setting[2200];
    program *program;

    snprintf(setting, sizeof setting, "XF_REPLAY=%s", path);
    program = program_start(NULL, NULL, setting);
    return program_end(program, NULL);
}

/* Returns the exit code as a shell shows it. */
static int64_t exit_code_of(xf_status status)
{
    if (status.kind == XF_END_FAILED)
        return 1;
    return status.kind == XF_END_EXITED || status.system > 64 ? status.system : 128 + status.system;
}

static xf_process_options saving(void)
{
    return (xf_process_options){.save_failures = directory};
}

static void expect_the_same_again(xf_task *task, const void *input, size_t size, xf_end kind)
{
    const xf_process_options options = saving();
    xf_process *process = start(task, input, size, &options);
    xf_status status = join(process);
    const xf_report *report = xf_process_report(process);

    assert_string_equal(xf_end_name(status.kind), xf_end_name(kind));
    assert_string_not_equal(report->saved, "");
    assert_int_equal(run_again(report->saved), exit_code_of(status));
    xf_process_free(process);
    assert_int_equal(empty_directory(), 1);
}

static void what_fails_fails_the_same_again(void **state)
{
    order orders[] = {{FAIL, 7}, {EXIT, 3}, {FAULT, 0}};

    (void)state;
    expect_the_same_again(&obey, &orders[0], sizeof *orders, XF_END_FAILED);
    expect_the_same_again(&obey, &orders[1], sizeof *orders, XF_END_EXITED);
    expect_the_same_again(&obey, &orders[2], sizeof *orders, XF_END_CRASHED);
    expect_the_same_again(&obey_object, &orders[1], 0, XF_END_EXITED);
}

static void a_large_input_is_saved_whole(void **state)
{
    const size_t size = 5000000;
    const order last = {EXIT, 42};
    char *input = calloc(1, size);

    (void)state;
    memcpy(input + size - sizeof last, &last, sizeof last);
    expect_the_same_again(&obey_last, input, size, XF_END_EXITED);
    free(input);
}

static void what_is_fine_or_given_up_is_not_saved(void **state)
{
    const xf_process_options options = saving();
    order orders[] = {{FINE, 0}, {WAIT, 0}};
    xf_process *process;

    (void)state;
    expect_end(start(&obey, &orders[0], sizeof *orders, &options), XF_END_DONE, 0);
    process = start(&obey, &orders[1], sizeof *orders, &options);
    xf_process_terminate(process);
    assert_int_equal(join(process).kind, XF_END_TERMINATED);
    assert_string_equal(xf_process_report(process)->saved, "");
    xf_process_free(process);
    process = start(&obey, &orders[1], sizeof *orders, &options);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
    assert_int_equal(empty_directory(), 0);
}

static void what_is_killed_or_out_of_time_is_saved(void **state)
{
    xf_process_options options = saving();
    order orders[] = {{KILL, 0}, {WAIT, 0}};

    (void)state;
    expect_end(start(&obey, &orders[0], sizeof *orders, &options), XF_END_KILLED, 0);
    assert_int_equal(empty_directory(), 1);
    options.limits.wall_ms = 20;
    expect_end(start(&obey, &orders[1], sizeof *orders, &options), XF_END_TIMED_OUT, 0);
    assert_int_equal(empty_directory(), 1);
}

static void environment_and_directory_come_back(void **state)
{
    const char *const environment[] = {"XF_REPLAY_TEST=yes=1", "XF_REPLAY_GONE", NULL};
    xf_process_options options = saving();
    xf_process *process;

    (void)state;
    uv_os_setenv("XF_REPLAY_GONE", "here");
    options.environment = environment;
    options.directory = directory;
    process = start(&look_around, NULL, 0, &options);
    assert_int_equal(join(process).code, 13);
    assert_int_equal(run_again(xf_process_report(process)->saved), 13);
    xf_process_free(process);
    uv_os_unsetenv("XF_REPLAY_GONE");
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* The files are replayed after the pool is freed: libuv closes descriptors without the thread sanitizer's knowledge,
 * which would report a race on the next descriptor of that number. */
static struct {
    char path[2048];
    int64_t code;
} items[8];

static int item_count;

static void run_items_again(void)
{
    while (item_count > 0) {
        item_count--;
        assert_int_equal(run_again(items[item_count].path), items[item_count].code);
    }
}

static void expect_item_again(xf_future *future, size_t item, int64_t code)
{
    const xf_report *report;

    xf_future_wait(future, XF_FOREVER);
    report = xf_future_report(future, item);
    assert_non_null(report);
    assert_string_not_equal(report->saved, "");
    snprintf(items[item_count].path, sizeof items->path, "%s", report->saved);
    items[item_count++].code = code < 0 ? exit_code_of(report->status) : code;
}

static void a_pool_saves_its_items(void **state)
{
    enum { COUNT = 20 };
    const xf_process_options process = saving();
    const xf_pool_options options = {.workers = 2, .process = &process};
    order in[COUNT] = {{FINE, 0}};
    xf_bytes bytes[COUNT];
    int out[COUNT];
    xf_pool *pool;
    xf_future *future;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        in[i] = (order){FINE, i};
    in[3] = (order){FAIL, 3};
    in[11] = (order){EXIT, 11};
    in[17] = (order){FAULT, 0};
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &obey, .in = in, .out = out, .count = COUNT}),
                     0);
    expect_item_again(future, 3, -1);
    expect_item_again(future, 11, 11);
    expect_item_again(future, 17, -1);
    assert_int_equal(xf_future_failures(future), 3);
    xf_future_free(future);
    for (int i = 0; i < COUNT; i++)
        bytes[i] = (xf_bytes){&in[i], sizeof in[i]};
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &obey_last, .bytes = bytes, .count = COUNT}),
                     0);
    expect_item_again(future, 11, 11);
    xf_future_free(future);
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &obey_object, .bytes = bytes, .count = COUNT}),
                     0);
    expect_item_again(future, 11, 11);
    xf_future_free(future);
    xf_pool_free(pool);
    run_items_again();
    assert_int_equal(empty_directory(), 9);
}

/* Of a map that is cancelled, one item has run at most.  Where the outputs of the others would be is what was there. */
static void items_that_never_ran_are_not_saved(void **state)
{
    enum { COUNT = 400 };
    static order in[10 * COUNT];
    const order wait = {WAIT, 0};
    const xf_process_options process = saving();
    xf_pool *pool;
    xf_future *future;
    xf_bytes bytes[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        bytes[i] = (xf_bytes){&wait, sizeof wait};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        in[i] = (order){FINE, -1};
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1, .process = &process}), 0);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &obey, .in = in, .count = sizeof in / sizeof *in, .chunk = 1}),
                     0);
    assert_int_equal(
        xf_pool_map_async(&future, pool, &(xf_map){.task = &obey_last, .bytes = bytes, .count = COUNT, .chunk = 1}), 0);
    xf_future_cancel(future);
    xf_future_wait(future, XF_FOREVER);
    for (size_t i = 0; i < COUNT; i++)
        assert_string_equal(xf_end_name(xf_future_status(future, i).kind), xf_end_name(XF_END_CANCELLED));
    xf_future_free(future);
    xf_pool_free(pool);
    assert_int_equal(empty_directory(), 0);
}

static void the_initializer_runs_first(void **state)
{
    const xf_process_options process = saving();
    int number = 55;
    const xf_pool_options options = {.workers = 1,
                                     .process = &process,
                                     .initializer = &learn,
                                     .initializer_input = &number,
                                     .initializer_size = sizeof number};
    xf_pool *pool;
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &exit_with_what_was_learned}), 0);
    expect_item_again(future, 0, 55);
    xf_future_free(future);
    xf_pool_free(pool);
    run_items_again();
}

/* ---- Broken files ---------------------------------------------------------------------------- */

static char *read_saved(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(65536);

    assert_non_null(file);
    *size = fread(bytes, 1, 65536, file);
    fclose(file);
    return bytes;
}

static void expect_refused(const char *path)
{
    replay_file file;

    assert_int_equal(replay_file_open(&file, path), XF_EPROTO);
    assert_non_null(strstr(xf_error_detail(), path));
}

/* A hostile file, whose checksum is right, is refused too. */
static void broken_files_are_refused(void **state)
{
    const char *const environment[] = {"A=B", "C=D", NULL};
    const replay_case what = {
        .task = "obey", .input = "input", .size = 5, .initializer = "", .environment = environment};
    xf_writer file = {0};
    char *path, *bytes;
    replay_file back;
    size_t size;

    (void)state;
    assert_int_equal(replay_file_encode(&file, &what), 0);
    assert_int_equal(replay_file_save(&file, directory, "../ob ey", (xf_status){XF_END_FAILED, 1, 2}, &path), 0);
    assert_non_null(strstr(path, "/crossfork-_._ob_ey-"));
    assert_int_equal(replay_file_open(&back, path), 0);
    assert_string_equal(back.what.environment[1], "C=D");
    assert_int_equal(back.what.size, 5);
    assert_memory_equal(back.what.input, "input", 5);
    replay_file_close(&back);
    bytes = read_saved(path, &size);
    for (size_t i = 0; i < size; i++) {
        write_file(path, bytes, i);
        expect_refused(path);
        bytes[i] = (char)(bytes[i] ^ 0x81);
        write_file(path, bytes, size);
        expect_refused(path);
        bytes[i] = (char)(bytes[i] ^ 0x81);
    }
    for (size_t i = 72; i < file.size; i++) { /* the bytes behind the status */
        xf_writer broken = {0};
        char *other;
        assert_int_equal(xf_writer_put(&broken, file.data, file.size), 0);
        broken.data[i] = (char)0xFF;
        assert_int_equal(replay_file_save(&broken, directory, "broken", (xf_status){XF_END_FAILED, 1, 2}, &other), 0);
        if (replay_file_open(&back, other) == 0)
            replay_file_close(&back);
        remove(other);
        free(other);
        writer_free(&broken);
    }
    free(bytes);
    free(path);
    writer_free(&file);
}

static void a_program_refuses_a_broken_file(void **state)
{
    char path[1100];

    (void)state;
    assert_int_equal(run_again("no/such/file"), 2);
    snprintf(path, sizeof path, "%s/broken", directory);
    write_file(path, "XFREPLAY and more", 17);
    assert_int_equal(run_again(path), 2);
}

static void a_task_that_is_unknown_or_changed_is_refused(void **state)
{
    static const struct {
        const char *task;
        uint64_t input, output;
    } tasks[] = {{"nobody", XF_ANY_SIZE, XF_ANY_SIZE}, {"obey", 1, 4}};

    (void)state;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        const replay_case what = {.task = tasks[i].task,
                                  .declared_input = tasks[i].input,
                                  .declared_output = tasks[i].output,
                                  .initializer = ""};
        xf_writer file = {0};
        char *path;
        assert_int_equal(replay_file_encode(&file, &what), 0);
        assert_int_equal(replay_file_save(&file, directory, "x", (xf_status){XF_END_FAILED, 1, 2}, &path), 0);
        assert_int_equal(run_again(path), 2);
        free(path);
        writer_free(&file);
    }
}

/* The checksum as docs/replay.md defines it. */
static uint64_t documented_sum(const unsigned char *bytes, size_t size)
{
    uint64_t sum = 14695981039346656037u, word;

    for (; size >= sizeof word; bytes += sizeof word, size -= sizeof word) {
        word = 0;
        for (size_t i = 0; i < sizeof word; i++)
            word |= (uint64_t)bytes[i] << (8 * i);
        sum = (sum ^ word) * 1099511628211u;
        sum ^= sum >> 29;
    }
    for (; size > 0; bytes++, size--)
        sum = (sum ^ *bytes) * 1099511628211u;
    return sum;
}

/* Changes the file so that another build of this program seems to have saved it. */
static void change_build(const char *path)
{
    enum { SUM_AT = 24, BUILD_AT = 32 };
    size_t size;
    char *bytes = read_saved(path, &size);
    uint64_t sum = documented_sum((unsigned char *)bytes + BUILD_AT, size - BUILD_AT);

    for (int i = 0; i < 8; i++)
        assert_int_equal((unsigned char)bytes[SUM_AT + i], (unsigned char)(sum >> (8 * i)));
    bytes[BUILD_AT] = (char)~bytes[BUILD_AT];
    sum = documented_sum((unsigned char *)bytes + BUILD_AT, size - BUILD_AT);
    for (int i = 0; i < 8; i++)
        bytes[SUM_AT + i] = (char)(sum >> (8 * i));
    write_file(path, bytes, size);
    free(bytes);
}

/* Replays the file in another process, and returns its output and its exit code. */
static char *output_of_replay(const char *path, int64_t *code)
{
    const char *const arguments[] = {"again", path, NULL};
    char *text;

    *code = program_end(program_start(NULL, arguments, NULL), &text);
    return text;
}

static void another_build_runs_it_and_says_so(void **state)
{
    static const char remark[] = "this is another build of the program";
    const order order = {EXIT, 21};
    const xf_process_options options = saving();
    xf_process *process = start(&obey, &order, sizeof order, &options);
    char path[1100], *text;
    int64_t code;

    (void)state;
    join(process);
    snprintf(path, sizeof path, "%s", xf_process_report(process)->saved);
    xf_process_free(process);
    text = output_of_replay(path, &code);
    assert_int_equal(code, 21);
    assert_non_null(strstr(text, "crossfork: obey"));
    assert_null(strstr(text, remark));
    free(text);
    change_build(path);
    text = output_of_replay(path, &code);
    assert_int_equal(code, 21);
    assert_non_null(strstr(text, remark));
    free(text);
}

/* ---- Links that somebody else has put there -------------------------------------------------- */

enum { PLANTED = 64 };

/* Returns the size of a file; -1: there is none. */
static int64_t size_of_file(const char *path)
{
    uv_fs_t request;
    int rc = uv_fs_stat(NULL, &request, path, NULL);
    int64_t size = rc < 0 ? -1 : (int64_t)request.statbuf.st_size;

    uv_fs_req_cleanup(&request);
    return size;
}

/* Links each name that the next files could have, or had before they were complete, to a file elsewhere; false if the
 * system cannot. */
static bool plant_links(const char *victim, const char *ending, int after)
{
    char path[2048];
    uv_fs_t request;
    int rc = 0;

    for (int i = after + 1; i <= after + PLANTED && rc == 0; i++) {
        snprintf(path, sizeof path, "%s/crossfork-obey-%d-%d.replay%s", directory, (int)uv_os_getpid(), i, ending);
        rc = uv_fs_symlink(NULL, &request, victim, path, 0, NULL);
        uv_fs_req_cleanup(&request);
    }
    return rc == 0 && size_of_file(path) >= 0; /* Wine says that it has made one, and has not */
}

/* Saves a task that fails, checks that the file is there, and returns its number. */
static int save_one(void)
{
    const xf_process_options options = saving();
    const order order = {FAIL, 7};
    xf_process *process = start(&obey, &order, sizeof order, &options);
    const char *saved;
    int number = 0;

    join(process);
    saved = xf_process_report(process)->saved;
    assert_true(size_of_file(saved) > 0);
    assert_int_equal(sscanf(saved + strlen(directory), "/crossfork-obey-%*d-%d.replay", &number), 1);
    xf_process_free(process);
    return number;
}

static void a_link_is_not_followed(void **state)
{
    static const char *const endings[] = {".tmp", ""};
    char victim[1100];
    int rounds = 0;

    (void)state;
    snprintf(victim, sizeof victim, "%s-victim", directory);
    write_file(victim, "precious", 8);
    for (; rounds < 2; rounds++) {
        if (!plant_links(victim, endings[rounds], save_one()))
            break;
        save_one();
        assert_int_equal(size_of_file(victim), 8);
        assert_int_equal(empty_directory(), PLANTED + 2);
    }
    remove(victim);
    if (rounds == 0)
        skip(); /* the system, or this user's rights, have no links */
}

/* ---- Places that do not take it -------------------------------------------------------------- */

static void expect_not_saved(const char *place, const char *why)
{
    const xf_process_options options = {.save_failures = place};
    order order = {FAIL, 7};
    xf_process *process = start(&obey, &order, sizeof order, &options);
    const xf_report *report;

    join(process);
    report = xf_process_report(process);
    assert_string_equal(report->saved, "");
    assert_int_equal(strncmp(report->message, "as ordered; not saved: ", 23), 0);
    if (!strstr(report->message, why))
        print_error("%s\n", report->message);
    assert_non_null(strstr(report->message, why));
    expect_end(process, XF_END_FAILED, 7);
}

static void a_place_that_does_not_take_it_does_no_harm(void **state)
{
    char path[1100];

    (void)state;
    expect_not_saved("no/such/place", "no/such/place");
    snprintf(path, sizeof path, "%s/file", directory);
    write_file(path, "", 0);
    expect_not_saved(path, path);
}

static void a_full_disk_does_no_harm(void **state)
{
    const xf_process_options options = saving();
    const order last = {EXIT, 42};
    const size_t size = 1 << 20;
    char *input;
    xf_process *process;

    (void)state;
    if (!support_mount_small_disk(directory))
        skip();
    input = calloc(1, size);
    memcpy(input + size - sizeof last, &last, sizeof last);
    process = start(&obey_last, input, size, &options);
    assert_int_equal(join(process).code, 42);
    assert_non_null(strstr(xf_process_report(process)->message, "not saved"));
    assert_non_null(strstr(xf_process_report(process)->message, "no space"));
    xf_process_free(process);
    free(input);
    assert_int_equal(empty_directory(), 0);
    support_unmount_small_disk(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_fails_fails_the_same_again),
        TEST(a_large_input_is_saved_whole),
        TEST(what_is_fine_or_given_up_is_not_saved),
        TEST(what_is_killed_or_out_of_time_is_saved),
        TEST(environment_and_directory_come_back),
        TEST(a_pool_saves_its_items),
        TEST(items_that_never_ran_are_not_saved),
        TEST(the_initializer_runs_first),
        TEST(broken_files_are_refused),
        TEST(a_program_refuses_a_broken_file),
        TEST(a_task_that_is_unknown_or_changed_is_refused),
        TEST(another_build_runs_it_and_says_so),
        TEST(a_link_is_not_followed),
        TEST(a_place_that_does_not_take_it_does_no_harm),
        TEST(a_full_disk_does_no_harm),
    };

    if (argc == 3 && strcmp(argv[1], "again") == 0) { /* replays the file, and prints the report */
        dup2(1, 2);
        uv_os_setenv("XF_REPLAY", argv[2]);
    }
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
