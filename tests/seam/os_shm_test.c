/* Goal: both twins keep every sentence of src/os/memory.h. */
#include "seam.h"

#include <stdlib.h>
#include <uv.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

/* Answers each time the word in the box has changed, on a word of the input. */
static void be_answering(const char *argument)
{
    test_box *box = above->box.address;
    _Atomic uint32_t *answered = above->inputs[0].address;

    for (uint32_t seen = 0; seen < (uint32_t)atoi(argument); seen++) {
        while (atomic_load(&box->asked) == seen)
            os_shm_wait(&above->box, &box->asked, seen, -1);
        atomic_store(answered, seen + 1);
        os_shm_wake(&above->inputs[0], answered, 1);
    }
}

/* Sleeps until a word of the input has changed. */
static void be_sleeping(const char *argument)
{
    const os_shm *input = &above->inputs[0];
    _Atomic uint32_t *word = (_Atomic uint32_t *)input->address + atoi(argument);

    say("asleep\n");
    while (atomic_load(word) == 0)
        os_shm_wait(input, word, 0, -1);
}

/* Writes behind what the parent has committed, once it has committed that itself. */
static void be_committing(const char *argument)
{
    const os_shm *input = &above->inputs[0];
    size_t at = (size_t)atoll(argument);

    require(os_shm_commit(input, at, OS_PAGE) == 0);
    fill_pattern((uint8_t *)input->address + at, OS_PAGE);
    say(is_pattern(input->address, OS_PAGE) ? "whole\n" : "broken\n");
}

/* Reads what only the parent may write, and tries to write it nevertheless.  Reports by the second input that it has
 * come so far. */
static void be_reading(const char *argument)
{
    uint8_t *owned = above->inputs[0].address;
    _Atomic uint32_t *reached = above->inputs[1].address;

    require(is_pattern(owned, PAGE));
    require(!support_make_writable(owned, PAGE));
    atomic_store(reached, 1);
    if (strcmp(argument, "and writing") == 0)
        *(volatile uint8_t *)owned = 1;
    hear_parent(&(char){0}, 1);
    say(is_pattern(owned, PAGE) && owned[PAGE] == 7 ? "whole\n" : "broken\n");
}

/* Writes one byte behind the end of guarded memory. */
static void be_overrunning(const char *argument)
{
    os_guarded memory;

    (void)argument;
    require(os_guarded_create(&memory, PAGE) == 0);
    ((volatile uint8_t *)memory.address)[memory.size] = 1;
}

static const seam_role roles[] = {
    {"overrunning", be_overrunning}, {"reading", be_reading},       {"answering", be_answering},
    {"sleeping", be_sleeping},       {"committing", be_committing}, {0},
};

/* ---- Shared memory --------------------------------------------------------------------------- */

static void a_segment_is_zero_filled_and_writable(void **state)
{
    os_shm shm;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(os_shm_create(&shm, 3 * PAGE, 0), 0);
    assert_int_equal(shm.size, 3 * PAGE);
    assert_int_not_equal(shm.handle, -1);
    bytes = shm.address;
    for (size_t at = 0; at < shm.size; at++)
        assert_int_equal(bytes[at], 0);
    fill_pattern(bytes, shm.size);
    assert_true(is_pattern(bytes, shm.size));
    os_shm_close(&shm);
}

static void a_segment_may_have_one_byte(void **state)
{
    os_shm shm;

    (void)state;
    assert_int_equal(os_shm_create(&shm, 1, 0), 0);
    assert_int_equal(shm.size, 1);
    *(char *)shm.address = 1;
    os_shm_close(&shm);
}

static void a_segment_larger_than_the_address_space_is_no_memory(void **state)
{
    os_shm shm = {0};

    (void)state;
    assert_int_equal(os_shm_create(&shm, sizeof(void *) > 4 ? SIZE_MAX >> 14 : SIZE_MAX - 0x10000000, 0), XF_ENOMEM);
    assert_true(*xf_error_detail() != 0);
    assert_null(shm.address);
}

static void a_forgotten_segment_stays_mapped(void **state)
{
    size_t handles = support_handles(), mappings = support_mappings();
    os_shm shm;

    (void)state;
    assert_int_equal(os_shm_create(&shm, PAGE, 0), 0);
    assert_int_equal(support_handles(), handles + 1);
    assert_int_equal(support_mappings(), mappings + 1);
    os_shm_forget(&shm);
    assert_int_equal(shm.handle, -1);
    assert_int_equal(support_handles(), handles);
    fill_pattern(shm.address, PAGE);
    assert_true(is_pattern(shm.address, PAGE));
    os_shm_close(&shm);
    assert_int_equal(support_mappings(), mappings);
}

static void a_reserved_segment_is_usable_where_it_was_committed(void **state)
{
    const size_t reserved = sizeof(size_t) > 4 ? (size_t)1 << 34 : (size_t)1 << 26;
    size_t mappings = support_mappings(), memory = support_memory();
    os_shm shm;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(os_shm_create(&shm, reserved, OS_SHM_RESERVED), 0);
    assert_int_equal(shm.size, reserved);
    assert_true(support_memory() < memory + (64 << 20));
    assert_int_equal(os_shm_commit(&shm, 16 * OS_PAGE, 4 * OS_PAGE), 0);
    bytes = (uint8_t *)shm.address + 16 * OS_PAGE;
    for (size_t at = 0; at < 4 * OS_PAGE; at++)
        assert_int_equal(bytes[at], 0);
    fill_pattern(bytes, 4 * OS_PAGE);
    assert_int_equal(os_shm_commit(&shm, 16 * OS_PAGE, 8 * OS_PAGE), 0);
    assert_true(is_pattern(bytes, 4 * OS_PAGE));
    assert_int_equal(os_shm_commit(&shm, reserved, OS_PAGE), XF_ENOMEM);
    assert_int_equal(os_shm_commit(&shm, reserved - OS_PAGE, 2 * OS_PAGE), XF_ENOMEM);
    os_shm_close(&shm);
    assert_int_equal(support_mappings(), mappings);
}

static void parent_and_child_commit_for_each_other(void **state)
{
    os_start start = role_start("committing 65536");
    os_shm input;
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&input, 1 << 20, OS_SHM_RESERVED), 0);
    assert_int_equal(os_shm_commit(&input, 0, OS_PAGE), 0);
    fill_pattern(input.address, OS_PAGE);
    start.inputs[0] = &input;
    kid = start_as(&start);
    expect_line(&kid, "whole");
    finish_well(&kid);
    assert_true(is_pattern((uint8_t *)input.address + 65536, OS_PAGE));
    os_shm_close(&input);
}

static kid start_reading(const char *role, os_shm *owned, os_shm *shared)
{
    os_start start = role_start(role);

    assert_int_equal(os_shm_create(owned, 4 * PAGE, OS_SHM_OWNED | OS_SHM_RESERVED), 0);
    assert_int_equal(os_shm_create(shared, OS_PAGE, 0), 0);
    assert_int_equal(os_shm_commit(owned, 0, PAGE), 0);
    assert_true(os_shm_is_sealed(owned));
    assert_false(os_shm_is_sealed(shared));
    fill_pattern(owned->address, PAGE);
    start.inputs[0] = owned;
    start.inputs[1] = shared;
    return start_as(&start);
}

static void a_child_sees_what_its_parent_writes_to_an_owned_segment(void **state)
{
    os_shm owned, shared;
    kid kid = start_reading("reading", &owned, &shared);

    (void)state;
    assert_int_equal(os_shm_commit(&owned, PAGE, OS_PAGE), 0);
    ((uint8_t *)owned.address)[PAGE] = 7;
    send_text(&kid, "x");
    expect_line(&kid, "whole");
    finish_well(&kid);
    assert_int_equal(*(uint32_t *)shared.address, 1);
    os_shm_close(&owned);
    os_shm_close(&shared);
}

static void a_child_that_writes_to_an_owned_segment_crashes(void **state)
{
    os_shm owned, shared;
    kid kid = start_reading("reading and writing", &owned, &shared);
    os_end end = finish(&kid);

    (void)state;
    assert_int_equal(end.kind, OS_CRASHED);
    assert_int_equal(end.code, XF_CRASH_ACCESS);
    assert_int_equal(*(uint32_t *)shared.address, 1);
    assert_true(is_pattern(owned.address, PAGE));
    os_shm_close(&owned);
    os_shm_close(&shared);
}

static void guarded_memory_is_zero_filled_and_can_be_written_to_its_end(void **state)
{
    os_guarded memory;

    (void)state;
    assert_int_equal(os_guarded_create(&memory, 1), 0);
    assert_true(memory.size >= 1);
    for (size_t at = 0; at < memory.size; at++)
        assert_int_equal(((uint8_t *)memory.address)[at], 0);
    fill_pattern(memory.address, memory.size);
    os_guarded_free(&memory);
    assert_null(memory.address);
    os_guarded_free(&memory);
    assert_int_equal(os_guarded_create(&memory, SIZE_MAX), XF_ENOMEM);
    assert_int_equal(os_guarded_create(&memory, SIZE_MAX / 2), XF_ENOMEM);
}

static void a_write_behind_guarded_memory_crashes(void **state)
{
    (void)state;
    expect_end("overrunning", OS_CRASHED, XF_CRASH_ACCESS);
}

static void a_wait_ends_when_the_word_is_another_or_time_has_passed(void **state)
{
    os_shm shm;
    _Atomic uint32_t *word;
    uint64_t before = uv_hrtime();

    (void)state;
    assert_int_equal(os_shm_create(&shm, PAGE, OS_SHM_WAITABLE), 0);
    word = shm.address;
    os_shm_wait(&shm, word, 1, -1); /* it is 0 */
    while (uv_hrtime() < before + 30 * UINT64_C(1000000))
        os_shm_wait(&shm, word, 0, 30); /* which may return before, but not never */
    os_shm_wake(&shm, word, OS_ALL);    /* for nobody */
    os_shm_close(&shm);
}

static void sleepers_on_a_word_are_woken(void **state)
{
    enum { TURNS = 200 };
    os_start start = role_start("answering 200");
    _Atomic uint32_t *answered;
    os_shm input;
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&input, PAGE, OS_SHM_WAITABLE), 0);
    answered = input.address;
    start.inputs[0] = &input;
    kid = start_as(&start);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        atomic_store(&box_of(&kid)->asked, turn + 1);
        os_shm_wake(&kid.box, &box_of(&kid)->asked, 1);
        while (atomic_load(answered) == turn)
            os_shm_wait(&input, answered, turn, -1);
    }
    finish_well(&kid);
    os_shm_close(&input);
}

/* A wake of one word does not reach sleepers on another, killed sleepers do not count, and each living one is woken. */
static void a_wake_reaches_the_living_sleepers_of_its_word(void **state)
{
    const char *roles[] = {"sleeping 1", "sleeping 2", "sleeping 1", "sleeping 1"};
    _Atomic uint32_t *words;
    os_shm input;
    kid kids[4];

    (void)state;
    assert_int_equal(os_shm_create(&input, PAGE, OS_SHM_WAITABLE), 0);
    words = input.address;
    for (int i = 0; i < 4; i++) {
        os_start start = role_start(roles[i]);
        start.inputs[0] = &input;
        kids[i] = start_as(&start);
        expect_line(&kids[i], "asleep");
    }
    assert_int_equal(os_child_wait(kids[0].child, 30), XF_ETIMEDOUT); /* which lets them fall asleep, as it should */
    kill_and_finish(&kids[0]);
    atomic_store(&words[1], 1);
    os_shm_wake(&input, &words[1], OS_ALL);
    finish_well(&kids[2]);
    finish_well(&kids[3]);
    atomic_store(&words[2], 1);
    os_shm_wake(&input, &words[2], 1);
    finish_well(&kids[1]);
    os_shm_close(&input);
}

/* More words than Windows waits for handles at once, than a segment's list of sleepers has room for there, and than one
 * futex_waitv takes. */
enum { MANY = 300, SEGMENTS = 2 };

typedef struct many {
    os_shm shm[SEGMENTS];
    os_word words[MANY];
    _Atomic bool over;
} many;

static _Atomic uint32_t *word_of(many *many, int number)
{
    return (_Atomic uint32_t *)many->shm[number % SEGMENTS].address + number / SEGMENTS;
}

static void make_many(many *many)
{
    atomic_store(&many->over, false);
    for (int i = 0; i < SEGMENTS; i++)
        assert_int_equal(os_shm_create(&many->shm[i], PAGE, OS_SHM_WAITABLE), 0);
    for (int i = 0; i < MANY; i++)
        many->words[i] = (os_word){&many->shm[i % SEGMENTS], word_of(many, i), 0, NULL};
}

static void close_many(many *many)
{
    for (int i = 0; i < SEGMENTS; i++)
        os_shm_close(&many->shm[i]);
}

static void a_wait_for_any_word_ends_as_one_for_a_word_does(void **state)
{
    uint64_t before = uv_hrtime();
    many many;

    (void)state;
    make_many(&many);
    for (size_t count = 1; count <= MANY; count += MANY - 1) {
        many.words[count - 1].seen = 1; /* it is 0 */
        os_shm_wait_any(many.words, count, -1);
        many.words[count - 1].seen = 0;
        before = uv_hrtime();
        while (uv_hrtime() < before + 30 * UINT64_C(1000000))
            os_shm_wait_any(many.words, count, 30);
    }
    close_many(&many);
}

static void wait_for_many(void *arg)
{
    many *many = arg;

    os_shm_wait_any(many->words, MANY, -1);
    atomic_store(&many->over, true);
}

/* A sleeper does not check the words again and again: if it did, it would return before one of them is woken. */
static void each_of_many_words_wakes_a_sleeper(void **state)
{
    const int woken[] = {0, 126, 127, 128, 253, 254, MANY - 1};
    uv_thread_t sleeper;
    many many;

    (void)state;
    make_many(&many);
    for (size_t i = 0; i < sizeof woken / sizeof *woken; i++) {
        _Atomic uint32_t *word = word_of(&many, woken[i]);
        atomic_store(&many.over, false);
        assert_int_equal(uv_thread_create(&sleeper, wait_for_many, &many), 0);
        uv_sleep(20); /* it must not return in this time, in which no word changes */
        assert_false(atomic_load(&many.over));
        atomic_store(word, 1);
        os_shm_wake(many.words[woken[i]].shm, word, OS_ALL);
        uv_thread_join(&sleeper);
        atomic_store(word, 0);
    }
    close_many(&many);
}

static void another_process_wakes_a_sleeper_on_many_words(void **state)
{
    enum { TURNS = 50 };
    os_start start = role_start("answering 50");
    os_word *word;
    many many;
    kid kid;

    (void)state;
    make_many(&many);
    word = &many.words[MANY - SEGMENTS];
    start.inputs[0] = word->shm;
    *word = many.words[0]; /* where the child answers, among the last */
    kid = start_as(&start);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        atomic_store(&box_of(&kid)->asked, turn + 1);
        os_shm_wake(&kid.box, &box_of(&kid)->asked, 1);
        many.words[0].seen = word->seen = turn;
        while (atomic_load(word->word) == turn)
            os_shm_wait_any(many.words + 1, MANY - 1, -1);
    }
    finish_well(&kid);
    close_many(&many);
}

static void closing_nothing_is_harmless(void **state)
{
    os_shm shm = OS_SHM_NONE;

    (void)state;
    os_shm_close(&shm);
    os_shm_close(&shm);
    assert_null(shm.address);
}

static void a_segment_is_opened_as_what_it_is(void **state)
{
    os_shm shm, other;
    intptr_t copy;

    (void)state;
    assert_int_equal(os_shm_create(&shm, 5 * OS_PAGE, OS_SHM_RESERVED | OS_SHM_WAITABLE), 0);
    assert_int_equal(os_shm_commit(&shm, 0, OS_PAGE), 0);
    fill_pattern(shm.address, OS_PAGE);
    assert_int_equal(os_handle_copy(shm.handle, &copy), 0);
    assert_int_equal(os_shm_open(&other, copy, shm.size, shm.flags), 0);
    assert_int_equal(other.size, shm.size);
    assert_true(is_pattern(other.address, OS_PAGE));
    assert_int_equal(os_shm_commit(&other, 4 * OS_PAGE, OS_PAGE), 0);
    fill_pattern((uint8_t *)other.address + 4 * OS_PAGE, OS_PAGE);
    assert_true(is_pattern((uint8_t *)shm.address + 4 * OS_PAGE, OS_PAGE));
    os_shm_close(&other);
    assert_int_equal(os_handle_copy(shm.handle, &copy), 0);
    assert_int_equal(os_shm_open(&other, copy, 6 * OS_PAGE, shm.flags), XF_EPROTO);
    assert_int_equal(os_handle_copy(shm.handle, &copy), 0);
    assert_int_equal(os_shm_open(&other, copy, 0, shm.flags), XF_EPROTO);
    os_shm_close(&shm);
    assert_int_equal(os_handle_copy(0x7ffffff0, &copy), XF_EINVAL);
    assert_int_equal(os_handle_copy(-1, &copy), XF_EINVAL);
}

static void use_everything(void)
{
    a_segment_is_opened_as_what_it_is(NULL);
    a_wait_for_any_word_ends_as_one_for_a_word_does(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* Segments of the process that is copied: an open one, one that a copy does not have mapped, and one that only its
 * process can write to. */
enum { LET_GO = 3 };

/* In place of a segment that is not mapped here there may be another by now. */
static bool lets_go_of_segments(void *arg)
{
    os_shm *shm = arg, others[LET_GO];
    size_t handles = support_handles();

    for (int i = 0; i < LET_GO; i++)
        if (os_shm_create(&others[i], PAGE, 0) < 0)
            return false;
    for (int i = 0; i < LET_GO; i++)
        os_shm_let_go(&shm[i]);
    for (int i = 0; i < LET_GO; i++)
        memset(others[i].address, 1, PAGE);
    return support_handles() == handles;
}

static void a_copy_lets_go_of_a_segment(void **state)
{
    static const int flags[LET_GO] = {OS_SHM_WAITABLE, OS_SHM_PRIVATE, OS_SHM_OWNED};
    os_shm shm[LET_GO];

    (void)state;
    for (int i = 0; i < LET_GO; i++) {
        assert_int_equal(os_shm_create(&shm[i], PAGE, flags[i]), 0);
        fill_pattern(shm[i].address, PAGE);
    }
    assert_true(support_holds_in_copy(lets_go_of_segments, shm));
    for (int i = 0; i < LET_GO; i++) {
        assert_true(is_pattern(shm[i].address, PAGE));
        os_shm_close(&shm[i]);
    }
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_segment_is_zero_filled_and_writable),
    cmocka_unit_test(a_segment_may_have_one_byte),
    cmocka_unit_test(a_segment_larger_than_the_address_space_is_no_memory),
    cmocka_unit_test(a_forgotten_segment_stays_mapped),
    cmocka_unit_test(a_reserved_segment_is_usable_where_it_was_committed),
    cmocka_unit_test(parent_and_child_commit_for_each_other),
    cmocka_unit_test(a_child_sees_what_its_parent_writes_to_an_owned_segment),
    cmocka_unit_test(a_child_that_writes_to_an_owned_segment_crashes),
    cmocka_unit_test(guarded_memory_is_zero_filled_and_can_be_written_to_its_end),
    cmocka_unit_test(a_write_behind_guarded_memory_crashes),
    cmocka_unit_test(a_wait_ends_when_the_word_is_another_or_time_has_passed),
    cmocka_unit_test(sleepers_on_a_word_are_woken),
    cmocka_unit_test(a_wait_for_any_word_ends_as_one_for_a_word_does),
    cmocka_unit_test(each_of_many_words_wakes_a_sleeper),
    cmocka_unit_test(another_process_wakes_a_sleeper_on_many_words),
    cmocka_unit_test(a_wake_reaches_the_living_sleepers_of_its_word),
    cmocka_unit_test(closing_nothing_is_harmless),
    cmocka_unit_test(a_segment_is_opened_as_what_it_is),
    cmocka_unit_test(a_copy_lets_go_of_a_segment),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
