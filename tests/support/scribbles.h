/* Scribbles: a worker writes into the memory that its pool shares, wherever it can.
 *
 * A task finds that memory by the library's own structures, as code of a hostile file would that has taken its worker
 * over. */
#ifndef SCRIBBLES_H
#define SCRIBBLES_H

#include "pool/pool_state.h"
#include "pool/worker.h"
#include "tasks.h"

enum { ITEMS = 24, FUTURES = 6, PATIENCE_MS = 60000, AUDIT_MS = 20, MEMORY_LIMIT = 64 << 20 };

/* ---- What a worker can write to -------------------------------------------------------------- */

enum {
    PART_HEAD,
    PART_OWN_SLOT,
    PART_OTHER_SLOT,
    PART_OWN_STATE,
    PART_OTHER_STATE,
    PART_CLAIMS,
    PART_CURSORS,
    PART_OUT_SPANS,
    PART_SLAB_WORDS,
    PART_SLABS,
    PARTS
};

static const char *const part_names[PARTS] = {"head",   "own slot", "other slot", "own state",  "other state",
                                              "claims", "cursors",  "out spans",  "slab words", "slabs"};

typedef struct part {
    char *at;
    size_t size;
} part;

/* The bytes of a part that are in use while the work below runs. */
static part find_part(const worker *worker, int number)
{
    const pool_segment *segment = &worker->segment;
    const job_plan *plan = worker->claimed.plan;
    uint32_t slot = worker->me.slot, job = worker->claimed.number;
    bool many = !(plan->flags & JOB_ONE_CHUNK), spans = many && plan->flags & JOB_OUT_SPANS;

    switch (number) {
    case PART_HEAD:
        return (part){(char *)segment->shared, sizeof(work_head)};
    case PART_OWN_SLOT:
        return (part){(char *)&segment->slots[slot], sizeof(worker_slot)};
    case PART_OTHER_SLOT:
        return (part){(char *)&segment->slots[!slot], sizeof(worker_slot)};
    case PART_OWN_STATE:
        return (part){(char *)&segment->states[job], sizeof(job_state)};
    case PART_OTHER_STATE:
        return (part){(char *)&segment->states[(job + 1) % FUTURES], sizeof(job_state)};
    case PART_CLAIMS:
        return many ? (part){pool_segment_at(segment, plan->claims), plan->chunk_count * sizeof(claim_word)}
                    : (part){NULL, 0};
    case PART_CURSORS:
        return many ? (part){pool_segment_at(segment, plan->cursors), 3 * sizeof(worker_cursor)} : (part){NULL, 0};
    case PART_OUT_SPANS:
        return spans ? (part){pool_segment_at(segment, plan->out), plan->count * sizeof(span)} : (part){NULL, 0};
    case PART_SLAB_WORDS:
        return (part){pool_segment_at(segment, segment->layout.slab_words_at), 64 * sizeof(uint64_t)};
    default:
        return (part){pool_segment_at(segment, segment->layout.slabs_at),
                      page_arena_committed(&segment->slabs) ? 8192 : 0};
    }
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

typedef enum scribble_kind { SCRIBBLE_NOTHING, SCRIBBLE_WORD, SCRIBBLE_RANDOM } scribble_kind;

typedef struct scribble {
    scribble_kind kind;
    int part;       /* SCRIBBLE_WORD */
    size_t at;      /* of the part */
    size_t size;    /* 4 or 8 */
    uint64_t value; /* NEIGHBOUR: that of the word behind */
    uint64_t seed;  /* SCRIBBLE_RANDOM */
    uint64_t count; /* where in the work segment a scribble_count is; 0: nowhere */
    uint64_t fails; /* the item fails afterwards */
} scribble;

#define NEIGHBOUR UINT64_C(0x1234567812345678)

/* What random writes came to. */
typedef struct scribble_count {
    _Atomic uint64_t words, in_use; /* all that were written to; those that were not 0 */
} scribble_count;

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void write_word(part part, size_t at, size_t size, uint64_t value)
{
    if (at + size > part.size)
        return;
    if (value == NEIGHBOUR)
        memcpy(&value, part.at + (at + 2 * size <= part.size ? at + size : 0), size);
    memcpy(part.at + at, &value, size);
}

/* Writes to eight words, mostly in use: those that are not 0, and one in eight of the others. */
static void write_at_random(const worker *worker, const scribble *order)
{
    scribble_count *count = order->count ? pool_segment_at(&worker->segment, order->count) : NULL;
    uint64_t seed = order->seed;

    for (int i = 0; i < 8; i++) {
        part part = find_part(worker, (int)(next_random(&seed) % PARTS));
        size_t at = part.size ? next_random(&seed) % (part.size / 8) * 8 : 0;
        uint64_t value = next_random(&seed), word = 0;
        if (part.size)
            memcpy(&word, part.at + at, sizeof word);
        if (part.size == 0 || (word == 0 && value % 8 != 0))
            continue;
        if (count) {
            atomic_fetch_add(&count->words, 1);
            atomic_fetch_add(&count->in_use, word != 0);
        }
        write_word(part, at, 8, value % 3 ? value % 3 == 1 ? word ^ (UINT64_C(1) << value % 64) : value : 0);
    }
}

static int run_scribble(xf_call *call, const scribble *order)
{
    const worker *worker = call->backend_arg;

    if (order->kind == SCRIBBLE_WORD)
        write_word(find_part(worker, order->part), order->at, order->size, order->value);
    if (order->kind == SCRIBBLE_RANDOM)
        write_at_random(worker, order);
    return order->fails ? xf_fail(call, 5, "an item that fails") : 0;
}

XF_TASK(scribble_sized, const scribble *in, uint64_t *out)
{
    *out = in->seed + 1;
    return run_scribble(call, in);
}

XF_ENTRY(scribble_any)
{
    const scribble *order = xf_call_input(call, NULL);
    char *out = xf_call_output(call, 100 + order->seed % 3 * 3000);

    if (!out)
        return XF_TASK_NO_MEMORY;
    *out = 1;
    return run_scribble(call, order);
}

/* ---- The work -------------------------------------------------------------------------------- */

/* Futures of each kind: one item or many, of one size or any, some of which fail. */
static void submit_work(xf_pool *pool, xf_future *futures[FUTURES], const scribble *order)
{
    static scribble items[FUTURES][ITEMS];
    static xf_bytes bytes[FUTURES][ITEMS];

    memset(items, 0, sizeof items);
    for (int i = 0; i < FUTURES; i++) {
        for (int k = 0; k < ITEMS; k++) {
            items[i][k].seed = (uint64_t)(i * ITEMS + k);
            items[i][k].fails = k % 7 == 3;
            bytes[i][k] = (xf_bytes){&items[i][k], sizeof(scribble)};
        }
        items[i][i % 3 == 2 ? 0 : ITEMS / 2] = *order;
    }
    for (int i = 0; i < FUTURES; i++) {
        xf_map map = {.task = i < 3 ? &scribble_sized : &scribble_any, .chunk = i % 3 == 0 ? 1 : 5};
        if (i % 3 == 2)
            map.in = items[i], map.size = sizeof(scribble);
        else if (i < 3)
            map.in = items[i], map.count = ITEMS;
        else
            map.bytes = bytes[i], map.count = ITEMS;
        futures[i] = NULL;
        if (i % 3 == 2)
            assert_int_equal(xf_pool_submit(&futures[i], pool, &map), 0);
        else
            assert_int_equal(xf_pool_map_async(&futures[i], pool, &map), 0);
    }
}

/* Looks at all of a future's results, as a program does. */
static void read_results(xf_future *future)
{
    for (size_t i = 0; i < xf_future_count(future); i++) {
        xf_status status = xf_future_status(future, i);
        const xf_report *report = xf_future_report(future, i);
        size_t size = 0;
        const volatile unsigned char *out = xf_future_result(future, i, &size);
        assert_int_not_equal(status.kind, XF_END_NONE);
        assert_int_equal(report == NULL, status.kind == XF_END_DONE);
        assert_true(size <= future->pool->segment.slabs.count * OS_PAGE);
        for (size_t k = 0; out && k < size; k++)
            (void)out[k];
    }
}

static void expect_ends(const char *what, xf_future *futures[FUTURES])
{
    for (int i = 0; i < FUTURES; i++) {
        int rc = xf_future_wait(futures[i], PATIENCE_MS);
        if (rc == XF_ETIMEDOUT)
            fail_msg("future %d has no end: %s", i, what);
        read_results(futures[i]);
        xf_future_free(futures[i]);
    }
}

static xf_pool *open_hostile_pool(void)
{
    static const xf_process_options process = {.grace_ms = 100};
    xf_pool_options options = {.workers = 2, .memory_limit = MEMORY_LIMIT, .process = &process};
    xf_pool *pool = NULL;

    assert_int_equal(xf_pool_create(&pool, &options), 0);
    pool->audit_ms = AUDIT_MS;
    return pool;
}

/* Submits all the work with an order in it, and expects that every item ends. */
static void run_order(xf_pool *pool, const scribble *order, const char *what)
{
    xf_future *futures[FUTURES];

    submit_work(pool, futures, order);
    expect_ends(what, futures);
}

#endif
