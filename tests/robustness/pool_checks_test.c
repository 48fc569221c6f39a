/* Goal: each check that the parent makes of what workers can write is needed, and holds: the test itself writes one
 * wrong thing at the moment at which it counts, and sees that the parent does not believe it.
 *
 * The pool's workers run items that wait, so that nobody else writes. */
#include "pool/output_guard.h"
#include "pool/pool_deadlines.h"
#include "pool/pool_jobs.h"
#include "pool/pool_state.h"
#include "pool/worker.h"
#include "pool_tasks.h"

enum { MEMORY_LIMIT = 16 << 20, BOUND_MS = 60000, AUDIT_MS = 20 };

typedef struct scene {
    xf_pool *pool;
    xf_future *holder; /* of the items that wait */
    xf_future *future; /* of work that nobody begins */
} scene;

/* Whether each worker runs an item that waits. */
static bool are_all_held(const scene *scene)
{
    bool held = true;

    for (uint64_t i = 0; i < scene->holder->plan.chunk_count; i++)
        held &= claim_word_state(atomic_load(future_claim(scene->holder, i))) == CLAIM_CLAIMED;
    return held;
}

/* A pool whose workers all wait, and a future of so many items of ints in chunks of that size. */
static scene open_scene_of(int workers, size_t count, const xf_map *options)
{
    static const xf_process_options process = {.grace_ms = 100};
    static const order waits[2] = {{PATIENT, 0}, {PATIENT, 0}}, orders[4096];
    xf_pool_options pool = {.workers = workers, .memory_limit = MEMORY_LIMIT, .process = &process};
    scene scene = {.pool = open_pool(&pool)};

    scene.holder = order_many(scene.pool, waits, (size_t)workers, &(xf_map){.chunk = 1});
    while (!are_all_held(&scene))
        ;
    scene.pool->audit_ms = 3600 * 1000;
    scene.future = order_many(scene.pool, orders, count, options);
    return scene;
}

static scene open_scene(size_t count, size_t chunk)
{
    return open_scene_of(1, count, &(xf_map){.chunk = chunk});
}

static scene open_scene_of_bytes(size_t count)
{
    scene scene = open_scene(1, 1);
    xf_bytes *bytes = calloc(count, sizeof *bytes);

    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (xf_bytes){"abc", 3};
    xf_future_cancel(scene.future);
    xf_future_free(scene.future);
    assert_int_equal(xf_pool_map_async(&scene.future, scene.pool,
                                       &(xf_map){.task = &reverse, .bytes = bytes, .count = count, .chunk = 1}),
                     0);
    free(bytes);
    return scene;
}

/* Lets the worker go on, and the pool look itself through often. */
static void release_worker(scene *scene)
{
    scene->pool->audit_ms = AUDIT_MS;
    xf_future_cancel(scene->holder);
    xf_future_wait(scene->holder, BOUND_MS);
    xf_future_free(scene->holder);
    scene->holder = NULL;
}

static void close_scene(scene *scene)
{
    if (scene->holder)
        release_worker(scene);
    xf_future_free(scene->future);
    expect_squares(scene->pool, 100, NULL);
    xf_pool_free(scene->pool);
}

static void *at_offset(const scene *scene, uint64_t at)
{
    return pool_segment_at(&scene->pool->segment, at);
}

/* As a worker does: all chunks are DONE, with so many items each. */
static void end_chunks(scene *scene, uint32_t items)
{
    xf_future *future = scene->future;

    for (uint64_t i = 0; i < future->plan.chunk_count; i++)
        atomic_store(future_claim(future, i), claim_word_make(CLAIM_DONE, 0, 1, items));
    if (future->plan.chunk_count > 1)
        atomic_store(&pool_segment_cursor(&scene->pool->segment, &future->plan, 0)->finished, future->plan.chunk_count);
    atomic_store(&future_state(future)->complete, 1);
}

/* Takes a page for records, and makes the first one the head of the future's list. */
static failure_record *begin_records(scene *scene)
{
    uint64_t word = pool_segment_slab_word(scene->future->number, scene->future->plan.serial), at = 0;

    assert_int_equal(pool_segment_take_slab(&scene->pool->segment, 2 << 20, word, &at), 0);
    atomic_store(&future_state(scene->future)->failures, at);
    atomic_store(&future_state(scene->future)->noted, 1);
    return at_offset(scene, at);
}

static void expect_item(scene *scene, size_t item, xf_end kind)
{
    assert_int_not_equal(xf_future_wait(scene->future, BOUND_MS), XF_ETIMEDOUT);
    assert_string_equal(xf_end_name(xf_future_status(scene->future, item).kind), xf_end_name(kind));
}

static void expect_all(scene *scene, xf_end kind)
{
    for (size_t i = 0; i < xf_future_count(scene->future); i++)
        expect_item(scene, i, kind);
}

/* ---- Whether it is complete ------------------------------------------------------------------ */

typedef struct flicker {
    _Atomic uint32_t *word;
    atomic_bool ends;
    uv_thread_t thread;
} flicker;

static void write_both(void *arg)
{
    flicker *flicker = arg;

    for (uint32_t value = 0; !atomic_load(&flicker->ends); value = !value)
        atomic_store(flicker->word, value);
}

/* As if it had never been complete. */
static void forget_results(xf_future *future)
{
    for (size_t i = 0; i < future->failure_count; i++)
        report_free(future->failures[i].report);
    future->failure_count = 0;
    future->collected = false;
}

/* A future that is complete now and then is found, or is not; the other one never is. */
static void an_end_that_comes_and_goes(void **state)
{
    scene scene = open_scene(4, 2);
    flicker flicker = {.word = &future_state(scene.future)->complete};
    xf_future *futures[2] = {scene.holder, scene.future};
    int before = 0, changes = 0;

    (void)state;
    assert_int_equal(uv_thread_create(&flicker.thread, write_both, &flicker), 0);
    while (changes < 2000) {
        int rc = xf_future_wait_any(futures, 2, 0);
        if (rc != XF_ETIMEDOUT)
            assert_int_equal(rc, 1);
        changes += rc != before;
        before = rc;
        forget_results(scene.future);
    }
    atomic_store(&flicker.ends, true);
    uv_thread_join(&flicker.thread);
    atomic_store(flicker.word, 0);
    close_scene(&scene);
}

/* ---- Claim words ----------------------------------------------------------------------------- */

static void more_finished_items_than_the_chunk_has(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    xf_future_cancel(scene.future);
    atomic_store(future_claim(scene.future, 0), claim_word_make(CLAIM_DONE, 0, 1, 3));
    expect_item(&scene, 0, XF_END_PROTOCOL_ERROR);
    expect_item(&scene, 1, XF_END_PROTOCOL_ERROR);
    expect_item(&scene, 2, XF_END_CANCELLED);
    close_scene(&scene);
}

static void a_chunk_of_a_job_that_ended_has_not(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    xf_future_cancel(scene.future);
    atomic_store(future_claim(scene.future, 0), claim_word_make(CLAIM_QUEUED, 0, 0, 1));
    expect_item(&scene, 0, XF_END_PROTOCOL_ERROR);
    expect_item(&scene, 1, XF_END_PROTOCOL_ERROR);
    close_scene(&scene);
}

static void items_that_never_ran_though_nobody_cancelled(void **state)
{
    scene scene = open_scene(4, 4);

    (void)state;
    end_chunks(&scene, 2);
    for (size_t i = 0; i < 4; i++)
        expect_item(&scene, i, XF_END_PROTOCOL_ERROR);
    close_scene(&scene);
}

static void an_end_that_no_chunk_has(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    atomic_store(&future_state(scene.future)->complete, 1);
    for (size_t i = 0; i < 4; i++)
        expect_item(&scene, i, XF_END_PROTOCOL_ERROR);
    close_scene(&scene);
}

/* ---- Records of failures --------------------------------------------------------------------- */

static void a_record_that_is_right(void **state)
{
    scene scene = open_scene(4, 2);
    failure_record *record = begin_records(&scene);

    (void)state;
    end_chunks(&scene, 2);
    *record = (failure_record){.item = 1, .kind = FAILURE_CODE, .code = 9, .size = 4};
    strcpy((char *)(record + 1), "bad");
    expect_item(&scene, 1, XF_END_FAILED);
    assert_int_equal(xf_future_failures(scene.future), 1);
    assert_string_equal(xf_future_report(scene.future, 1)->message, "bad");
    close_scene(&scene);
}

/* Where the list of failures is damaged, any item without a note may have failed. */
static void expect_no_notes(scene *scene)
{
    expect_all(scene, XF_END_PROTOCOL_ERROR);
    for (size_t i = 0; i < xf_future_count(scene->future); i++) {
        assert_int_equal(xf_future_status(scene->future, i).code, XF_EPROTO);
        assert_null(xf_future_result(scene->future, i, NULL));
        assert_string_equal(xf_future_report(scene->future, i)->message, "what says how it ended was overwritten");
    }
    assert_int_equal(xf_future_wait(scene->future, 0), XF_EFAILED);
    assert_int_equal(xf_future_failures(scene->future), xf_future_count(scene->future));
}

/* In memory that can be read, but is none that workers take. */
static void a_record_where_none_can_be(void **state)
{
    scene scene = open_scene(4, 2);
    job_state *at = future_state(scene.future);

    (void)state;
    memcpy(at->out_buffer, &(failure_record){.item = 1, .code = 9}, sizeof(failure_record));
    atomic_store(&at->failures, pool_segment_offset(&scene.pool->segment, at->out_buffer));
    end_chunks(&scene, 2);
    expect_no_notes(&scene);
    close_scene(&scene);
}

static void a_record_at_an_odd_place(void **state)
{
    scene scene = open_scene(4, 2);
    char *record = (char *)begin_records(&scene) + 4;

    (void)state;
    memcpy(record, &(failure_record){.item = 1, .code = 9}, sizeof(failure_record));
    atomic_store(&future_state(scene.future)->failures, pool_segment_offset(&scene.pool->segment, record));
    end_chunks(&scene, 2);
    expect_no_notes(&scene);
    close_scene(&scene);
}

static void a_record_of_no_item(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    *begin_records(&scene) = (failure_record){.item = 4, .code = 9};
    end_chunks(&scene, 2);
    expect_no_notes(&scene);
    close_scene(&scene);
}

static void a_record_of_no_kind(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    *begin_records(&scene) = (failure_record){.item = 1, .kind = FAILURE_OVERRUN + 1, .code = 9};
    end_chunks(&scene, 2);
    expect_no_notes(&scene);
    close_scene(&scene);
}

static void a_record_whose_text_is_elsewhere(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    *begin_records(&scene) = (failure_record){.item = 1, .code = 9, .size = UINT64_MAX / 2};
    end_chunks(&scene, 2);
    expect_no_notes(&scene);
    close_scene(&scene);
}

/* A list of the failures of the first items of 8. */
static failure_record *record_failures(scene *scene, uint64_t count)
{
    failure_record *records = begin_records(scene);
    uint64_t at = pool_segment_offset(&scene->pool->segment, records);

    for (uint64_t i = 0; i < count; i++)
        records[i] = (failure_record){.next = i + 1 < count ? at + (i + 1) * sizeof *records : 0, .item = i, .code = 7};
    atomic_store(&future_state(scene->future)->noted, count);
    return records;
}

/* The items of the notes that are left have failed, and no other reads as done. */
static void expect_known(scene *scene, uint64_t known)
{
    end_chunks(scene, 2);
    for (uint64_t i = 0; i < 8; i++)
        expect_item(scene, i, i < known ? XF_END_FAILED : XF_END_PROTOCOL_ERROR);
    assert_int_equal(xf_future_failures(scene->future), 8);
    close_scene(scene);
}

static void a_list_that_was_emptied(void **state)
{
    scene scene = open_scene(8, 2);

    (void)state;
    record_failures(&scene, 5);
    atomic_store(&future_state(scene.future)->failures, 0);
    expect_known(&scene, 0);
}

static void a_list_that_was_cut_off(void **state)
{
    static const uint64_t ends[] = {0, 24, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        scene scene = open_scene(8, 2);
        record_failures(&scene, 5)[2].next = ends[i];
        expect_known(&scene, 3);
    }
}

static void a_list_that_leads_back_to_itself(void **state)
{
    scene scene = open_scene(8, 2);
    failure_record *records = record_failures(&scene, 5);

    (void)state;
    records[3].next = pool_segment_offset(&scene.pool->segment, records);
    expect_known(&scene, 4);
}

static void a_note_that_is_about_fewer_items(void **state)
{
    scene scene = open_scene(8, 2);

    (void)state;
    *begin_records(&scene) = (failure_record){.item = 0, .code = 7, .more = 2};
    atomic_store(&future_state(scene.future)->noted, 5);
    expect_known(&scene, 3);
}

/* Without a word that there was no room, there was room for what is missing. */
static void a_lack_of_room_that_is_not_known_any_more(void **state)
{
    static const xf_end kinds[2] = {XF_END_PROTOCOL_ERROR, XF_END_UNKNOWN};

    (void)state;
    for (uint32_t unknown = 0; unknown < 2; unknown++) {
        scene scene = open_scene(8, 2);
        atomic_store(&future_state(scene.future)->noted, 5);
        atomic_store(&future_state(scene.future)->unknown, unknown);
        end_chunks(&scene, 2);
        expect_all(&scene, kinds[unknown]);
        close_scene(&scene);
    }
}

static void a_text_is_kept_to_its_limit(void **state)
{
    enum { MOST = 1 << 20 };
    scene scene = open_scene(4, 2);
    failure_record *record = begin_records(&scene);

    (void)state;
    *record = (failure_record){.item = 1, .code = 9, .size = MOST + 1000};
    memset(record + 1, 'x', MOST + 1000);
    end_chunks(&scene, 2);
    expect_item(&scene, 1, XF_END_FAILED);
    assert_int_equal(strlen(xf_future_report(scene.future, 1)->message), MOST);
    close_scene(&scene);
}

/* Records whose texts lie over each other, and cost more together than workers can take. */
static void records_that_lie_over_each_other(void **state)
{
    enum { ITEMS = 1000 };
    scene scene = open_scene(ITEMS, 1);
    failure_record *records = begin_records(&scene);
    uint64_t at = pool_segment_offset(&scene.pool->segment, records), known = 0;

    (void)state;
    for (uint64_t i = 0; i < ITEMS; i++)
        records[i] =
            (failure_record){.next = at + (i + 1) % ITEMS * sizeof *records, .item = i, .code = 9, .size = 1 << 20};
    end_chunks(&scene, 1);
    assert_int_not_equal(xf_future_wait(scene.future, BOUND_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_future_failures(scene.future), ITEMS);
    for (size_t i = 0; i < ITEMS; i++)
        known += xf_future_status(scene.future, i).kind == XF_END_FAILED;
    assert_in_range(known, 1, (MEMORY_LIMIT >> 20) + 2);
    close_scene(&scene);
}

/* An item that failed is counted once, though it is in the list twice. */
static void an_item_that_is_recorded_twice(void **state)
{
    scene scene = open_scene(4, 2);
    failure_record *records = begin_records(&scene);
    uint64_t at = pool_segment_offset(&scene.pool->segment, records);

    (void)state;
    records[0] = (failure_record){.next = at + sizeof *records, .item = 1, .code = 9};
    records[1] = (failure_record){.item = 1, .code = 8};
    end_chunks(&scene, 2);
    expect_item(&scene, 1, XF_END_FAILED);
    assert_int_equal(xf_future_failures(scene.future), 1);
    close_scene(&scene);
}

/* Of the items that share a note, the one that was asked to stop has another end than the others. */
static void a_note_of_several_items_of_which_one_was_stopped(void **state)
{
    (void)state;
    for (uint64_t stopped = 0; stopped < 3; stopped++) {
        scene scene = open_scene(4, 2);
        xf_future *future = scene.future;
        *begin_records(&scene) = (failure_record){.item = 0, .code = 7, .more = 2};
        assert_int_equal(pool_state_grow(&future->stopped, 0, &future->stopped_room, sizeof *future->stopped), 0);
        future->stopped[future->stopped_count++] = (stopped_items){stopped, stopped, {XF_END_TIMED_OUT, 0, 0}};
        end_chunks(&scene, 2);
        for (uint64_t i = 0; i < 3; i++)
            expect_item(&scene, i, i == stopped ? XF_END_TIMED_OUT : XF_END_FAILED);
        expect_item(&scene, 3, XF_END_DONE);
        close_scene(&scene);
    }
}

/* ---- Outputs --------------------------------------------------------------------------------- */

typedef struct place_case {
    const char *what;
    uint64_t at, size; /* at: from where the pages of workers begin */
} place_case;

static void outputs_at_impossible_places(void **state)
{
    static const place_case cases[] = {{"before the pages", (uint64_t)-4096, 16},
                                       {"behind the pages", MEMORY_LIMIT, 16},
                                       {"far behind", UINT64_MAX / 2, 16},
                                       {"too long", 0, MEMORY_LIMIT},
                                       {"longer than there are numbers", 4096, UINT64_MAX - 100}};
    enum { CASES = sizeof cases / sizeof *cases };
    scene scene = open_scene_of_bytes(CASES);
    span *spans = at_offset(&scene, scene.future->plan.out);

    (void)state;
    begin_records(&scene);
    atomic_store(&future_state(scene.future)->failures, 0);
    for (size_t i = 0; i < CASES; i++)
        spans[i] = (span){scene.pool->segment.layout.slabs_at + cases[i].at, cases[i].size};
    end_chunks(&scene, 1);
    for (size_t i = 0; i < CASES; i++) {
        expect_item(&scene, i, XF_END_PROTOCOL_ERROR);
        assert_null(xf_future_result(scene.future, i, NULL));
    }
    close_scene(&scene);
}

/* The job's own buffer is 64 bytes. */
static void an_output_longer_than_its_buffer(void **state)
{
    scene scene = open_scene_of_bytes(1);
    job_state *job = future_state(scene.future);

    (void)state;
    job->out_span = (span){pool_segment_offset(&scene.pool->segment, job->out_buffer), JOB_BUFFER_SIZE + 1};
    end_chunks(&scene, 1);
    expect_item(&scene, 0, XF_END_PROTOCOL_ERROR);
    close_scene(&scene);
}

/* An output that the parent has looked at once stays where it is. */
static void an_output_that_moves_later(void **state)
{
    scene scene = open_scene_of_bytes(2);
    span *spans = at_offset(&scene, scene.future->plan.out);
    size_t size = 0;

    (void)state;
    memset(spans, 0, 2 * sizeof *spans);
    end_chunks(&scene, 1);
    expect_item(&scene, 0, XF_END_DONE);
    spans[0] = (span){UINT64_MAX / 2, 1000};
    assert_non_null(xf_future_result(scene.future, 0, &size));
    assert_int_equal(size, 0);
    close_scene(&scene);
}

/* An output of no bytes is nowhere, so its place is not added to an address. */
static void an_empty_output_anywhere(void **state)
{
    scene scene = open_scene_of_bytes(2);
    const os_shm *work = &scene.pool->segment.work;
    span *spans = at_offset(&scene, scene.future->plan.out);
    const char *out;

    (void)state;
    spans[0] = (span){UINT64_MAX / 2, 0};
    end_chunks(&scene, 1);
    expect_item(&scene, 0, XF_END_DONE);
    out = xf_future_result(scene.future, 0, NULL);
    assert_in_range((uintptr_t)out, (uintptr_t)work->address, (uintptr_t)work->address + work->size);
    close_scene(&scene);
}

static void guard_bytes_that_were_overwritten(void **state)
{
    scene scene = open_scene(4000, 1000);

    (void)state;
    assert_int_not_equal(scene.future->guard, 0);
    *(char *)at_offset(&scene, scene.future->guard) ^= 1;
    end_chunks(&scene, 1000);
    expect_item(&scene, 3999, XF_END_CRASHED);
    assert_int_equal(xf_future_status(scene.future, 3999).code, XF_CRASH_OVERRUN);
    close_scene(&scene);
}

/* ---- Later than the end ---------------------------------------------------------------------- */

/* What was collected does not change any more. */
static void an_end_that_is_taken_back(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    end_chunks(&scene, 2);
    expect_item(&scene, 0, XF_END_DONE);
    atomic_store(&future_state(scene.future)->complete, 0);
    atomic_store(future_claim(scene.future, 0), 0);
    *begin_records(&scene) = (failure_record){.item = 1, .code = 9};
    assert_int_equal(xf_future_wait(scene.future, 0), 0);
    expect_item(&scene, 1, XF_END_DONE);
    close_scene(&scene);
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static uint64_t word_of(const scene *scene, uint64_t at)
{
    const page_arena *slabs = &scene->pool->segment.slabs;

    return atomic_load(&slabs->words[page_arena_page(slabs, at)]);
}

/* A job's list names another one's pages: those stay, and its own are free all the same. */
static void a_list_that_names_pages_of_another_job(void **state)
{
    scene scene = open_scene(4, 2);
    pool_segment *segment = &scene.pool->segment;
    uint64_t own = pool_segment_slab_word(scene.future->number, scene.future->plan.serial), others, at, other;
    xf_future *neighbour = order_one(scene.pool, FINE, NULL);

    (void)state;
    others = pool_segment_slab_word(neighbour->number, neighbour->plan.serial);
    assert_int_equal(pool_segment_take_slab(segment, 1, own, &at), 0);
    assert_int_equal(pool_segment_take_slab(segment, 1, others, &other), 0);
    *(slab *)at_offset(&scene, other) = (slab){0, 1};
    atomic_store(&future_state(scene.future)->slabs, other);
    end_chunks(&scene, 2);
    expect_item(&scene, 0, XF_END_DONE);
    xf_future_free(scene.future);
    scene.future = neighbour;
    assert_int_equal(word_of(&scene, at), 0);
    assert_int_equal(word_of(&scene, other), others);
    close_scene(&scene);
}

/* A worker that says at once that pages are taken which the parent has just freed; it stops after so many times. */
static uint64_t takes_left, times_taken;

void __real_xf__page_arena_free(page_arena *arena, uint64_t first, uint64_t count);
void __wrap_xf__page_arena_free(page_arena *arena, uint64_t first, uint64_t count);

void __wrap_xf__page_arena_free(page_arena *arena, uint64_t first, uint64_t count)
{
    uint64_t word = atomic_load(&arena->words[first]);

    __real_xf__page_arena_free(arena, first, count);
    for (uint64_t i = 0; i < count && takes_left > 0; i++)
        atomic_store(&arena->words[first + i], i ? word | PAGE_ARENA_FOLLOWS : word);
    times_taken += takes_left > 0;
    takes_left -= takes_left > 0;
}

/* A list that leads back to itself, of pages that are taken whenever the parent looks. */
static void a_list_of_pages_without_end(void **state)
{
    enum { SLABS = 64, SLAB_PAGES = 4 };
    scene scene = open_scene(4, 2);
    pool_segment *segment = &scene.pool->segment;
    uint64_t word = pool_segment_slab_word(scene.future->number, scene.future->plan.serial), first = 0, at = 0;

    (void)state;
    for (int i = 0; i < SLABS; i++) {
        uint64_t before = at;
        assert_int_equal(pool_segment_take_slab(segment, SLAB_PAGES * OS_PAGE, word, &at), 0);
        *(slab *)at_offset(&scene, at) = (slab){before, SLAB_PAGES * OS_PAGE};
        first = first ? first : at;
    }
    ((slab *)at_offset(&scene, first))->next = at;
    atomic_store(&future_state(scene.future)->slabs, at);
    end_chunks(&scene, 2);
    expect_item(&scene, 0, XF_END_DONE);
    takes_left = 10 * segment->slabs.count;
    times_taken = 0;
    xf_future_free(scene.future);
    takes_left = 0;
    scene.future = NULL;
    assert_in_range(times_taken, SLABS, segment->slabs.count);
    close_scene(&scene);
}

/* What says how many pages workers have taken is not believed when memory is given out. */
static void a_count_of_pages_that_is_wrong(void **state)
{
    scene scene = open_scene(4, 2);
    pool_segment *segment = &scene.pool->segment;
    uint64_t word = pool_segment_slab_word(scene.future->number, scene.future->plan.serial), at;
    void *page = xf_pool_buffer_alloc(scene.pool, 1);

    (void)state;
    assert_non_null(page);
    assert_int_equal(pool_segment_take_slab(segment, MEMORY_LIMIT / 4 * 3, word, &at), 0);
    atomic_store(&segment->shared->slab_pages, UINT64_MAX);
    assert_null(xf_pool_buffer_alloc(scene.pool, MEMORY_LIMIT / 2));
    atomic_store(&segment->shared->slab_pages, MEMORY_LIMIT / OS_PAGE);
    assert_int_equal(pool_segment_take_slab(segment, 1, word, &at), 0);
    atomic_store(&segment->shared->slabs.committed, UINT64_MAX / 2 / OS_PAGE);
    assert_in_range(stats_of(scene.pool).memory_peak, 1, 4 * MEMORY_LIMIT);
    atomic_store(&segment->shared->slabs.committed, 0);
    xf_pool_buffer_free(scene.pool, page);
    future_state(scene.future)->slabs = 0;
    scene.future->may_leak = true;
    close_scene(&scene);
}

/* ---- What keeps work from workers ------------------------------------------------------------ */

/* A chunk of which more is finished than it has is not run, and is not done. */
static void a_queued_chunk_with_more_finished_items(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    atomic_store(future_claim(scene.future, 0), claim_word_make(CLAIM_QUEUED, 0, 0, 3));
    assert_in_range(stats_of(scene.pool).queued, 0, 4);
    release_worker(&scene);
    expect_item(&scene, 0, XF_END_PROTOCOL_ERROR);
    expect_item(&scene, 2, XF_END_DONE);
    close_scene(&scene);
}

/* Each worker finds the marks of the other's shard, too. */
static void marks_outside_of_the_shard(void **state)
{
    static const uint64_t marks[][2] = {{UINT64_MAX, UINT64_MAX}, {0, UINT64_MAX}, {UINT64_MAX, 0}, {1000, 1000}};

    (void)state;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        scene scene = open_scene_of(2, 40, &(xf_map){.chunk = 2});
        for (uint32_t k = 0; k < 2; k++) {
            worker_cursor *cursor = pool_segment_cursor(&scene.pool->segment, &scene.future->plan, k);
            atomic_store(&cursor->next, marks[i][0]);
            atomic_store(&cursor->tail, marks[i][1]);
        }
        release_worker(&scene);
        expect_all(&scene, XF_END_DONE);
        assert_int_equal(stats_of(scene.pool).replaced, 0);
        close_scene(&scene);
    }
}

static void a_claim_of_no_worker(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    atomic_store(future_claim(scene.future, 0), claim_word_make(CLAIM_CLAIMED, 4000, 0, 0));
    release_worker(&scene);
    expect_item(&scene, 0, XF_END_PROTOCOL_ERROR);
    expect_item(&scene, 2, XF_END_DONE);
    close_scene(&scene);
}

/* A worker whose claim reads as doomed waits to be killed, though nobody is about to. */
/* A worker may claim a chunk, and commit it, while the parent is about to end it. */
static void an_end_that_comes_too_late(void **state)
{
    scene scene = open_scene(4, 2);
    claim_word *word = future_claim(scene.future, 0);
    uint64_t before = atomic_load(word), claimed = claim_word_make(CLAIM_CLAIMED, 0, 7, 0);

    (void)state;
    atomic_store(word, claimed);
    uv_mutex_lock(&scene.pool->lock);
    pool_jobs_end_damaged(scene.pool, scene.future, 0, before);
    uv_mutex_unlock(&scene.pool->lock);
    assert_true(atomic_load(word) == claimed);
    assert_int_equal(chunk_claim_sum(&scene.pool->segment, &scene.future->plan, scene.pool->slots_used), 0);
    assert_false(scene.future->damaged);
    atomic_store(word, before);
    release_worker(&scene);
    expect_all(&scene, XF_END_DONE);
    close_scene(&scene);
}

static void a_doom_that_nobody_decided(void **state)
{
    scene scene = open_scene(4, 2);
    claim_word *word = future_claim(scene.holder, 0);

    (void)state;
    atomic_store(word, claim_word_doom(atomic_load(word)));
    release_worker(&scene);
    expect_all(&scene, XF_END_DONE);
    close_scene(&scene);
}

/* Workers leave a job alone of which an item seems to have failed, and none of them tells the parent. */
static void a_failure_that_there_was_not(void **state)
{
    scene scene = open_scene_of(1, 4, &(xf_map){.chunk = 2, .stop_at_failure = true});

    (void)state;
    atomic_store(&future_state(scene.future)->failed, 1);
    release_worker(&scene);
    expect_all(&scene, XF_END_CANCELLED);
    close_scene(&scene);
}

static void a_head_beyond_the_ring(void **state)
{
    scene scene = open_scene(4, 2);

    (void)state;
    atomic_store(&scene.pool->segment.shared->rings[XF_PRIORITY_NORMAL].head, UINT64_MAX / 2);
    release_worker(&scene);
    expect_all(&scene, XF_END_DONE);
    close_scene(&scene);
}

/* A ring that is full by the parent's own count is full, whatever the head says. */
static void a_head_that_makes_room(void **state)
{
    scene scene = open_scene(4, 2);
    xf_pool *pool = scene.pool;
    uint64_t *end = &pool->ring_ends[XF_PRIORITY_LOW], end_before = *end;
    _Atomic uint64_t *head = &pool->segment.shared->rings[XF_PRIORITY_LOW].head;

    (void)state;
    *end = pool->ring_heads[XF_PRIORITY_LOW] + SEGMENT_RING - 1;
    atomic_store(head, UINT64_MAX / 2);
    assert_int_equal(pool_jobs_reserve_entry(pool, XF_PRIORITY_LOW), XF_ELIMIT);
    atomic_store(head, *end);
    assert_int_equal(pool_jobs_reserve_entry(pool, XF_PRIORITY_LOW), 0);
    *end = end_before;
    pool->ring_heads[XF_PRIORITY_LOW] = end_before;
    atomic_store(head, end_before);
    close_scene(&scene);
}

/* Nobody is woken for new work, as no worker seems to sleep. */
static void idle_bits_that_were_cleared(void **state)
{
    scene scene = open_scene(1, 1);
    xf_pool *pool = scene.pool;
    double in = 3, out = 0;

    (void)state;
    release_worker(&scene);
    expect_all(&scene, XF_END_DONE);
    while (atomic_load(&pool->segment.shared->idle[0]) == 0)
        ;
    atomic_store(&pool->segment.shared->idle[0], 0);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &square, .in = &in, .out = &out, .count = 1}), 0);
    close_scene(&scene);
}

/* ---- What workers say of themselves ---------------------------------------------------------- */

static void an_intent_of_no_job(void **state)
{
    scene scene = open_scene(4, 2);
    worker_slot *slot = &scene.pool->segment.slots[0];
    uint64_t before = atomic_load(&slot->intent);
    xf_worker_stats worker;
    xf_pool_stats stats;

    (void)state;
    atomic_store(&slot->intent, job_intent(1 << 22, 5));
    assert_int_equal(xf_pool_stats_get(scene.pool, &stats, &worker, 1), 1);
    assert_string_equal(worker.task, "");
    xf_future_cancel(scene.future);
    uv_mutex_lock(&scene.pool->lock);
    atomic_store(&slot->intent, job_intent(scene.future->number, UINT64_C(1) << 39));
    pool_deadlines_stop(scene.pool, scene.future, XF_END_CANCELLED);
    atomic_store(&slot->intent, job_intent(scene.future->number, 0)); /* which the worker does not hold */
    pool_deadlines_stop(scene.pool, scene.future, XF_END_CANCELLED);
    uv_mutex_unlock(&scene.pool->lock);
    assert_int_equal(scene.future->stopped_count, 0);
    atomic_store(&slot->intent, before);
    close_scene(&scene);
}

typedef enum lie { LIE_TIME, LIE_PROGRESS } lie;

/* Says something wrong of itself, and then waits to be asked to stop. */
XF_TASK(lie_and_wait, const int *in, int *out)
{
    worker *worker = call->backend_arg;
    uint32_t progress = worker->slot->progress;
    bool stopped;

    *out = 0;
    if (*in == LIE_TIME)
        atomic_store(&worker->slot->claim_time, UINT64_MAX);
    else
        worker->slot->progress = 1000;
    stopped = xf_stop_requested(call, XF_FOREVER);
    worker->slot->progress = progress;
    return stopped ? xf_fail(call, 9, "stopped") : 0;
}

/* What a worker says of the time makes its item neither end at once nor last for ever. */
static void a_claim_in_the_future(void **state)
{
    enum { TIMEOUT_MS = 300 };
    scene scene = open_scene(1, 1);
    const int lie = LIE_TIME;
    xf_map map = {.task = &lie_and_wait, .in = &lie, .count = 1, .timeout_ms = TIMEOUT_MS};
    uint64_t begin;

    (void)state;
    release_worker(&scene);
    expect_all(&scene, XF_END_DONE);
    xf_future_free(scene.future);
    begin = uv_hrtime();
    assert_int_equal(xf_pool_map_async(&scene.future, scene.pool, &map), 0);
    expect_item(&scene, 0, XF_END_TIMED_OUT);
    assert_true(uv_hrtime() - begin >= (uint64_t)TIMEOUT_MS * 1000000);
    close_scene(&scene);
}

/* The item that was asked to stop is one of the chunk. */
static void progress_beyond_the_chunk(void **state)
{
    scene scene = open_scene(1, 1);
    const int lie = LIE_PROGRESS;
    xf_map map = {.task = &lie_and_wait, .in = &lie, .count = 1, .timeout_ms = 50};

    (void)state;
    release_worker(&scene);
    expect_all(&scene, XF_END_DONE);
    xf_future_free(scene.future);
    assert_int_equal(xf_pool_map_async(&scene.future, scene.pool, &map), 0);
    expect_item(&scene, 0, XF_END_TIMED_OUT);
    close_scene(&scene);
}

/* ---- Memory in several threads --------------------------------------------------------------- */

enum { TAKERS = 3, ROUNDS = 200000 };

typedef struct taker {
    xf_pool *pool;
    size_t size;
    atomic_int *busy; /* threads that take what fits */
    uv_thread_t thread;
    int failures;
} taker;

static void take_often(void *arg)
{
    taker *taker = arg;

    for (int i = 0; i < ROUNDS; i++) {
        void *memory = xf_pool_buffer_alloc(taker->pool, taker->size);
        taker->failures += memory == NULL;
        xf_pool_buffer_free(taker->pool, memory);
    }
    atomic_fetch_sub(taker->busy, 1);
}

/* What fits is given, also while another thread asks for what does not fit; and workers see what is taken. */
static void threads_that_take_memory_do_not_disturb_each_other(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .memory_limit = MEMORY_LIMIT});
    void *held = xf_pool_buffer_alloc(pool, 4 * OS_PAGE);
    atomic_int busy = TAKERS;
    taker takers[TAKERS];

    (void)state;
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = (taker){.pool = pool, .size = (size_t)(1 + 2 * i) * OS_PAGE, .busy = &busy};
        assert_int_equal(uv_thread_create(&takers[i].thread, take_often, &takers[i]), 0);
    }
    while (atomic_load(&busy) > 0)
        assert_null(xf_pool_buffer_alloc(pool, MEMORY_LIMIT - OS_PAGE));
    for (int i = 0; i < TAKERS; i++) {
        uv_thread_join(&takers[i].thread);
        assert_int_equal(takers[i].failures, 0);
    }
    xf_pool_buffer_free(pool, held);
    assert_int_equal(atomic_load(&pool->segment.head->pages_taken), 0);
    assert_int_equal(stats_of(pool).memory, 0);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_comes_and_goes),
        cmocka_unit_test(more_finished_items_than_the_chunk_has),
        cmocka_unit_test(a_chunk_of_a_job_that_ended_has_not),
        cmocka_unit_test(items_that_never_ran_though_nobody_cancelled),
        cmocka_unit_test(an_end_that_no_chunk_has),
        cmocka_unit_test(a_record_that_is_right),
        cmocka_unit_test(a_record_where_none_can_be),
        cmocka_unit_test(a_record_at_an_odd_place),
        cmocka_unit_test(a_record_of_no_item),
        cmocka_unit_test(a_record_of_no_kind),
        cmocka_unit_test(a_record_whose_text_is_elsewhere),
        cmocka_unit_test(a_list_that_was_emptied),
        cmocka_unit_test(a_list_that_was_cut_off),
        cmocka_unit_test(a_list_that_leads_back_to_itself),
        cmocka_unit_test(a_note_that_is_about_fewer_items),
        cmocka_unit_test(a_lack_of_room_that_is_not_known_any_more),
        cmocka_unit_test(a_text_is_kept_to_its_limit),
        cmocka_unit_test(records_that_lie_over_each_other),
        cmocka_unit_test(an_item_that_is_recorded_twice),
        cmocka_unit_test(a_note_of_several_items_of_which_one_was_stopped),
        cmocka_unit_test(outputs_at_impossible_places),
        cmocka_unit_test(an_output_longer_than_its_buffer),
        cmocka_unit_test(an_output_that_moves_later),
        cmocka_unit_test(an_empty_output_anywhere),
        cmocka_unit_test(guard_bytes_that_were_overwritten),
        cmocka_unit_test(an_end_that_is_taken_back),
        cmocka_unit_test(a_list_that_names_pages_of_another_job),
        cmocka_unit_test(a_list_of_pages_without_end),
        cmocka_unit_test(a_count_of_pages_that_is_wrong),
        cmocka_unit_test(a_queued_chunk_with_more_finished_items),
        cmocka_unit_test(marks_outside_of_the_shard),
        cmocka_unit_test(a_claim_of_no_worker),
        cmocka_unit_test(an_end_that_comes_too_late),
        cmocka_unit_test(a_doom_that_nobody_decided),
        cmocka_unit_test(a_failure_that_there_was_not),
        cmocka_unit_test(a_head_beyond_the_ring),
        cmocka_unit_test(a_head_that_makes_room),
        cmocka_unit_test(idle_bits_that_were_cleared),
        cmocka_unit_test(an_intent_of_no_job),
        cmocka_unit_test(a_claim_in_the_future),
        cmocka_unit_test(progress_beyond_the_chunk),
        cmocka_unit_test(threads_that_take_memory_do_not_disturb_each_other),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
