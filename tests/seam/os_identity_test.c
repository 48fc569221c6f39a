/* Goal: both twins keep every sentence of src/os/identity.h. */
#include "seam.h"

#include <uv.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

static void be_build(const char *argument)
{
    uint8_t build[OS_BUILD_ID_SIZE];

    (void)argument;
    os_self_build(build);
    require(os_channel_write(above->channel, build, sizeof build, -1, -1) == 0);
}

static void be_thread(const char *argument)
{
    char byte;

    (void)argument;
    say_number((int64_t)os_self_thread());
    hear_parent(&byte, 1);
}

static void be_process(const char *argument)
{
    char byte;

    (void)argument;
    say_number((int64_t)os_self_process());
    hear_parent(&byte, 1);
}

static const seam_role roles[] = {
    {"build", be_build},
    {"thread", be_thread},
    {"process", be_process},
    {0},
};

/* ---- This process ---------------------------------------------------------------------------- */

static void the_build_is_the_same_in_a_child(void **state)
{
    static const uint8_t none[OS_BUILD_ID_SIZE];
    uint8_t own[OS_BUILD_ID_SIZE], heard[OS_BUILD_ID_SIZE];
    kid kid = start_role("build");

    (void)state;
    os_self_build(own);
    hear_stream(&kid, OS_CHANNEL, heard, sizeof heard);
    assert_memory_equal(heard, own, sizeof own);
    assert_memory_not_equal(own, none, sizeof own);
    finish_well(&kid);
}

static void code_is_found_in_its_program(void **state)
{
    char path[1024], brief[4];
    uint64_t offset = 0, other = 0;
    int (*function)(const char *, ...) = printf;

    (void)state;
    assert_true(os_self_locate((uintptr_t)be_build, path, sizeof path, &offset));
    assert_non_null(strstr(path, "os_identity_test"));
    assert_true(os_self_locate((uintptr_t)be_build + 1, path, sizeof path, &other));
    assert_int_equal(other, offset + 1);
    assert_false(os_self_locate((uintptr_t)be_build, brief, sizeof brief, &offset));
    assert_false(os_self_locate(1, path, sizeof path, &offset));
    assert_int_equal(other, offset + 1);
    assert_true(os_self_locate((uintptr_t)function, path, sizeof path, &offset));
}

static void wait_for_semaphore(void *semaphore)
{
    uv_sem_wait(semaphore);
}

/* A sanitizer starts a thread of its own with the program's first. */
static void threads_are_counted_where_they_are_known(void **state)
{
    int before;
    uv_sem_t semaphore;
    uv_thread_t thread;

    (void)state;
    assert_int_equal(uv_sem_init(&semaphore, 1), 0);
    assert_int_equal(uv_thread_create(&thread, wait_for_semaphore, &semaphore), 0);
    uv_thread_join(&thread);
    uv_sem_destroy(&semaphore);
    before = os_self_threads();
    assert_true(before >= 0);
    assert_int_equal(uv_sem_init(&semaphore, 0), 0);
    assert_int_equal(uv_thread_create(&thread, wait_for_semaphore, &semaphore), 0);
    assert_int_equal(os_self_threads(), before ? before + 1 : 0);
    uv_sem_post(&semaphore);
    uv_thread_join(&thread);
    uv_sem_destroy(&semaphore);
}

static void note_number(void *number)
{
    *(uint64_t *)number = os_self_thread();
}

static void a_thread_has_a_number_while_it_lives(void **state)
{
    uint64_t own = os_self_thread(), others = 0;
    uv_thread_t thread;

    (void)state;
    assert_true(own != 0 && own < (UINT64_C(1) << OS_THREAD_BITS));
    assert_true(own == os_self_thread());
    assert_true(os_thread_lives(own));
    assert_int_equal(uv_thread_create(&thread, note_number, &others), 0);
    uv_thread_join(&thread);
    assert_true(others != 0 && others != own);
    assert_false(os_thread_lives(others));
    assert_false(os_thread_lives(own ^ UINT64_C(1) << 33)); /* one that had the same id at another time */
}

/* Also before its parent has learnt of it. */
static void a_childs_thread_is_seen_to_end(void **state)
{
    kid kid = start_role("thread");
    uint64_t thread = (uint64_t)hear_number(&kid);

    (void)state;
    assert_true(os_thread_lives(thread));
    os_child_kill(kid.child);
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    assert_false(os_thread_lives(thread));
    finish(&kid);
    assert_false(os_thread_lives(thread));
}

static void a_process_has_a_number_while_it_lives(void **state)
{
    uint64_t own = os_self_process(), others;
    kid kid = start_role("process");

    (void)state;
    others = (uint64_t)hear_number(&kid);
    assert_true(own != 0 && own < (UINT64_C(1) << OS_PROCESS_BITS));
    assert_true(own == os_self_process());
    assert_true(own != others);
    assert_true(os_process_lives(own));
    assert_true(os_process_lives(others));
    assert_false(os_process_lives(own ^ UINT64_C(1) << 33)); /* its id, at another time */
    os_child_kill(kid.child);
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    assert_false(os_process_lives(others)); /* also before its parent has learnt of it */
    finish(&kid);
    assert_false(os_process_lives(others));
}

static bool has_another_generation(void *arg)
{
    return os_self_generation() != *(const uint32_t *)arg;
}

/* A copy of a copy has neither the one nor the other. */
static bool has_new_generations(void *arg)
{
    uint32_t own = os_self_generation();

    return has_another_generation(arg) && support_holds_in_copy(has_another_generation, arg) &&
           support_holds_in_copy(has_another_generation, &own);
}

static void a_copy_has_another_generation(void **state)
{
    uint32_t own = os_self_generation();

    (void)state;
    assert_true(support_holds_in_copy(has_new_generations, &own));
    assert_int_equal(os_self_generation(), own);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(code_is_found_in_its_program),
    cmocka_unit_test(the_build_is_the_same_in_a_child),
    cmocka_unit_test(threads_are_counted_where_they_are_known),
    cmocka_unit_test(a_thread_has_a_number_while_it_lives),
    cmocka_unit_test(a_childs_thread_is_seen_to_end),
    cmocka_unit_test(a_process_has_a_number_while_it_lives),
    cmocka_unit_test(a_copy_has_another_generation),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
