/* Goal: children start from a program at any path: very short, long, or full of odd characters, and after the file has
 * been replaced. */
#include "os/traits.h"
#include "program.h"
#include "tasks.h"

#include <uv.h>

XF_ENTRY(say_hello)
{
    return send_number(call, 42);
}

/* The role: starts one child by each method that this system has, and prints the results. */
static int role_starter(const char *replacement)
{
    uv_fs_t request;
    char own[8192];
    size_t size = sizeof own;
    int done = 0;

    if (replacement) {
        uv_exepath(own, &size);
        if (uv_fs_rename(NULL, &request, replacement, own, NULL) < 0)
            return 1;
    }
    for (int method = XF_START_SPAWN; method <= XF_START_FORKSERVER; method++) {
        xf_process_options options = {.start = (xf_start_method)method};
        xf_process *process;
        int rc = xf_process_start(&process, &say_hello, NULL, 0, &options);
        printf("%s\n", rc < 0 ? xf_error_detail() : xf_end_name(join(process).kind));
        if (rc < 0)
            return 2;
        done += join(process).kind == XF_END_DONE;
        xf_process_free(process);
    }
    return done == 2 ? 0 : 3;
}

static char directory[4096];

static void make_directory(const char *path)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_mkdir(NULL, &request, path, 0700, NULL), 0);
}

static void remove_tree(const char *path)
{
    uv_fs_t request, removal;
    uv_dirent_t entry;

    if (uv_fs_scandir(NULL, &request, path, 0, NULL) >= 0)
        while (uv_fs_scandir_next(&request, &entry) == 0) {
            char inner[8192];
            snprintf(inner, sizeof inner, "%s/%s", path, entry.name);
            if (entry.type == UV_DIRENT_DIR)
                remove_tree(inner);
            else
                uv_fs_unlink(NULL, &removal, inner, NULL);
        }
    uv_fs_req_cleanup(&request);
    uv_fs_rmdir(NULL, &removal, path, NULL);
}

static void copy_self(const char *path)
{
    uv_fs_t request;
    char own[8192];
    size_t size = sizeof own;

    assert_int_equal(uv_exepath(own, &size), 0);
    assert_int_equal(uv_fs_copyfile(NULL, &request, own, path, 0, NULL), 0);
}

static void check_starts_from(const char *path, const char *replacement)
{
    const char *const arguments[] = {"starter", replacement, NULL};
    program *copy = program_start(path, arguments, NULL);

    assert_string_equal(program_line(copy), "done");
    assert_string_equal(program_line(copy), "done");
    assert_int_equal(program_end(copy, NULL), 0);
}

static void a_path_of_odd_characters(void **state)
{
    char path[8192];

    (void)state;
    snprintf(path, sizeof path, "%s/a 'b' %%c; \xC3\xA9\xE2\x82\xAC \xE6\x97\xA5.exe", directory);
    copy_self(path);
    check_starts_from(path, NULL);
}

static void a_short_path(void **state)
{
    char path[8192], before[4096];
    size_t size = sizeof before;

    (void)state;
    uv_cwd(before, &size);
    snprintf(path, sizeof path, "%s/x.exe", directory);
    copy_self(path);
    assert_int_equal(uv_chdir(directory), 0);
    check_starts_from("./x.exe", NULL);
    uv_chdir(before);
}

static void a_long_path(void **state)
{
    char path[8192];
    int code;

    (void)state;
    snprintf(path, sizeof path, "%s", directory);
    for (int i = 0; i < 6; i++) {
        size_t length = strlen(path);
        snprintf(path + length, sizeof path - length, "/%060d", i);
        make_directory(path);
    }
    strcat(path, "/long.exe");
    assert_true(strlen(path) > 260);
    copy_self(path);
    code = support_run(path, "starter");
    if (code == -1 && !os.has_fork)
        skip(); /* Wine 8 starts no program whose path is longer than MAX_PATH */
    assert_int_equal(code, 0);
}

/* On Windows a running program cannot be replaced: the rename fails, and that is a pass. */
static void a_program_that_was_replaced(void **state)
{
    char path[8192], replacement[8192];
    const char *const arguments[] = {"starter", replacement, NULL};
    int64_t code;
    char *output;
    FILE *file;

    (void)state;
    snprintf(path, sizeof path, "%s/running.exe", directory);
    snprintf(replacement, sizeof replacement, "%s/new", directory);
    copy_self(path);
    file = fopen(replacement, "w");
    assert_non_null(file);
    fputs("this is no program", file);
    fclose(file);
    code = program_end(program_start(path, arguments, NULL), &output);
    if (code == 0)
        assert_int_equal(strncmp(output, "done", 4), 0);
    free(output);
}

static int make_place(void **state)
{
    uv_fs_t request;
    char pattern[4096];
    size_t size = sizeof pattern - 32;

    (void)state;
    assert_int_equal(uv_os_tmpdir(pattern, &size), 0);
    strcat(pattern, "/crossfork-XXXXXX");
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, pattern, NULL), 0);
    snprintf(directory, sizeof directory, "%s", request.path);
    uv_fs_req_cleanup(&request);
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    remove_tree(directory);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_of_odd_characters),
        cmocka_unit_test(a_short_path),
        cmocka_unit_test(a_long_path),
        cmocka_unit_test(a_program_that_was_replaced),
    };

    xf_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "starter") == 0)
        return role_starter(argc > 2 ? argv[2] : NULL);
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
