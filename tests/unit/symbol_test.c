/* Goal: recorded stacks become frames, and frames become functions and lines, of programs and libraries in all the ways
 * that they are built; a wrong record or file does no harm beyond frames or names that are missing. */
#include "os/identity.h"
#include "process/symbol.h"
#include "record.h"
#include "scratch.h"
#include "stack_fixture.h"
#include "support.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* The parts that were built in, from CMake. */
enum { SYMBOLS = XF_TEST_SYMBOLS, UNWINDER = XF_TEST_UNWINDER, ELF = XF_TEST_ELF };

/* ---- Help ------------------------------------------------------------------------------------ */

enum { NAMES_MAX = 200, ROOM = OS_FRAMES_MAX };

typedef struct name {
    char function[100];
    char file[1024];
    int line;
    bool inlined;
} name;

typedef struct names {
    name at[NAMES_MAX];
    int count;
} names;

static void add_name(void *arg, const char *function, const char *file, int line, bool inlined)
{
    names *names = arg;
    name *name = &names->at[names->count];

    if (names->count == NAMES_MAX)
        return;
    snprintf(name->function, sizeof name->function, "%s", function);
    snprintf(name->file, sizeof name->file, "%s", file);
    name->line = line;
    name->inlined = inlined;
    names->count++;
}

typedef struct fixture {
    os_record *record;
    os_frame frames[ROOM];
    size_t count;
    names names; /* of all frames */
} fixture;

static int set_up(void **state)
{
    fixture *self = calloc(1, sizeof *self);

    assert_non_null(self);
    self->record = record_new();
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    fixture *self = *state;

    free(self->record);
    free(self);
    return 0;
}

static void read_frames(fixture *self)
{
    self->count = os_record_frames(self->record, self->frames, ROOM, true);
    self->names.count = 0;
    for (size_t i = 0; i < self->count; i++)
        symbol_find(self->frames[i].module, self->frames[i].offset, add_name, &self->names);
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void assert_name(const name *name, const char *function, const char *file, int line, bool inlined)
{
    assert_string_equal(name->function, function);
    assert_true(ends_with(name->file, file));
    assert_int_equal(name->line, line);
    assert_int_equal(name->inlined, inlined);
}

/* Checks the names of the fixture's functions, and that of their caller. */
static void assert_stack(const fixture *self, const char *prefix, const char *caller)
{
    static const struct {
        const char *function;
        int line;
    } links[] = {{"innermost", STACK_FIXTURE_INNERMOST_LINE},
                 {"inner", STACK_FIXTURE_INNER_LINE},
                 {"middle", STACK_FIXTURE_MIDDLE_LINE},
                 {"outer", STACK_FIXTURE_OUTER_LINE}};
    const name *names = self->names.at;
    char function[100];

    assert_in_range(self->names.count, 6, NAMES_MAX);
    assert_string_equal(names[0].function, "record_take");
    assert_true(ends_with(names[0].file, "record.c"));
    for (int i = 0; i < 4; i++) {
        snprintf(function, sizeof function, "%s_%s", prefix, links[i].function);
        assert_name(&names[i + 1], function, "stack_fixture.c", links[i].line, i == 0);
    }
    assert_string_equal(names[5].function, caller);
    assert_true(ends_with(names[5].file, "symbol_test.c"));
}

static void skip_without(bool part)
{
    if (!part)
        skip();
}

static const char *own_path(void)
{
    static char path[4096];
    size_t size = sizeof path;

    assert_int_equal(uv_exepath(path, &size), 0);
    return path;
}

/* Returns the address of a function of the program itself, as it was linked. */
static uint64_t own_offset(fixture *self)
{
    record_take(self->record);
    assert_in_range(os_record_frames(self->record, self->frames, ROOM, true), 1, ROOM);
    return self->frames[0].offset;
}

/* ---- Sound records --------------------------------------------------------------------------- */

static void a_stack_has_functions_and_lines(void **state)
{
    fixture *self = *state;

    skip_without(SYMBOLS && UNWINDER);
    assert_int_equal(plain_outer(record_take, self->record), 3);
    read_frames(self);
    assert_stack(self, "plain", __func__);
}

static void so_has_one_with_frame_pointers(void **state)
{
    fixture *self = *state;

    skip_without(SYMBOLS);
    assert_int_equal(framed_outer(record_take, self->record), 3);
    read_frames(self);
    assert_stack(self, "framed", __func__);
}

static void so_has_one_through_a_shared_library(void **state)
{
    fixture *self = *state;

    skip_without(SYMBOLS && UNWINDER);
    assert_int_equal(shared_outer(record_take, self->record), 3);
    read_frames(self);
    assert_stack(self, "shared", __func__);
    assert_string_not_equal(self->frames[1].module, self->frames[0].module);
}

static void debug_data_may_be_in_a_file_beside(void **state)
{
    fixture *self = *state;

    skip_without(SYMBOLS && UNWINDER);
    assert_int_equal(linked_outer(record_take, self->record), 3);
    read_frames(self);
    if (ELF)
        assert_stack(self, "linked", __func__);
    else /* libbacktrace does not read the file beside a library */
        assert_string_equal(self->names.at[1].function, __func__);
}

static void a_table_of_symbols_gives_functions(void **state)
{
    static const char *const functions[] = {"bare_inner", "bare_middle", "bare_outer"};
    fixture *self = *state;

    skip_without(SYMBOLS && UNWINDER);
    assert_int_equal(bare_outer(record_take, self->record), 3);
    read_frames(self);
    assert_in_range(self->names.count, 5, NAMES_MAX);
    for (int i = 0; i < 3; i++)
        assert_name(&self->names.at[i + 1], functions[i], "", 0, false);
    assert_string_equal(self->names.at[4].function, __func__);
}

static void frames_tell_module_and_build(void **state)
{
    fixture *self = *state;
    uint8_t build[OS_BUILD_ID_SIZE];
    char text[2 * OS_BUILD_ID_SIZE + 1];

    os_self_build(build);
    for (int i = 0; i < OS_BUILD_ID_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", build[i]);
    record_take(self->record);
    read_frames(self);
    assert_in_range(self->count, 1, ROOM);
    assert_true(self->frames[0].address > (uintptr_t)record_take);
    assert_true(self->frames[0].address < (uintptr_t)record_take + 4096);
    assert_string_equal(self->frames[0].build_id, text);
    assert_string_equal(self->frames[0].module, own_path());
}

static void no_more_frames_than_room(void **state)
{
    fixture *self = *state;
    os_frame two[3] = {{.address = 1}, {.address = 1}, {.address = 1}};

    framed_outer(record_take, self->record);
    assert_int_equal(os_record_frames(self->record, two, 2, true), 2);
    assert_int_equal(two[2].address, 1);
    assert_int_equal(os_record_frames(self->record, two, 0, true), 0);
}

/* ---- Damaged records ------------------------------------------------------------------------- */

static void a_truncated_stack_ends_early(void **state)
{
    fixture *self = *state;
    size_t whole;

    framed_outer(record_take, self->record);
    read_frames(self);
    whole = self->count;
    record_truncate(self->record);
    read_frames(self);
    assert_in_range(self->count, 1, whole);
    if (SYMBOLS)
        assert_string_equal(self->names.at[0].function, "record_take");
}

/* On ELF the frame pointers remain, if functions have them. */
static void a_smashed_stack_pointer_leaves_something(void **state)
{
    fixture *self = *state;

    framed_outer(record_take, self->record);
    record_smash(self->record);
    read_frames(self);
    assert_in_range(self->count, 1, ROOM);
    skip_without(SYMBOLS);
    if (ELF)
        assert_stack(self, "framed", __func__);
    else
        assert_string_equal(self->names.at[0].function, "record_take");
}

static void a_module_that_was_replaced_is_not_asked(void **state)
{
    fixture *self = *state;

    framed_outer(record_take, self->record);
    record_replace(self->record);
    read_frames(self);
    assert_in_range(self->count, 1, ROOM);
    assert_true(ends_with(self->frames[0].module, " (deleted)"));
    assert_string_equal(self->frames[0].build_id, "");
    assert_int_equal(self->names.count, 0);
}

static void an_empty_record_has_no_frames(void **state)
{
    fixture *self = *state;

    read_frames(self);
    assert_int_equal(self->count, 0);
}

static uint64_t next_random(void)
{
    static uint64_t seed = 88172645463325252U; /* xorshift64: Marsaglia, "Xorshift RNGs" */

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void assert_frames_are_sound(const fixture *self)
{
    assert_in_range(self->count, 0, ROOM);
    for (size_t i = 0; i < self->count; i++) {
        assert_non_null(memchr(self->frames[i].module, 0, sizeof self->frames[i].module));
        assert_non_null(memchr(self->frames[i].build_id, 0, sizeof self->frames[i].build_id));
    }
}

static void garbage_does_no_harm(void **state)
{
    fixture *self = *state;
    uint64_t *words = (void *)self->record;

    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < record_size() / sizeof *words; i++)
            words[i] = next_random();
        read_frames(self);
        assert_frames_are_sound(self);
    }
}

/* Words with few faults get farther than garbage, so bytes change, and whole words are exchanged. */
static void damage_does_no_harm(void **state)
{
    fixture *self = *state;
    os_record *sound = record_new();
    uint8_t *bytes = (void *)self->record;
    size_t words = record_size() / sizeof(uint64_t);

    plain_outer(record_take, sound);
    for (int round = 0; round < 150; round++) {
        memcpy(self->record, sound, record_size());
        for (uint64_t i = next_random() % 200; i > 0; i--)
            bytes[next_random() % record_size()] ^= (uint8_t)next_random();
        for (uint64_t i = next_random() % 20; i > 0; i--)
            memcpy(bytes + next_random() % words * 8, bytes + next_random() % 64 * 8, 8);
        read_frames(self);
        assert_frames_are_sound(self);
    }
    free(sound);
}

/* ---- Places ---------------------------------------------------------------------------------- */

static void a_place_has_its_function(void **state)
{
    fixture *self = *state;
    uint64_t offset = own_offset(self);

    skip_without(SYMBOLS);
    assert_int_equal(symbol_find(own_path(), offset, add_name, &self->names), 1);
    assert_string_equal(self->names.at[0].function, "record_take");
    assert_true(self->names.at[0].line > 0);
}

static void places_that_are_none_have_no_name(void **state)
{
    static const uint64_t places[] = {0, 1, 4095, 0x7FFFFFFF, 0x7FFFFFFFFFFFFFFF, UINT64_MAX - 1, UINT64_MAX};
    fixture *self = *state;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        assert_int_equal(symbol_find(own_path(), places[i], add_name, &self->names), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(symbol_find(own_path(), next_random() | (uint64_t)1 << 52, add_name, &self->names), 0);
}

/* An address of a library is not an address of the program. */
static void addresses_of_others_have_no_name(void **state)
{
    fixture *self = *state;
    uint64_t program, library;

    shared_outer(record_take, self->record);
    assert_in_range(os_record_frames(self->record, self->frames, ROOM, true), 1, ROOM);
    skip_without(self->frames[0].offset != self->frames[0].address);
    program = self->frames[0].address - self->frames[0].offset;
    library = self->frames[1].address;
    assert_int_equal(symbol_find(own_path(), library - program, add_name, &self->names), 0);
}

static void what_is_no_module_has_no_name(void **state)
{
    static const char *const paths[] = {"",          ".",   "/",        "no such file",
                                        "/dev/null", "NUL", "\xFF\xFE", STACK_FIXTURE_SOURCE};
    fixture *self = *state;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(symbol_find(paths[i], own_offset(self), add_name, &self->names), 0);
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Uses libuv, which takes UTF-8 on each system. */
static uv_file open_file(const char *path, int flags)
{
    uv_fs_t opened;
    uv_file file = uv_fs_open(NULL, &opened, path, flags, 0600, NULL);

    uv_fs_req_cleanup(&opened);
    assert_true(file >= 0);
    return file;
}

static void close_file(uv_file file)
{
    uv_fs_t closed;

    assert_int_equal(uv_fs_close(NULL, &closed, file, NULL), 0);
    uv_fs_req_cleanup(&closed);
}

static char *read_file(const char *path, size_t *size)
{
    enum { SIZE_MAX_READ = 1 << 24 };
    uv_file file = open_file(path, UV_FS_O_RDONLY);
    char *bytes = malloc(SIZE_MAX_READ);
    uv_buf_t buffer = uv_buf_init(bytes, SIZE_MAX_READ);
    uv_fs_t got;

    assert_non_null(bytes);
    uv_fs_read(NULL, &got, file, &buffer, 1, 0, NULL);
    assert_in_range(got.result, 1, SIZE_MAX_READ - 1);
    *size = (size_t)got.result;
    uv_fs_req_cleanup(&got);
    close_file(file);
    return bytes;
}

static int remove_file(const char *path)
{
    uv_fs_t removed;
    int rc = uv_fs_unlink(NULL, &removed, path, NULL);

    uv_fs_req_cleanup(&removed);
    return rc;
}

/* A library that this process has not loaded, and an address in it that has a name. */
typedef struct copied {
    char path[1100];
    char *bytes;
    size_t size;
    uint64_t offset;
} copied;

static copied copy_library(fixture *self, const char *name)
{
    copied copy;

    shared_outer(record_take, self->record);
    assert_in_range(os_record_frames(self->record, self->frames, ROOM, true), 2, ROOM);
    copy.offset = self->frames[1].offset;
    copy.bytes = read_file(self->frames[1].module, &copy.size);
    snprintf(copy.path, sizeof copy.path, "%s/%s", scratch, name);
    write_file(copy.path, copy.bytes, copy.size);
    return copy;
}

static void end_copy(copied *copy)
{
    free(copy->bytes);
    assert_int_equal(remove_file(copy->path), 0);
}

static void a_library_need_not_be_loaded(void **state)
{
    fixture *self = *state;
    copied copy;

    skip_without(SYMBOLS && UNWINDER);
    copy = copy_library(self, "cop\xC3\xAF"
                              "e.so");
    assert_int_equal(symbol_find(copy.path, copy.offset, add_name, &self->names), 2);
    assert_name(&self->names.at[0], "shared_innermost", "stack_fixture.c", STACK_FIXTURE_INNERMOST_LINE, true);
    assert_name(&self->names.at[1], "shared_inner", "stack_fixture.c", STACK_FIXTURE_INNER_LINE, false);
    end_copy(&copy);
}

static void a_file_in_its_place_is_another(void **state)
{
    fixture *self = *state;
    copied copy;

    skip_without(SYMBOLS && UNWINDER);
    copy = copy_library(self, "replaced");
    assert_int_equal(symbol_find(copy.path, copy.offset, add_name, &self->names), 2);
    assert_int_equal(remove_file(copy.path), 0);
    write_file(copy.path, copy.bytes + 100, 1000);
    assert_int_equal(symbol_find(copy.path, copy.offset, add_name, &self->names), 0);
    end_copy(&copy);
}

static void files_that_are_cut_do_no_harm(void **state)
{
    fixture *self = *state;
    copied copy;

    skip_without(SYMBOLS && UNWINDER);
    copy = copy_library(self, "cut");
    for (size_t size = 0; size < copy.size; size += copy.size / 20 + 1) {
        write_file(copy.path, copy.bytes, size);
        symbol_find(copy.path, copy.offset, add_name, &self->names);
    }
    end_copy(&copy);
}

/* ---- All at once ----------------------------------------------------------------------------- */

static void look_up_often(void *arg)
{
    const fixture *self = arg;
    names *names = calloc(1, sizeof *names);

    assert_non_null(names);
    for (int i = 0; i < 20; i++) {
        names->count = 0;
        symbol_find(self->frames[0].module, self->frames[0].offset, add_name, names);
        if (names->count != 1 || strcmp(names->at[0].function, "record_take") != 0)
            abort();
    }
    free(names);
}

static void threads_may_ask_at_once(void **state)
{
    fixture *self = *state;
    uv_thread_t threads[4];

    skip_without(SYMBOLS);
    own_offset(self);
    for (int i = 0; i < 4; i++)
        assert_int_equal(uv_thread_create(&threads[i], look_up_often, self), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(uv_thread_join(&threads[i]), 0);
}

static void nothing_stays_open(void **state)
{
    fixture *self = *state;
    size_t handles;

    shared_outer(record_take, self->record);
    read_frames(self); /* the first use loads libraries */
    handles = support_handles();
    for (int i = 0; i < 20; i++) {
        read_frames(self);
        symbol_find("no such file", 0, add_name, &self->names);
        symbol_find(STACK_FIXTURE_SOURCE, 0, add_name, &self->names);
    }
    assert_int_equal(support_handles(), handles);
}

/* Only so many modules are kept.  This test is the last one, because new modules have no names after it. */
static void modules_are_kept_up_to_a_number(void **state)
{
    fixture *self = *state;
    copied copy;
    int named = 0;

    skip_without(SYMBOLS && UNWINDER);
    copy = copy_library(self, "many");
    for (int i = 0; i < 70; i++) {
        assert_int_equal(remove_file(copy.path), 0);
        snprintf(copy.path, sizeof copy.path, "%s/many%d", scratch, i);
        write_file(copy.path, copy.bytes, copy.size);
        named += symbol_find(copy.path, copy.offset, add_name, &self->names) > 0;
    }
    assert_in_range(named, 30, 63);
    assert_int_equal(symbol_find(own_path(), own_offset(self), add_name, &self->names), 1);
    end_copy(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stack_has_functions_and_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_has_one_with_frame_pointers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_has_one_through_a_shared_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(debug_data_may_be_in_a_file_beside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_table_of_symbols_gives_functions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_tell_module_and_build, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_frames_than_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_truncated_stack_ends_early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_smashed_stack_pointer_leaves_something, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_module_that_was_replaced_is_not_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_record_has_no_frames, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_does_no_harm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_does_no_harm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_has_its_function, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_that_are_none_have_no_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_of_others_have_no_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_module_has_no_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_library_need_not_be_loaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_its_place_is_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_are_cut_do_no_harm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_may_ask_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_stays_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(modules_are_kept_up_to_a_number, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
