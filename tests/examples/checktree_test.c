/* Goal: examples/checktree hashes every regular file below a directory as xxhsum does, in the same order, and an error
 * or a crash at a file costs the line of that file and nothing else. */
#define XXH_INLINE_ALL
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <xxhash.h>

enum { TOP_ROOM = 1024, PATH_ROOM = 2048, ARGUMENTS = 8, NOBODY = 65534 };

static char top[TOP_ROOM];        /* the directory of all files of the test */
static char root[TOP_ROOM + 100]; /* the tree of the samples */

/* ---- Running checktree ----------------------------------------------------------------------- */

typedef struct stream {
    uv_pipe_t pipe;
    char *text;
    size_t size;
} stream;

typedef struct result {
    int64_t status;
    int signal;
    char *output;
    char *errors;
} result;

/* Settings of an unusual run. */
typedef struct special {
    int output; /* descriptor for its standard output; 0: captured */
    bool as_nobody;
} special;

static void on_end(uv_process_t *process, int64_t status, int signal)
{
    result *result = process->data;

    result->status = status;
    result->signal = signal;
    uv_close((uv_handle_t *)process, NULL);
}

static void give_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    stream *stream = handle->data;

    stream->text = realloc(stream->text, stream->size + wanted + 1);
    assert_non_null(stream->text);
    *buffer = uv_buf_init(stream->text + stream->size, (unsigned)wanted);
}

static void on_text(uv_stream_t *from, ssize_t count, const uv_buf_t *buffer)
{
    stream *stream = from->data;

    (void)buffer;
    if (count < 0)
        uv_close((uv_handle_t *)from, NULL);
    else
        stream->size += (size_t)count;
}

static uv_stdio_container_t capture(uv_loop_t *loop, stream *stream)
{
    assert_int_equal(uv_pipe_init(loop, &stream->pipe, 0), 0);
    stream->pipe.data = stream;
    return (uv_stdio_container_t){.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
                                  .data.stream = (uv_stream_t *)&stream->pipe};
}

/* Returns the text without the CR that Windows puts before each LF of stdio. */
static char *text_of(stream *stream)
{
    size_t kept = 0;
    char *text = stream->text ? stream->text : malloc(1);

    for (size_t i = 0; i < stream->size; i++)
        if (text[i] != '\r')
            text[kept++] = text[i];
    text[kept] = 0;
    return text;
}

static int spawn(uv_loop_t *loop, uv_process_t *process, char **arguments, stream *streams, const special *special)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = special->output}, capture(loop, &streams[1])};
    const uv_process_options_t options = {
        .file = CHECKTREE,
        .args = arguments,
        .stdio = stdio,
        .stdio_count = 3,
        .flags = special->as_nobody ? UV_PROCESS_SETUID | UV_PROCESS_SETGID : 0,
        .uid = (uv_uid_t)NOBODY,
        .gid = (uv_gid_t)NOBODY,
        .exit_cb = on_end,
    };
    int rc;

    if (!special->output)
        stdio[1] = capture(loop, &streams[0]);
    rc = uv_spawn(loop, process, &options);
    for (int i = 0; i < 2; i++) {
        if (i == 0 && special->output)
            continue;
        if (rc == 0)
            assert_int_equal(uv_read_start((uv_stream_t *)&streams[i].pipe, give_room, on_text), 0);
        else
            uv_close((uv_handle_t *)&streams[i].pipe, NULL);
    }
    if (rc < 0)
        uv_close((uv_handle_t *)process, NULL);
    return rc;
}

/* Runs checktree with the arguments, up to a NULL.  Returns 0, or why it could not be started. */
static int run_special(result *result, const char *const *arguments, const special *special)
{
    char *all[ARGUMENTS + 2] = {(char *)CHECKTREE};
    stream streams[2] = {{.size = 0}, {.size = 0}};
    uv_process_t process = {.data = result};
    uv_loop_t loop;
    int rc;

    for (int i = 0; i < ARGUMENTS && arguments[i]; i++)
        all[i + 1] = (char *)arguments[i];
    assert_int_equal(uv_loop_init(&loop), 0);
    rc = spawn(&loop, &process, all, streams, special);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    result->output = text_of(&streams[0]);
    result->errors = text_of(&streams[1]);
    return rc;
}

static result run(const char *const *arguments)
{
    result result;

    assert_int_equal(run_special(&result, arguments, &(special){.output = 0}), 0);
    return result;
}

static void free_result(result *result)
{
    free(result->output);
    free(result->errors);
}

static void check_status(const result *result, int64_t status)
{
    if (result->status != status || result->signal)
        print_error("%s", result->errors);
    assert_int_equal(result->status, status);
    assert_int_equal(result->signal, 0);
}

/* ---- The tree -------------------------------------------------------------------------------- */

/* Sorted by the bytes of their names. */
static struct sample {
    const char *name;
    size_t size;
    bool unusual; /* no such name on Windows */
    bool there;
} samples[] = {
    {"  two spaces", 32, false, false},
    {"Z", 1, false, false},
    {"a", 0, false, false},
    {"b-c", 4095, false, false},
    {"b/back\\slash", 17, true, false},
    {"b/c.large", 3000000, false, false},
    {"b/c/d/e/f", 262144, false, false},
    {"b/c/deep", 262145, false, false},
    {"b/new\nline", 18, true, false},
    {"b0", 31, false, false},
    {"with space", 33, false, false},
    {"\xC3\xA9\xE2\x82\xAC/\xE6\x97\xA5\xF0\x9F\x8C\xB3", 34, false, false},
};

enum { SAMPLES = sizeof samples / sizeof *samples };

/* Sets path to directory/name. */
static void join(char path[PATH_ROOM], const char *directory, const char *name)
{
    assert_true(snprintf(path, PATH_ROOM, "%s/%s", directory, name) < PATH_ROOM);
}

static void make_directory(const char *path)
{
    uv_fs_t request;
    int rc = uv_fs_mkdir(NULL, &request, path, 0755, NULL);

    assert_true(rc == 0 || rc == UV_EEXIST);
    uv_fs_req_cleanup(&request);
}

static void make_directories_above(const char *path)
{
    char part[PATH_ROOM];

    for (const char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        make_directory(part);
    }
}

/* Different bytes for each size; the caller frees them. */
static char *contents_of(const struct sample *sample)
{
    char *bytes = malloc(sample->size + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < sample->size; i++)
        bytes[i] = (char)(i * 31 + i / 251 + sample->size);
    return bytes;
}

/* Returns false when there can be no such file. */
static bool write_file(const char *path, const char *bytes, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)size);
    uv_fs_t request;
    int file = uv_fs_open(NULL, &request, path, UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_TRUNC, 0644, NULL);

    uv_fs_req_cleanup(&request);
    if (file < 0)
        return false;
    if (size > 0)
        assert_int_equal(uv_fs_write(NULL, &request, file, &buffer, 1, 0, NULL), size);
    assert_int_equal(uv_fs_close(NULL, &request, file, NULL), 0);
    return true;
}

static void make_sample(struct sample *sample)
{
    char path[PATH_ROOM];
    char *bytes = contents_of(sample);

    join(path, root, sample->name);
    make_directories_above(path);
    sample->there = write_file(path, bytes, sample->size);
    assert_true(sample->there || sample->unusual);
    free(bytes);
}

/* Symbolic links, where the system has them: to a file, to nothing, and to a directory above. */
static void make_links(void)
{
    static const char *const links[][2] = {{"link", "a"}, {"b/nothing", "nowhere"}, {"b/c/up", ".."}};
    char path[PATH_ROOM];
    uv_fs_t request;

    for (int i = 0; i < 3; i++) {
        join(path, root, links[i][0]);
        uv_fs_symlink(NULL, &request, links[i][1], path, i == 2 ? UV_FS_SYMLINK_DIR : 0, NULL);
        uv_fs_req_cleanup(&request);
    }
}

static int make_tree(void **state)
{
    char pattern[TOP_ROOM];
    size_t size = sizeof pattern - 100;
    uv_fs_t request;

    (void)state;
    assert_int_equal(uv_os_tmpdir(pattern, &size), 0);
    strcat(pattern, "/checktree-XXXXXX");
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, pattern, NULL), 0);
    snprintf(top, sizeof top, "%s", request.path);
    uv_fs_req_cleanup(&request);
    assert_int_equal(uv_fs_chmod(NULL, &request, top, 0755, NULL), 0);
    snprintf(root, sizeof root, "%s/\xC3\xA4 tree", top);
    make_directory(root);
    for (int i = 0; i < SAMPLES; i++)
        make_sample(&samples[i]);
    make_links();
    return 0;
}

static void remove_tree(const char *path)
{
    uv_fs_t request, removal;
    uv_dirent_t entry;

    uv_fs_scandir(NULL, &request, path, 0, NULL);
    while (uv_fs_scandir_next(&request, &entry) == 0) {
        char inner[PATH_ROOM];
        join(inner, path, entry.name);
        if (uv_fs_unlink(NULL, &removal, inner, NULL) < 0)
            remove_tree(inner);
    }
    uv_fs_req_cleanup(&request);
    uv_fs_rmdir(NULL, &removal, path, NULL);
}

static int remove_all(void **state)
{
    (void)state;
    remove_tree(top);
    return 0;
}

/* Returns the expected output for the samples whose path does not contain the pattern; the caller frees it. */
static char *expected_without(const char *pattern, size_t *count)
{
    char *text = calloc(SAMPLES, PATH_ROOM), *end = text, inner[PATH_ROOM];

    assert_non_null(text);
    *count = 0;
    for (int i = 0; i < SAMPLES; i++) {
        char *bytes = contents_of(&samples[i]);
        snprintf(inner, sizeof inner, "/%s", samples[i].name);
        if (samples[i].there && (!*pattern || !strstr(inner, pattern))) {
            end += sprintf(end, "%016llx  %s/%s\n", (unsigned long long)XXH64(bytes, samples[i].size, 0), root,
                           samples[i].name);
            ++*count;
        }
        free(bytes);
    }
    return text;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (; (text = strstr(text, part)); text++)
        count++;
    return count;
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void every_file_is_hashed(void **state)
{
    static const char *const jobs[] = {"1", "2", "5"};
    size_t count;
    char *expected = expected_without("", &count);

    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *const arguments[] = {"--quiet", "--jobs", jobs[i], root, NULL};
        result result = run(arguments);
        check_status(&result, 0);
        assert_string_equal(result.output, expected);
        assert_string_equal(result.errors, "");
        free_result(&result);
    }
    free(expected);
}

static void a_summary_follows_the_hashes(void **state)
{
    const char *const arguments[] = {root, NULL};
    result result = run(arguments);
    char counts[100];
    size_t count;
    char *expected = expected_without("", &count);

    (void)state;
    check_status(&result, 0);
    assert_memory_equal(result.output, expected, strlen(expected));
    snprintf(counts, sizeof counts, "%zu files hashed, 0 failed\n", count);
    assert_memory_equal(result.output + strlen(expected), counts, strlen(counts));
    assert_string_equal(result.errors, "");
    free_result(&result);
    free(expected);
}

/* Lets checktree crash at the files that the pattern matches, and expects the lines of all others. */
static void check_crashes(const char *pattern, const char *jobs)
{
    const char *const arguments[] = {"--crash-on", pattern, "--jobs", jobs, "--quiet", root, NULL};
    result result = run(arguments);
    size_t all, count;
    char *expected = expected_without("", &all);

    free(expected);
    expected = expected_without(pattern, &count);
    check_status(&result, 1);
    assert_string_equal(result.output, expected);
    assert_int_equal(count_of(result.errors, "checktree: lost a child at "), all - count);
    assert_int_equal(count_of(result.errors, " crashed: access violation (system code "), all - count);
    assert_int_equal(count_of(result.errors, ": the child crashed: access violation\n"), all - count);
    free_result(&result);
    free(expected);
}

static void a_crash_costs_the_file_that_crashes(void **state)
{
    (void)state;
    check_crashes("c/d/e", "1");
    check_crashes("c/d/e", "3");
}

static void several_crashes_cost_several_files(void **state)
{
    (void)state;
    check_crashes("/b/", "2");
    check_crashes("\xE2\x82\xAC", "2");
    check_crashes("c.large", "2");
}

static void every_file_may_crash(void **state)
{
    const char *const arguments[] = {"--crash-on", "tree", root, NULL};
    result result = run(arguments);
    char summary[100];
    size_t all;

    (void)state;
    free(expected_without("", &all));
    check_status(&result, 1);
    snprintf(summary, sizeof summary, "0 files hashed, %zu failed\n0 bytes, ", all);
    assert_memory_equal(result.output, summary, strlen(summary));
    free_result(&result);
}

enum { MANY = 1100 };

static void make_many(const char *directory)
{
    char path[PATH_ROOM], name[20];

    make_directory(directory);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%04d", i);
        join(path, directory, name);
        assert_true(write_file(path, name, 4));
    }
}

/* The files are so many that several children work at the same time, and that their replacements have work too. */
static void many_files_are_shared_out(void **state)
{
    char directory[PATH_ROOM], expected[PATH_ROOM + 100], name[20];
    const char *const arguments[] = {"--jobs", "3", "--crash-on", "/077", directory, NULL};
    unsigned long long children = 0;
    result result;
    const char *next;

    (void)state;
    join(directory, top, "many");
    make_many(directory);
    result = run(arguments);
    check_status(&result, 1);
    next = result.output;
    for (int i = 0; i < MANY; i++) {
        if (i / 10 == 77)
            continue;
        snprintf(name, sizeof name, "%04d", i);
        snprintf(expected, sizeof expected, "%016llx  %s/%s\n", (unsigned long long)XXH64(name, 4, 0), directory, name);
        assert_memory_equal(next, expected, strlen(expected));
        next += strlen(expected);
    }
    assert_int_equal(sscanf(next, "1090 files hashed, 10 failed 4360 bytes, %*f s, %llu", &children), 1);
    assert_in_range(children, 11, 13); /* each crash costs one child */
    free_result(&result);
}

/* Makes a file that can be listed but not read: it is open exclusively (Windows), or it has no permissions.
 * Returns the open file. */
static uv_file make_unreadable(const char *path)
{
    uv_fs_t request;
    uv_file holder;

    assert_true(write_file(path, "x", 1));
    holder = uv_fs_open(NULL, &request, path, UV_FS_O_RDWR | UV_FS_O_EXLOCK, 0, NULL);
    assert_true(holder >= 0);
    assert_int_equal(uv_fs_chmod(NULL, &request, path, 0, NULL), 0);
    return holder;
}

static void release(const char *path, uv_file holder)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_close(NULL, &request, holder, NULL), 0);
    assert_int_equal(uv_fs_chmod(NULL, &request, path, 0644, NULL), 0);
}

/* The superuser can read anything. */
static bool can_read(const char *path)
{
    uv_fs_t request;
    uv_file file = uv_fs_open(NULL, &request, path, UV_FS_O_RDONLY, 0, NULL);

    if (file >= 0)
        uv_fs_close(NULL, &request, file, NULL);
    return file >= 0;
}

static void a_file_that_cannot_be_read_costs_its_line(void **state)
{
    char directory[PATH_ROOM], bad[PATH_ROOM], good[PATH_ROOM];
    const char *const arguments[] = {"--quiet", directory, NULL};
    result result;
    uv_file holder;
    int rc;

    (void)state;
    join(directory, top, "unreadable");
    make_directory(directory);
    join(bad, directory, "bad");
    join(good, directory, "good");
    holder = make_unreadable(bad);
    assert_true(write_file(good, "", 0));
    rc = run_special(&result, arguments, &(special){.as_nobody = can_read(bad)});
    release(bad, holder);
    if (rc == 0) {
        check_status(&result, 1);
        assert_int_equal(count_of(result.output, "\n"), 1);
        assert_int_equal(count_of(result.output, "ef46db3751d8e999  "), 1);
        assert_memory_equal(result.errors, bad, strlen(bad));
        assert_memory_equal(result.errors + strlen(bad), ": ", 2);
        assert_int_equal(count_of(result.errors, "\n"), 1);
    }
    free_result(&result);
    if (rc < 0)
        skip(); /* other users may not run the program of the superuser */
}

static void an_empty_directory_has_no_hashes(void **state)
{
    char directory[PATH_ROOM];
    const char *const arguments[] = {"--quiet", directory, NULL};
    result result;

    (void)state;
    join(directory, top, "empty");
    make_directory(directory);
    result = run(arguments);
    check_status(&result, 0);
    assert_string_equal(result.output, "");
    assert_string_equal(result.errors, "");
    free_result(&result);
}

static void check_not_done(const char *const *arguments, const char *complaint)
{
    result result = run(arguments);

    check_status(&result, 2);
    assert_string_equal(result.output, "");
    assert_memory_equal(result.errors, complaint, strlen(complaint));
    free_result(&result);
}

static void what_is_no_directory_is_named(void **state)
{
    char missing[PATH_ROOM], file[PATH_ROOM], complaint[PATH_ROOM + 100];
    const char *const missing_arguments[] = {missing, NULL}, *const file_arguments[] = {file, NULL};

    (void)state;
    join(missing, top, "nowhere");
    snprintf(complaint, sizeof complaint, "checktree: %s: no such file or directory\n", missing);
    check_not_done(missing_arguments, complaint);
    join(file, root, "Z");
    snprintf(complaint, sizeof complaint, "checktree: %s: not a directory\n", file);
    check_not_done(file_arguments, complaint);
}

static void wrong_arguments_are_explained(void **state)
{
    static const char *const wrong[][4] = {
        {NULL},
        {"--quiet", NULL},
        {"--jobs", "0", ".", NULL},
        {"--jobs", "2x", ".", NULL},
        {"--jobs", NULL},
        {"--jobs", "", ".", NULL},
        {"--crash-on", NULL},
        {"--unknown", ".", NULL},
        {".", ".", NULL},
        {"--", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check_not_done(wrong[i], "usage: checktree ");
}

static void output_that_nobody_reads_is_an_error(void **state)
{
    const char *const arguments[] = {root, NULL};
    special special = {.output = 0};
    uv_file ends[2];
    uv_fs_t request;
    result result;

    (void)state;
    assert_int_equal(uv_pipe(ends, 0, 0), 0);
    assert_int_equal(uv_fs_close(NULL, &request, ends[0], NULL), 0);
    special.output = ends[1];
    assert_int_equal(run_special(&result, arguments, &special), 0);
    assert_int_equal(uv_fs_close(NULL, &request, ends[1], NULL), 0);
    check_status(&result, 2);
    assert_non_null(strstr(result.errors, "checktree: cannot write the hashes: "));
    free_result(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_hashed),
        cmocka_unit_test(a_summary_follows_the_hashes),
        cmocka_unit_test(a_crash_costs_the_file_that_crashes),
        cmocka_unit_test(several_crashes_cost_several_files),
        cmocka_unit_test(every_file_may_crash),
        cmocka_unit_test(many_files_are_shared_out),
        cmocka_unit_test(a_file_that_cannot_be_read_costs_its_line),
        cmocka_unit_test(an_empty_directory_has_no_hashes),
        cmocka_unit_test(what_is_no_directory_is_named),
        cmocka_unit_test(wrong_arguments_are_explained),
        cmocka_unit_test(output_that_nobody_reads_is_an_error),
    };

    return cmocka_run_group_tests(tests, make_tree, remove_all);
}
