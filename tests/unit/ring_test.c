/* Goal: a ring keeps its order whatever its threads do at the same time, and no content of its memory does harm. */
#include "base/clock.h"
#include "messaging/ring_internal.h"
#include "support.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MIB = 1024 * 1024 };

static os_shm segment;

static void open_lane(ring *ring, const ring_plan *plan)
{
    uint64_t size;

    assert_int_equal(ring_size(plan, &size), 0);
    assert_int_equal(os_shm_create(&segment, (size_t)size, OS_SHM_RESERVED | OS_SHM_WAITABLE), 0);
    assert_int_equal(ring_create(ring, &segment, 0, plan), 0);
}

static void put(ring *ring, const char *text)
{
    assert_int_equal(ring_push(ring, text, strlen(text), clock_deadline(0)), 0);
}

static int take(ring *ring, char room[64])
{
    ring_message hold;
    int rc = ring_take(ring, &hold, 63, clock_deadline(0));

    if (rc < 0)
        return rc;
    ring_copy_out(ring, &hold, room);
    room[hold.size] = 0;
    return 0;
}

static ring_cell *first_cell(ring *ring)
{
    return ring_cell_at(ring, &ring->buffers[0], 0);
}

/* ---- Late hints ------------------------------------------------------------------------------ */

/* A producer may have been delayed for long, and search at positions that were closed meanwhile. */
static void forget_hint(ring *ring)
{
    atomic_store(&ring->head->put_at, 0);
}

static void a_ring_is_closed_once(void **state)
{
    enum { COUNT = RING_FIRST_CELLS + 1 };
    char room[64], text[16];
    ring ring;

    (void)state;
    open_lane(&ring, &(ring_plan){.room = 64, .memory = MIB});
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "%d", i);
        put(&ring, text);
    }
    forget_hint(&ring);
    put(&ring, "last");
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(take(&ring, room), 0);
        assert_string_equal(room, text);
    }
    assert_int_equal(take(&ring, room), 0);
    assert_string_equal(room, "last");
    os_shm_close(&segment);
}

static void an_end_is_the_end(void **state)
{
    char room[64];
    ring ring;

    (void)state;
    open_lane(&ring, &(ring_plan){.capacity = 4, .room = 64, .memory = MIB});
    for (int i = 0; i < 4; i++)
        put(&ring, "x");
    assert_int_equal(ring_shut_down(&ring), 0);
    forget_hint(&ring);
    assert_int_equal(ring_push(&ring, "y", 1, clock_deadline(0)), XF_EEND);
    forget_hint(&ring);
    assert_int_equal(ring_shut_down(&ring), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(take(&ring, room), 0);
    assert_int_equal(take(&ring, room), XF_EEND);
    os_shm_close(&segment);
}

/* ---- Long delays ----------------------------------------------------------------------------- */

/* Pushes and pops until the ring has made so many laps. */
static void go_round(ring *ring, int laps)
{
    char room[64];

    for (int i = 0; i < laps; i++) {
        put(ring, "x");
        assert_int_equal(take(ring, room), 0);
    }
}

/* A producer that was delayed before its claim does not claim a cell of a later lap instead. */
static void an_old_claim_is_not_taken_for_a_new_one(void **state)
{
    enum { MOST = 70000 };
    ring_position spot;
    ring ring;

    (void)state;
    open_lane(&ring, &(ring_plan){.capacity = 1, .room = 64, .memory = MIB});
    go_round(&ring, 1);
    assert_int_equal(ring_search_room(&ring, &spot), RING_FOUND);
    for (int i = 0; i < MOST; i++) {
        go_round(&ring, 1);
        assert_true(atomic_load(&first_cell(&ring)->putter) != spot.claim);
    }
    os_shm_close(&segment);
}

/* ---- Broken memory --------------------------------------------------------------------------- */

#define PLAN ((ring_plan){.capacity = 4, .room = 64, .memory = MIB})

static void too_long_for_a_cell(ring *ring)
{
    first_cell(ring)->size = 65;
}

static void longer_than_anything(ring *ring)
{
    first_cell(ring)->size = UINT64_MAX;
}

static void in_no_block(ring *ring)
{
    atomic_store(&first_cell(ring)->block, 12345);
}

static void far_outside(ring *ring)
{
    atomic_store(&first_cell(ring)->block, UINT64_MAX & ~(uint64_t)(OS_PAGE - 1));
}

static void longer_than_its_block(ring *ring)
{
    atomic_store(&first_cell(ring)->block, ring->blocks.pages_at);
    first_cell(ring)->size = MIB - 1;
}

static void another_ring_that_is_not_there(ring *ring)
{
    atomic_store(&first_cell(ring)->turn, 0);
    atomic_store(&first_cell(ring)->putter, ring_claim(0, RING_NEXT));
}

static void expect_broken(void (*change)(ring *ring))
{
    size_t before = support_memory();
    char room[64];
    ring ring;

    open_lane(&ring, &PLAN);
    put(&ring, "x");
    change(&ring);
    assert_int_equal(take(&ring, room), XF_EPROTO);
    assert_true(support_memory() < before + 16 * (size_t)MIB);
    os_shm_close(&segment);
}

static void hostile_sizes_are_reported(void **state)
{
    (void)state;
    expect_broken(too_long_for_a_cell);
    expect_broken(longer_than_anything);
    expect_broken(in_no_block);
    expect_broken(far_outside);
    expect_broken(longer_than_its_block);
    expect_broken(another_ring_that_is_not_there);
}

/* The messages behind a broken one arrive. */
static void a_broken_message_is_alone(void **state)
{
    char room[64];
    ring ring;

    (void)state;
    open_lane(&ring, &PLAN);
    put(&ring, "broken");
    put(&ring, "good");
    too_long_for_a_cell(&ring);
    assert_int_equal(take(&ring, room), XF_EPROTO);
    assert_int_equal(take(&ring, room), 0);
    assert_string_equal(room, "good");
    os_shm_close(&segment);
}

/* With any content of the ring, each call returns, and touches nothing outside. */
static void noise_does_no_harm(void **state)
{
    uint64_t seed = 12345;

    (void)state;
    for (int turn = 0; turn < 300; turn++) {
        ring_plan plan = {.capacity = turn % 3 ? 4 : 0, .room = 64, .memory = MIB};
        static char all[MIB];
        char room[64], long_one[5000] = {0};
        ring_message hold;
        uint64_t *words, count;
        ring ring;
        open_lane(&ring, &plan);
        put(&ring, "x");
        (void)ring_push(&ring, long_one, sizeof long_one, 0);
        words = (uint64_t *)((char *)segment.address + sizeof(ring_plan));
        count = (ring.buffers[0].cells_at + 4 * OS_PAGE) / sizeof *words - sizeof(ring_plan) / sizeof *words;
        for (int i = 0; i < 1 + turn % 40; i++) {
            uint64_t at;
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            at = turn % 2 ? (seed >> 33) % count : (seed >> 33) % (sizeof(ring_head) / sizeof *words - 64);
            if (&words[at] == (uint64_t *)&ring.head->recovering)
                continue; /* the word names a process, and the call would ask the system for it */
            words[at] = turn % 5 == 0 ? seed % 8 : seed;
        }
        (void)ring_push(&ring, "y", 1, 0);
        (void)ring_push(&ring, long_one, sizeof long_one, 0);
        (void)take(&ring, room);
        if (ring_take(&ring, &hold, UINT64_MAX, 0) == 0)
            ring_copy_out(&ring, &hold, all);
        (void)ring_search_count(&ring);
        (void)ring_shut_down(&ring);
        (void)take(&ring, room);
        os_shm_close(&segment);
    }
}

static void impossible_plans_are_refused(void **state)
{
    static const ring_plan plans[] = {{.capacity = 4, .room = 15, .memory = MIB},
                                      {.capacity = 4, .room = 0, .memory = MIB},
                                      {.capacity = 4, .room = 1 << 30, .memory = MIB},
                                      {.capacity = UINT64_MAX, .room = 16, .memory = MIB},
                                      {.capacity = 4, .room = 16, .memory = 0},
                                      {.capacity = 4, .room = 16, .memory = UINT64_MAX},
                                      {.capacity = 4, .room = 16, .memory = UINT64_C(1) << 40}};
    ring ring, other;

    (void)state;
    open_lane(&ring, &PLAN);
    assert_int_equal(ring_attach(&other, &segment, 0), 0);
    assert_int_equal(ring_attach(&other, &segment, segment.size), XF_EPROTO);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        ring.head->plan = plans[i];
        assert_int_equal(ring_attach(&other, &segment, 0), XF_EPROTO);
    }
    os_shm_close(&segment);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_is_closed_once),
        cmocka_unit_test(an_end_is_the_end),
        cmocka_unit_test(an_old_claim_is_not_taken_for_a_new_one),
        cmocka_unit_test(hostile_sizes_are_reported),
        cmocka_unit_test(a_broken_message_is_alone),
        cmocka_unit_test(noise_does_no_harm),
        cmocka_unit_test(impossible_plans_are_refused),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
