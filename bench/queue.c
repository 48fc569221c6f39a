/* w6: a queue from one process to another, 64 bytes a message; mpmc: from two to two.  w6big: 64 KiB a message. */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SMALL = 64,
    COUNT = 200000, /* messages of a call */
    CELLS = 4096,
    BIG = 65536,
    BIG_COUNT = 5000,
    BIG_CELLS = 16,
    RING_BYTES = 1 << 26 /* at most, of a ring for messages of a size that was asked for, if two cells fit */
};

static struct {
    size_t size;
    long count;
    size_t cells;
} kind;

static void set_kind(size_t size, long count, size_t cells)
{
    kind.size = bench_size(bench_asked.bytes, size);
    kind.count = (long)bench_size(bench_asked.count, (size_t)count);
    kind.cells = cells;
    while (kind.size != size && kind.cells > 2 && kind.cells * kind.size > RING_BYTES)
        kind.cells /= 2;
}

static void set_small(void)
{
    set_kind(SMALL, COUNT, CELLS);
}

static void set_big(void)
{
    set_kind(BIG, BIG_COUNT, BIG_CELLS);
}

/* The receiver's buffer. */
static char *get_room(void)
{
    static char *room;

    if (!room)
        room = bench_allocate(kind.size);
    return room;
}

/* ---- crossfork ------------------------------------------------------------------------------- */

/* The input of a producer or consumer. */
typedef struct orders {
    xf_ref queue, go, done;
    uint64_t size;
    uint64_t count; /* messages of each call */
    uint64_t copies;
    uint64_t produces;
} orders;

static struct {
    xf_queue *queue, *done;
    xf_process *processes[3];
    xf_queue *go[3]; /* one each, because a quick process would take the number that is meant for another one too */
    int process_count;
    uint64_t received;
} own;

static void put_number(xf_queue *queue, uint64_t number)
{
    bench_check("xf_queue_put", xf_queue_put(queue, &number, sizeof number, XF_FOREVER));
}

static uint64_t get_number(xf_queue *queue)
{
    uint64_t number;
    size_t size;

    bench_check("xf_queue_get", xf_queue_get_into(queue, &number, sizeof number, &size, XF_FOREVER));
    return number;
}

static int produce_one(xf_queue *queue, char *data, const orders *in, uint64_t i)
{
    xf_queue_slot slot;
    int rc;

    if (in->copies) {
        memcpy(data, &i, sizeof i);
        return xf_queue_put(queue, data, in->size, XF_FOREVER);
    }
    rc = xf_queue_reserve(queue, in->size, &slot, XF_FOREVER);
    if (rc < 0)
        return rc;
    memcpy(slot.data, data, in->size); /* the cost of filling the slot, in some way */
    memcpy(slot.data, &i, sizeof i);
    return xf_queue_commit(queue, &slot, XF_FOREVER);
}

static int consume_one(xf_queue *queue, char *data, const orders *in, uint64_t *sum)
{
    xf_queue_message_view view;
    size_t size;
    uint64_t number;
    int rc;

    if (in->copies) {
        rc = xf_queue_get_into(queue, data, in->size, &size, XF_FOREVER);
        memcpy(&number, data, sizeof number);
    } else {
        rc = xf_queue_view(queue, &view, XF_FOREVER);
        if (rc == 0) {
            memcpy(&number, view.data, sizeof number);
            xf_queue_release(queue, &view);
        }
    }
    if (rc == 0)
        *sum += number;
    return rc;
}

static uint64_t run(xf_queue *queue, char *data, const orders *in)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < in->count; i++)
        bench_check("a message", in->produces ? produce_one(queue, data, in, i) : consume_one(queue, data, in, &sum));
    return sum;
}

XF_TASK(trade, const orders *in, uint64_t *out)
{
    xf_queue *queue, *go, *done;
    char *data = bench_allocate(in->size);

    (void)call;
    *out = 0;
    bench_check("xf_queue_open", xf_queue_open(&queue, &in->queue));
    bench_check("xf_queue_open", xf_queue_open(&go, &in->go));
    bench_check("xf_queue_open", xf_queue_open(&done, &in->done));
    while (get_number(go))
        put_number(done, run(queue, data, in));
    return 0;
}

static orders tell(bool produces, bool copies, int sides)
{
    orders orders = {
        .size = kind.size, .count = (uint64_t)(kind.count / sides), .copies = copies, .produces = produces};

    bench_check("xf_queue_ref", xf_queue_ref(own.queue, &orders.queue));
    bench_check("xf_queue_ref", xf_queue_ref(own.done, &orders.done));
    return orders;
}

static void start(bool produces, bool copies, int sides)
{
    orders orders = tell(produces, copies, sides);
    int at = own.process_count++;

    bench_check("xf_queue_create", xf_queue_create(&own.go[at], NULL));
    bench_check("xf_queue_ref", xf_queue_ref(own.go[at], &orders.go));
    bench_check("xf_process_start", xf_process_start(&own.processes[at], &trade, &orders, sizeof orders, NULL));
}

/* This process is one of the consumers, so it starts one less. */
static void open_queue(bool copies, int sides)
{
    xf_queue_options options = {.capacity = kind.cells};

    bench_check("xf_queue_create", xf_queue_create(&own.queue, &options));
    bench_check("xf_queue_create", xf_queue_create(&own.done, NULL));
    for (int i = 0; i < sides; i++)
        start(true, copies, sides);
    for (int i = 1; i < sides; i++)
        start(false, copies, sides);
}

static void move(bool copies, int sides)
{
    orders orders = tell(false, copies, sides);
    uint64_t each = (uint64_t)kind.count / (uint64_t)sides;

    for (int i = 0; i < own.process_count; i++)
        put_number(own.go[i], 1);
    own.received = run(own.queue, get_room(), &orders);
    for (int i = 0; i < own.process_count; i++)
        own.received += get_number(own.done);
    if (own.received != (uint64_t)sides * (each * (each - 1) / 2))
        bench_fail("w6", "messages are missing");
}

static void open_small_spsc(void)
{
    set_small();
    open_queue(true, 1);
}

static void open_small_mpmc(void)
{
    set_small();
    open_queue(true, 2);
}

static void open_big_copy(void)
{
    set_big();
    open_queue(true, 1);
}

static void open_big_zerocopy(void)
{
    set_big();
    open_queue(false, 1);
}

static void move_copies(void)
{
    move(true, 1);
}

static void move_in_place(void)
{
    move(false, 1);
}

static void move_many(void)
{
    move(true, 2);
}

static void close_queue(void)
{
    for (int i = 0; i < own.process_count; i++)
        put_number(own.go[i], 0);
    for (int i = 0; i < own.process_count; i++) {
        bench_check("xf_process_join", xf_process_join(own.processes[i], NULL, XF_FOREVER));
        xf_process_free(own.processes[i]);
        xf_queue_free(own.go[i]);
    }
    xf_queue_free(own.queue);
    xf_queue_free(own.done);
    bench_check("xf_cleanup", xf_cleanup());
}

/* ---- Bare: a ring for one and one, which spins, then sleeps ---------------------------------- */

typedef struct bare_ring {
    _Alignas(64) _Atomic uint32_t tail; /* the producer's cache line */
    uint32_t head_seen;
    _Atomic uint32_t consumer_sleeps;
    _Alignas(64) _Atomic uint32_t head; /* the consumer's cache line */
    uint32_t tail_seen;
    _Atomic uint32_t producer_sleeps;
    _Alignas(64) _Atomic uint32_t go;
    _Alignas(64) char data[];
} bare_ring;

static struct {
    bare_ring *ring;
    pid_t pid;
} bare;

/* One turn of a wait: spins 2,000 times, then sleeps.  It sleeps on the mark, not on the word: a late wake-up for an
 * earlier change may clear the mark of the next sleep, and then has to end that sleep too. */
static void snooze(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *sleeps, long *turns)
{
    if (++*turns < 2000)
        return;
    atomic_store(sleeps, 1);
    if (atomic_load(word) == seen)
        bench_futex_wait(sleeps, 1);
    atomic_store(sleeps, 0);
    *turns = 0;
}

static void rouse(_Atomic uint32_t *sleeps)
{
    if (atomic_load(sleeps) && atomic_exchange(sleeps, 0))
        bench_futex_wake(sleeps);
}

static void bare_put(bare_ring *ring, const char *data)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    long turns = 0;

    while (tail - ring->head_seen == kind.cells) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen == kind.cells)
            snooze(&ring->head, ring->head_seen, &ring->producer_sleeps, &turns);
    }
    memcpy(ring->data + tail % kind.cells * kind.size, data, kind.size);
    atomic_store(&ring->tail, tail + 1);
    rouse(&ring->consumer_sleeps);
}

static void bare_get(bare_ring *ring, char *data)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    long turns = 0;

    while (head == ring->tail_seen) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen)
            snooze(&ring->tail, head, &ring->consumer_sleeps, &turns);
    }
    memcpy(data, ring->data + head % kind.cells * kind.size, kind.size);
    atomic_store(&ring->head, head + 1);
    if (ring->tail_seen - head <= kind.cells / 2) /* wake a sleeping producer only when half of the ring is free */
        rouse(&ring->producer_sleeps);
}

static _Noreturn void bare_produce(void)
{
    bare_ring *ring = bare.ring;
    char *data = bench_allocate(kind.size);

    for (uint32_t turn = 0;; turn++) {
        while (atomic_load(&ring->go) == turn)
            bench_futex_wait(&ring->go, turn);
        if (atomic_load(&ring->go) == UINT32_MAX)
            _exit(0);
        for (uint64_t i = 0; i < (uint64_t)kind.count; i++) {
            memcpy(data, &i, sizeof i);
            bare_put(ring, data);
        }
    }
}

static void open_bare(void)
{
    bare.ring = bench_share(sizeof *bare.ring + kind.cells * kind.size);
    bare.pid = fork();
    if (bare.pid < 0)
        bench_fail("fork", NULL);
    if (bare.pid == 0)
        bare_produce();
}

static void open_bare_small(void)
{
    set_small();
    open_bare();
}

static void open_bare_big(void)
{
    set_big();
    open_bare();
}

static void move_bare(void)
{
    char *data = get_room();
    uint64_t number, sum = 0;

    atomic_fetch_add(&bare.ring->go, 1);
    bench_futex_wake(&bare.ring->go);
    for (long i = 0; i < kind.count; i++) {
        bare_get(bare.ring, data);
        memcpy(&number, data, sizeof number);
        sum += number;
    }
    if (sum != (uint64_t)kind.count * (uint64_t)(kind.count - 1) / 2)
        bench_fail("w6", "bare messages are missing");
}

static void close_bare(void)
{
    atomic_store(&bare.ring->go, UINT32_MAX);
    bench_futex_wake(&bare.ring->go);
    bench_reap(bare.pid);
}

/* ---- The workloads --------------------------------------------------------------------------- */

enum { CALLS = 5 };

static const bench_variant small[] = {
    {"bare:ring", open_bare_small, move_bare, close_bare, CALLS, false, NULL},
    {"crossfork:spsc", open_small_spsc, move_copies, close_queue, CALLS, false, NULL},
    {"crossfork:mpmc", open_small_mpmc, move_many, close_queue, CALLS, false, NULL},
};

static const bench_ratio small_ratios[] = {{"crossfork:spsc", "bare:ring", 1.5}};

static const bench_variant big[] = {
    {"bare:ring", open_bare_big, move_bare, close_bare, CALLS, false, NULL},
    {"crossfork:copy", open_big_copy, move_copies, close_queue, CALLS, false, NULL},
    {"crossfork:zerocopy", open_big_zerocopy, move_in_place, close_queue, CALLS, false, NULL},
};

static const bench_ratio big_ratios[] = {
    {"crossfork:copy", "bare:ring", 1.5},
    {"crossfork:zerocopy", "bare:ring", 1.0},
};

const bench_workload bench_w6 = {"w6", COUNT, 1, small, BENCH_COUNT(small), small_ratios, BENCH_COUNT(small_ratios),
                                 true};
const bench_workload bench_w6big = {"w6big", BIG_COUNT, 1, big, BENCH_COUNT(big), big_ratios, BENCH_COUNT(big_ratios),
                                    true};
