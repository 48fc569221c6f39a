/* Goal: a child that crashed can name any file as the one that it was in: one with wrong headers, a pipe, a device, an
 * endless one.  The report has its module and offset in time, whatever the libraries that read such files do about it.
 *
 * Each file is looked at on the way that every report goes: through the helper. */
#include "process/stack_helper.h"
#include "process/stack_trace.h"
#include "record.h"
#include "scratch.h"
#include "tasks.h"

XF_ENTRY(crash)
{
    (void)call;
    abort();
}

/* ---- Help ------------------------------------------------------------------------------------ */

/* This program's own file, in memory of its own. */
static char *read_program(size_t *size)
{
    char path[4096], *bytes;
    size_t length = sizeof path;
    FILE *file;

    assert_int_equal(uv_exepath(path, &length), 0);
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* Takes the frames of a crash in that file. */
static void look_at(const char *path)
{
    os_record_head *record = calloc(1, OS_RECORD_SIZE);
    os_record *pointing = record_new();
    const xf_frame *frames;
    stack_trace *trace;
    size_t count;

    assert_non_null(record);
    record_point_to(pointing, path);
    memcpy(record, pointing, record_size());
    trace = stack_trace_take(record);
    assert_non_null(trace);
    frames = stack_trace_frames(trace, &count);
    assert_in_range(count, 1, 1000);
    assert_true(frames[0].address > 0);
    stack_trace_free(trace);
    free(pointing);
    free(record);
}

static void look_in_time_at(const char *path)
{
    uint64_t start = uv_hrtime();

    look_at(path);
    if (uv_hrtime() - start > (uint64_t)STACK_HELPER_MS * 1000000)
        fail_msg("%s takes %d ms", path, (int)((uv_hrtime() - start) / 1000000));
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* A name of its own for each: files of one name, size and time would be taken for one. */
static void look_at_content(const char *name, int number, const char *bytes, size_t size)
{
    char path[1100];

    snprintf(path, sizeof path, "%s/%s%d", scratch, name, number);
    write_file(path, bytes, size);
    look_at(path);
}

static void drop_content(const char *name, int count)
{
    char path[1100];

    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s%d", scratch, name, i);
        assert_int_equal(remove(path), 0);
    }
}

static void wrong_headers(void **state)
{
    size_t size;
    char *program = read_program(&size), *spoilt = malloc(size);
    int count = 0;

    (void)state;
    assert_non_null(spoilt);
    memcpy(spoilt, program, size);
    for (; record_spoil(spoilt, size, count); count++) {
        look_at_content("spoilt", count, spoilt, size);
        memcpy(spoilt, program, size);
    }
    drop_content("spoilt", count);
    free(spoilt);
    free(program);
}

static void files_that_are_cut(void **state)
{
    size_t size;
    char *program = read_program(&size);
    int count = 0;

    (void)state;
    for (size_t length = 0; length < size; length = length * 3 + 50)
        look_at_content("cut", count++, program, length);
    drop_content("cut", count);
    free(program);
}

static void what_is_no_file_of_code(void **state)
{
    size_t size;
    char *program = read_program(&size), path[1100];

    (void)state;
    for (int i = 0; record_make_path(path, sizeof path, scratch, i, program, size); i++) {
        if (*path)
            look_in_time_at(path);
        record_drop_path(path, scratch);
    }
    free(program);
}

/* Goal: what was looked at before does no harm to the report of the next child. */
static void the_next_report_is_whole(void **state)
{
    xf_process *process = start(&crash, NULL, 0, NULL);
    const xf_report *report;
    bool named = false;

    (void)state;
    join(process);
    report = xf_process_report(process);
    for (size_t i = 0; i < report->stack_count; i++)
        named |= *report->stack[i].function != 0;
    assert_int_equal(named, XF_TEST_SYMBOLS);
    expect_end(process, XF_END_CRASHED, XF_CRASH_ABORT);
    assert_int_equal(xf_cleanup(), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_headers),
        cmocka_unit_test(files_that_are_cut),
        cmocka_unit_test(what_is_no_file_of_code),
        cmocka_unit_test(the_next_report_is_whole),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
