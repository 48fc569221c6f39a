/* Goal: a worker whose code is hostile on purpose, and goes on for as long as it runs, costs no more than the items
 * that it can reach: every future ends within seconds, the program lives, and the pool works on once the worker is
 * gone.
 *
 * pool_scribble_test writes once, anywhere; here each attack aims at one thing and never stops. */
#include "pool/pool_state.h"
#include "pool/worker.h"
#include "pool_tasks.h"

enum { ITEMS = 24, AUDIT_MS = 20, BOUND_MS = 5000, MEMORY_LIMIT = 16 << 20 };

/* ---- Attacks --------------------------------------------------------------------------------- */

/* All jobs that there can be in these tests. */
enum { JOBS = 16 };

/* Says that nothing is queued. */
static void move_heads(worker *worker, uint64_t round)
{
    pool_segment *segment = &worker->segment;

    (void)round;
    for (int i = 0; i < SEGMENT_PRIORITIES; i++)
        atomic_store(&segment->shared->rings[i].head, job_ring_end(atomic_load(&segment->head->rings[i].tail)));
}

static void change_intents(worker *worker, uint64_t round)
{
    for (int i = 0; i < 2; i++)
        atomic_store(&worker->segment.slots[i].intent, job_intent((uint32_t)(round % JOBS), round % ITEMS));
}

/* Of any job and chunk, mostly of none that there is. */
static void write_any_intent(worker *worker, uint64_t round)
{
    for (uint64_t i = 0; i < 2; i++)
        atomic_store(&worker->segment.slots[i].intent, (round + i) * UINT64_C(0x9E3779B97F4A7C15) >> round % 40);
}

static void take_ends_back(worker *worker, uint64_t round)
{
    (void)round;
    for (uint32_t i = 0; i < JOBS; i++)
        if (i != worker->claimed.number)
            atomic_store(&worker->segment.states[i].complete, 0);
}

/* Calls the function for each claim word of other jobs that have many. */
static void for_other_claims(worker *worker, uint64_t round, uint64_t (*change)(uint64_t claim, uint64_t round))
{
    pool_segment *segment = &worker->segment;

    for (uint32_t i = 0; i < JOBS; i++) {
        const job *job = &segment->jobs[i];
        uint64_t count = atomic_load(&job->progress) & JOB_ACTIVE ? job->plan.chunk_count : 0;
        for (uint64_t k = 0; i != worker->claimed.number && k < count && k < ITEMS; k++) {
            claim_word *word = pool_segment_claim(segment, i, &job->plan, k);
            atomic_store(word, change(atomic_load(word), round + k));
        }
    }
}

static uint64_t queue_again(uint64_t claim, uint64_t round)
{
    (void)round;
    return claim_word_state(claim) == CLAIM_DONE ? claim_word_make(CLAIM_QUEUED, 0, 0, 0) : claim;
}

static void queue_what_has_ended(worker *worker, uint64_t round)
{
    for_other_claims(worker, round, queue_again);
}

static uint64_t make_anything(uint64_t claim, uint64_t round)
{
    (void)claim;
    return round * UINT64_C(0x9E3779B97F4A7C15);
}

static void write_any_claim(worker *worker, uint64_t round)
{
    for_other_claims(worker, round, make_anything);
}

static uint64_t make_claimed(uint64_t claim, uint64_t round)
{
    (void)claim;
    return claim_word_make(CLAIM_CLAIMED, 0, (uint32_t)round, 0);
}

/* Says that a worker has everything, a different one each time. */
static void claim_all(worker *worker, uint64_t round)
{
    for_other_claims(worker, round, make_claimed);
}

static void hide_chunks(worker *worker, uint64_t round)
{
    pool_segment *segment = &worker->segment;

    (void)round;
    for (uint32_t i = 0; i < JOBS; i++) {
        const job *job = &segment->jobs[i];
        if (!(atomic_load(&job->progress) & JOB_ACTIVE) || job->plan.flags & JOB_ONE_CHUNK)
            continue;
        for (uint32_t k = 0; k < 2; k++) {
            worker_cursor *cursor = pool_segment_cursor(segment, &job->plan, k);
            atomic_store(&cursor->next, UINT64_MAX);
            atomic_store(&cursor->tail, 0);
            atomic_store(&cursor->finished, 0);
        }
    }
}

static void lose_slabs(worker *worker, uint64_t round)
{
    (void)round;
    for (uint32_t i = 0; i < JOBS; i++)
        if (i != worker->claimed.number)
            atomic_store(&worker->segment.states[i].slabs, 0);
}

static void say_failed(worker *worker, uint64_t round)
{
    (void)round;
    for (uint32_t i = 0; i < JOBS; i++)
        atomic_store(&worker->segment.states[i].failed, 1);
}

static void wake_nobody(worker *worker, uint64_t round)
{
    (void)round;
    atomic_store(&worker->segment.shared->idle[0], 0);
    *(volatile uint32_t *)&worker->segment.shared->done &= ~1U;
}

typedef struct attack {
    const char *name;
    void (*strike)(worker *worker, uint64_t round);
} attack;

static const attack attacks[] = {{"heads of rings", move_heads},
                                 {"intents", change_intents},
                                 {"complete", take_ends_back},
                                 {"DONE to QUEUED", queue_what_has_ended},
                                 {"any claim word", write_any_claim},
                                 {"claims of others", claim_all},
                                 {"cursors", hide_chunks},
                                 {"lists of slabs", lose_slabs},
                                 {"any intent", write_any_intent},
                                 {"failed", say_failed},
                                 {"idle and done words", wake_nobody}};

enum { ATTACKS = sizeof attacks / sizeof *attacks, LOSE_SLABS = 7 };

typedef struct strike {
    uint32_t number; /* of the attack */
    uint32_t token;  /* not 0; another one each time */
} strike;

/* What an attacker says of itself, in its output's place. */
typedef struct strike_count {
    _Atomic uint32_t token, rounds;
} strike_count;

static strike_count *count_of(const pool_segment *segment, uint32_t job)
{
    return (strike_count *)segment->states[job].out_buffer;
}

/* Strikes until it is asked to stop. */
XF_TASK(strike_on, const strike *in, int *out)
{
    worker *worker = call->backend_arg;
    strike_count *count = count_of(&worker->segment, worker->claimed.number);

    for (uint64_t round = 0; !xf_stop_requested(call, 0); round++) {
        attacks[in->number].strike(worker, round);
        atomic_store(&count->rounds, (uint32_t)round);
        atomic_store(&count->token, in->token);
    }
    *out = 0;
    return 0;
}

/* Lasts until the attacker, which has that job, has struck once more, or is gone. */
XF_TASK(outlast, const uint32_t *in, uint32_t *out)
{
    const pool_segment *segment = &((worker *)call->backend_arg)->segment;
    const strike_count *count = count_of(segment, *in);

    *out = atomic_load(&count->rounds) + 1;
    while ((int32_t)(atomic_load(&count->rounds) - *out) <= 0 && !xf_stop_requested(call, 0) &&
           claim_word_state(atomic_load(&segment->states[*in].claim)) == CLAIM_CLAIMED)
        ;
    return 0;
}

XF_TASK(give_large, const int *in, chunk *out)
{
    memset(out, *in, sizeof *out);
    return 0;
}

/* ---- Attacks that go on ---------------------------------------------------------------------- */

static xf_pool *open_attacked_pool(int workers)
{
    static const xf_process_options process = {.grace_ms = 100};
    xf_pool *pool =
        open_pool(&(xf_pool_options){.workers = workers, .memory_limit = MEMORY_LIMIT, .process = &process});

    pool->audit_ms = AUDIT_MS;
    return pool;
}

static xf_future *begin_attack(xf_pool *pool, uint32_t number)
{
    static uint32_t tokens;
    strike strike = {number, ++tokens};
    xf_future *future = NULL;

    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &strike_on, .in = &strike, .size = sizeof strike}),
                     0);
    while (!future_is_complete(future) && atomic_load(&count_of(&pool->segment, future->number)->token) != strike.token)
        ;
    return future;
}

/* Many chunks of fixed size, of any size, and one item. */
static void submit_victims(xf_pool *pool, xf_future *futures[3], uint32_t attacker, bool stop_at_failure)
{
    static const double number = 3;
    static const size_t sizes[ITEMS] = {100, 5000, 70000};
    uint32_t attackers[ITEMS];
    const xf_map single = {.task = &outlast,
                           .in = attackers,
                           .count = ITEMS,
                           .chunk = 1,
                           .timeout_ms = 4 * BOUND_MS,
                           .stop_at_failure = stop_at_failure};
    xf_bytes bytes[ITEMS];

    for (int i = 0; i < ITEMS; i++) {
        attackers[i] = attacker;
        bytes[i] = (xf_bytes){&sizes[i], sizeof sizes[i]};
    }
    assert_int_equal(xf_pool_map_async(&futures[0], pool, &single), 0);
    assert_int_equal(
        xf_pool_map_async(&futures[1], pool, &(xf_map){.task = &give, .bytes = bytes, .count = ITEMS, .chunk = 5}), 0);
    assert_int_equal(
        xf_pool_submit(&futures[2], pool, &(xf_map){.task = &square, .in = &number, .size = sizeof number}), 0);
}

/* Each item has an end, which is a result or the reason why there is none. */
static void expect_ends(xf_future *future, const char *what)
{
    if (xf_future_wait(future, BOUND_MS) == XF_ETIMEDOUT)
        fail_msg("a future has no end: %s", what);
    for (size_t i = 0; i < xf_future_count(future); i++) {
        xf_status status = xf_future_status(future, i);
        assert_int_not_equal(status.kind, XF_END_NONE);
        assert_int_equal(xf_future_result(future, i, NULL) != NULL, status.kind == XF_END_DONE);
        assert_int_equal(xf_future_report(future, i) == NULL, status.kind == XF_END_DONE);
    }
    xf_future_free(future);
}

static void an_attack_that_goes_on_holds_no_future(void **state)
{
    xf_pool *pool = open_attacked_pool(2);

    (void)state;
    for (uint32_t number = 0; number < ATTACKS; number++) {
        xf_future *attacker = begin_attack(pool, number), *victims[3];
        submit_victims(pool, victims, attacker->number, number % 2);
        for (int i = 0; i < 3; i++)
            expect_ends(victims[i], attacks[number].name);
        xf_future_cancel(attacker);
        expect_ends(attacker, attacks[number].name);
        expect_squares(pool, 1000, NULL);
    }
    xf_pool_free(pool);
}

/* What has been given out is given back, though no list names it any more. */
static void pages_that_no_list_names_come_back(void **state)
{
    static const int numbers[8] = {1, 2, 3};
    static const size_t sizes[8] = {100000, 200000, 300000, 400000, 500000, 600000, 700000, 800000};
    xf_pool *pool = open_attacked_pool(2);
    xf_bytes bytes[8];
    xf_future *attacker;
    size_t before;

    (void)state;
    for (int i = 0; i < 8; i++)
        bytes[i] = (xf_bytes){&sizes[i], sizeof sizes[i]};
    expect_squares(pool, 1000, NULL);
    attacker = begin_attack(pool, LOSE_SLABS);
    before = stats_of(pool).memory;
    for (int round = 0; round < 10; round++) {
        xf_future *victim = NULL;
        assert_int_equal(xf_pool_map_async(&victim, pool, &(xf_map){.task = &give, .bytes = bytes, .count = 8}), 0);
        assert_int_equal(xf_future_wait(victim, BOUND_MS), 0);
        while (atomic_load(&future_state(victim)->slabs))
            ;
        expect_ends(victim, "lists of slabs");
        while (stats_of(pool).memory > before)
            assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &give_large, .in = numbers, .count = 1}), 0);
    }
    xf_future_cancel(attacker);
    expect_ends(attacker, "lists of slabs");
    xf_pool_free(pool);
}

/* ---- Attacks that end with the worker -------------------------------------------------------- */

/* Says that it has never begun, and exits as a worker that cannot start does. */
XF_TASK(exit_as_if_unstarted, const int *in, int *out)
{
    worker *worker = call->backend_arg;

    *out = *in;
    memset((void *)worker->slot, 0, sizeof *worker->slot);
    _Exit(1);
}

static void exits_that_look_like_failed_starts_end_no_pool(void **state)
{
    static const int zeros[12];
    xf_pool *pool = open_attacked_pool(1);
    xf_future *future = NULL;

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool,
                                       &(xf_map){.task = &exit_as_if_unstarted, .in = zeros, .count = 12, .chunk = 1}),
                     0);
    expect_ends(future, "exits before the start");
    assert_true(pool->broken == NULL);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* ---- Claims that are lost -------------------------------------------------------------------- */

enum { LOSERS = 12, FEW_TIMES = 2, MANY_TIMES = 1000000 };

/* Makes its claim word one that fits no state, and returns once the parent has ended the chunk for that. */
XF_TASK(ruin_own_claim, const int *in, int *out)
{
    claim_word *word = ((worker *)call->backend_arg)->claimed.word;

    *out = *in;
    atomic_store(word, claim_word_make(CLAIM_UNUSED, 0, 0, 0));
    while (claim_word_state(atomic_load(word)) != CLAIM_DONE)
        ;
    return 0;
}

/* What waits behind it is not ended in its place, however often that happens in the life of a pool. */
static void a_chunk_that_ended_for_its_word_costs_no_other(void **state)
{
    static const order orders[8];
    static const int zero;
    xf_pool *pool = open_attacked_pool(1);
    xf_map ruin = {.task = &ruin_own_claim, .in = &zero, .count = 1};

    (void)state;
    for (int round = 0; round < LOSERS; round++) {
        xf_future *ruined = NULL, *behind;
        assert_int_equal(xf_pool_map_async(&ruined, pool, &ruin), 0);
        behind = order_many(pool, orders, 8, &(xf_map){.chunk = 1});
        assert_int_equal(xf_future_wait(behind, BOUND_MS), 0);
        expect_kind(ruined, XF_END_PROTOCOL_ERROR, XF_EPROTO);
        xf_future_free(behind);
    }
    xf_pool_free(pool);
}

/* So many times in all, queues its chunk again, hides which one it is, and loses its claim. */
XF_TASK(lose_claim, const int *in, int *out)
{
    worker *worker = call->backend_arg;
    strike_count *count = count_of(&worker->segment, worker->claimed.number);

    *out = 0;
    if (atomic_fetch_add(&count->rounds, 1) < (uint32_t)*in) {
        atomic_store(&worker->slot->intent, 0);
        atomic_store(worker->claimed.word, claim_word_make(CLAIM_QUEUED, 0, 0, 0));
    }
    return 0;
}

static xf_future *begin_loser(xf_pool *pool, int times)
{
    xf_future *future = NULL;

    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &lose_claim, .in = &times, .count = 1}), 0);
    return future;
}

static void what_loses_its_claim_ends_after_some_times(void **state)
{
    xf_pool *pool = open_attacked_pool(1);

    (void)state;
    for (int i = 0; i < LOSERS; i++) {
        xf_future *future = begin_loser(pool, FEW_TIMES);
        assert_int_equal(xf_future_wait(future, BOUND_MS), 0);
        atomic_store(&count_of(&pool->segment, future->number)->rounds, 0);
        xf_future_free(future);
    }
    expect_kind(begin_loser(pool, MANY_TIMES), XF_END_PROTOCOL_ERROR, XF_EPROTO);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* ---- What workers say last ------------------------------------------------------------------- */

typedef enum last_word {
    INTENT_OF_NO_CHUNK,
    INTENT_OF_ANOTHERS_CHUNK,
    INTENT_OF_NO_JOB,
    INTENT_OF_NOTHING,
    PROGRESS_BEYOND,
    PROGRESS_FAR_BEYOND,
    FAILURE_OF_ANOTHERS_ITEM,
    FAILURE_OF_ITS_OWN_ITEM,
    FAILURE_OF_NO_ITEM,
    LAST_WORDS
} last_word;

typedef struct lie {
    uint32_t item;
    last_word word;
} lie;

/* Writes something wrong about what this worker has claimed. */
static void say_last_word(worker *worker, last_word word)
{
    uint32_t job = worker->claimed.number;
    const uint64_t intents[] = {job_intent(job, (UINT64_C(1) << 40) - 1), job_intent(job, 0),
                                job_intent((1 << 22) - 1, 1), 0};
    const uint64_t items[] = {1, 2, UINT64_MAX};

    if (word <= INTENT_OF_NOTHING)
        atomic_store(&worker->slot->intent, intents[word]);
    else if (word >= FAILURE_OF_ANOTHERS_ITEM)
        atomic_store(&worker->slot->said_item, items[word - FAILURE_OF_ANOTHERS_ITEM]);
    else
        worker->slot->progress = word == PROGRESS_BEYOND ? 2 : UINT32_MAX;
}

/* Item 1 lies and dies once item 0 runs, which waits until the chunk of item 1 has ended. */
XF_TASK(lie_and_die, const lie *in, int *out)
{
    worker *worker = call->backend_arg;
    claim_word *other =
        pool_segment_claim(&worker->segment, worker->claimed.number, worker->claimed.plan, in->item == 0);
    claim_state wanted = in->item == 0 ? CLAIM_DONE : CLAIM_CLAIMED;

    *out = 0;
    while (claim_word_state(atomic_load(other)) != wanted)
        if (xf_stop_requested(call, 0))
            return 5;
    if (in->item == 1) {
        say_last_word(worker, in->word);
        support_kill_self();
    }
    return 0;
}

/* What a worker says last of its claim may cost its own item, and no other worker's. */
static void lies_of_the_dead_cost_their_own_item(void **state)
{
    xf_pool *pool = open_attacked_pool(2);

    (void)state;
    for (uint32_t word = 0; word < LAST_WORDS; word++) {
        const lie lies[2] = {{0, (last_word)word}, {1, (last_word)word}};
        const xf_map map = {.task = &lie_and_die, .in = lies, .count = 2, .chunk = 1};
        xf_end expected = word < PROGRESS_BEYOND ? XF_END_PROTOCOL_ERROR : XF_END_KILLED;
        xf_future *future = NULL;
        assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
        if (xf_future_wait(future, BOUND_MS) == XF_ETIMEDOUT)
            fail_msg("last word %u", word);
        assert_string_equal(xf_end_name(xf_future_status(future, 0).kind), xf_end_name(XF_END_DONE));
        assert_string_equal(xf_end_name(xf_future_status(future, 1).kind), xf_end_name(expected));
        xf_future_free(future);
        expect_squares(pool, 100, NULL);
    }
    xf_pool_free(pool);
}

typedef enum book { BOOK_COUNT, BOOK_OUT_SIZE, BOOK_CLAIMS, BOOK_TAIL, BOOK_SHUTDOWN, BOOK_TASK, BOOKS } book;

/* Writes to what is the parent's. */
XF_TASK(write_to_book, const int *in, int *out)
{
    worker *worker = call->backend_arg;
    pool_segment *segment = &worker->segment;
    job_plan *plan = &segment->jobs[worker->claimed.number].plan;
    void *const words[BOOKS] = {&plan->count,         &plan->out_size,          &plan->claims,
                                segment->head->rings, &segment->head->shutdown, segment->tasks};

    *out = 0;
    *(volatile uint64_t *)words[*in] = UINT64_MAX;
    return 0;
}

static void a_write_to_the_books_is_the_worker_s_crash(void **state)
{
    xf_pool *pool = open_attacked_pool(2);

    (void)state;
    for (int book = 0; book < BOOKS; book++) {
        xf_future *future = NULL;
        assert_int_equal(
            xf_pool_submit(&future, pool, &(xf_map){.task = &write_to_book, .in = &book, .size = sizeof book}), 0);
        assert_int_equal(xf_future_wait(future, BOUND_MS), XF_EFAILED);
        assert_int_equal(xf_future_status(future, 0).kind, XF_END_CRASHED);
        assert_non_null(strstr(xf_future_report(future, 0)->task, "write_to_book"));
        xf_future_free(future);
        expect_squares(pool, 100, NULL);
    }
    xf_pool_free(pool);
}

/* Records a failure that is its own next one. */
XF_TASK(fail_in_a_circle, const int *in, int *out)
{
    worker *worker = call->backend_arg;
    job_state *state = &worker->segment.states[worker->claimed.number];
    uint64_t at = worker->segment.layout.slabs_at;

    *out = *in;
    if (pool_segment_take_slab(&worker->segment, OS_PAGE,
                               pool_segment_slab_word(worker->claimed.number, worker->claimed.plan->serial), &at) < 0)
        return XF_TASK_NO_MEMORY;
    *(failure_record *)pool_segment_at(&worker->segment, at) = (failure_record){.next = at, .code = 9, .size = 3};
    *(slab *)pool_segment_at(&worker->segment, at + 1024) = (slab){at + 1024, 100};
    atomic_store(&state->failures, at);
    atomic_store(&state->slabs, at + 1024);
    return 0;
}

static void lists_that_lead_back_end(void **state)
{
    static const int numbers[ITEMS] = {1, 2, 3};
    xf_pool *pool = open_attacked_pool(2);

    (void)state;
    for (int round = 0; round < 20; round++) {
        xf_future *future = NULL;
        assert_int_equal(
            xf_pool_map_async(&future, pool, &(xf_map){.task = &fail_in_a_circle, .in = numbers, .count = ITEMS}), 0);
        expect_ends(future, "a list that leads back to itself");
    }
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* ---- A neighbour's output -------------------------------------------------------------------- */

typedef struct reach {
    uint64_t from, to; /* bytes behind its own output */
    unsigned char value;
} reach;

/* Overwrites what lies behind its own output, and puts the bytes next to its own back as they were. */
XF_ENTRY(damage_a_neighbour)
{
    const reach *reach = xf_call_input(call, NULL);
    unsigned char *out = xf_call_output(call, 8192), guard[64];

    if (!out)
        return XF_TASK_NO_MEMORY;
    memset(out, 1, 8192);
    memcpy(guard, out + 8192, sizeof guard);
    for (uint64_t i = reach->from; i < reach->to; i++)
        ((volatile unsigned char *)out)[8192 + i] = reach->value;
    memcpy(out + 8192, guard, sizeof guard);
    return 0;
}

/* Outputs within its reach may be damaged; no end, no size and no other part of the pool is. */
static void a_neighbour_s_output_is_all_that_can_be_damaged(void **state)
{
    xf_pool *pool = open_attacked_pool(2);
    reach reaches[ITEMS] = {{0}};
    xf_bytes bytes[ITEMS];

    (void)state;
    for (int i = 0; i < ITEMS; i++)
        bytes[i] = (xf_bytes){&reaches[i], sizeof *reaches};
    for (int round = 0; round < 20; round++) {
        xf_future *future = NULL;
        reaches[round % ITEMS] = (reach){0, 9000 + (uint64_t)round * 500, (unsigned char)(round * 13)};
        assert_int_equal(
            xf_pool_map_async(&future, pool,
                              &(xf_map){.task = &damage_a_neighbour, .bytes = bytes, .count = ITEMS, .chunk = 3}),
            0);
        assert_int_not_equal(xf_future_wait(future, BOUND_MS), XF_ETIMEDOUT);
        for (size_t i = 0; i < ITEMS; i++) {
            size_t size = 0;
            if (xf_future_status(future, i).kind != XF_END_DONE)
                continue;
            assert_non_null(xf_future_result(future, i, &size));
            assert_int_equal(size, 8192);
        }
        xf_future_free(future);
        reaches[round % ITEMS] = (reach){0};
    }
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attack_that_goes_on_holds_no_future),
        cmocka_unit_test(pages_that_no_list_names_come_back),
        cmocka_unit_test(lies_of_the_dead_cost_their_own_item),
        cmocka_unit_test(a_chunk_that_ended_for_its_word_costs_no_other),
        cmocka_unit_test(what_loses_its_claim_ends_after_some_times),
        cmocka_unit_test(exits_that_look_like_failed_starts_end_no_pool),
        cmocka_unit_test(a_write_to_the_books_is_the_worker_s_crash),
        cmocka_unit_test(lists_that_lead_back_end),
        cmocka_unit_test(a_neighbour_s_output_is_all_that_can_be_damaged),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
