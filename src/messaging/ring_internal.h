/* The ring, inside: for its own files.  Each builds on those before it: ring_blocks, ring, ring_search, ring_inflight,
 * ring_recover, ring_wait, and ring_push and ring_pop, which do not know each other. */
#ifndef RING_INTERNAL_H
#define RING_INTERNAL_H

#include "base/spin.h"
#include "lockfree/wake_word.h"
#include "messaging/ring.h"

enum {
    RING_CACHE_LINE = 64,
    RING_FIRST_CELLS = 512, /* of the first buffer of a ring that grows; a power of 2 */
    RING_RECHECK_MS = 20,   /* how often a waiter checks whether the process in its way has died, */
    RING_SLEEP_MS = 200,    /* and how long it sleeps at most: a process may have died before waking it */
    RING_BUFFER_SHIFT = 56  /* a position in one number: that of the buffer above this bit, the place in it below */
};

/* The messages that a process has taken and not acknowledged. */
typedef struct ring_consumer {
    _Atomic uint64_t process; /* 0: none */
    _Atomic uint64_t unacked;
} ring_consumer;

/* A loss that is about to be counted. */
typedef struct ring_pending_loss {
    _Atomic uint64_t what; /* 0: none; else RING_LOST_CELL + cell, or RING_LOST_BLOCK + offset */
    uint32_t buffer;       /* of the cell */
    uint64_t seen;         /* the cell's turn, the block's word */
    uint64_t lost;         /* the count of losses before this one */
} ring_pending_loss;

#define RING_LOST_CELL (UINT64_C(1) << 62)
#define RING_LOST_BLOCK (UINT64_C(2) << 62)

/* The part of a ring that is in shared memory, before its cells. */
typedef struct ring_head {
    ring_plan plan;
    _Alignas(2 * RING_CACHE_LINE) _Atomic uint64_t put_at; /* all positions before it are claimed, as far as known */
    _Alignas(2 * RING_CACHE_LINE) _Atomic uint64_t get_at; /* all messages before it are taken */
    _Alignas(2 * RING_CACHE_LINE) wake_word filled;        /* consumers sleep on it until there is a message, */
    _Alignas(RING_CACHE_LINE) wake_word freed;             /* producers until there is room, */
    _Alignas(RING_CACHE_LINE) wake_word done;              /* and joiners until every message is acknowledged */
    _Alignas(2 * RING_CACHE_LINE) _Atomic uint64_t
        recovering;          /* the process that recovers what dead processes had; 0: none */
    _Atomic uint64_t lost;   /* messages whose consumer died after it claimed them */
    _Atomic uint64_t unput;  /* positions whose producer died after it claimed them and before it put */
    _Atomic uint64_t undone; /* messages whose consumer died before it acknowledged them */
    ring_pending_loss pending;
    ring_loss losses[RING_LOSSES];        /* the last ones, number n in n % RING_LOSSES */
    _Atomic uint64_t ready[RING_BUFFERS]; /* how many cells of each buffer have memory */
    page_arena_head blocks;
} ring_head;

/* A cell begins with a cache line: a short message comes and goes in one. */
typedef struct ring_cell {
    _Atomic uint64_t turn;   /* 2 * lap: empty; 2 * lap + 1: full */
    _Atomic uint64_t putter; /* the last claim to put, */
    _Atomic uint64_t getter; /* and to get */
    _Atomic uint64_t size;   /* also read by processes that have not claimed the message */
    _Atomic uint64_t block;  /* where the message is; 0: it follows */
    _Alignas(16) uint8_t bytes[];
} ring_cell;

/* ---- Claims: ring_cell.putter and getter ----------------------------------------------------- */

static inline uint64_t ring_lap(const ring_buffer *buffer, uint64_t at)
{
    return at >> buffer->bits;
}

/* A claim holds the lap and the process that claims.  Only the low bits of the lap are kept: a process would take an
 * old claim for the current one if it were held up, between reading the claim and claiming, for exactly 2^24 laps or a
 * multiple of that. */
enum { RING_LAP_BITS = 64 - OS_PROCESS_BITS };

static inline uint64_t ring_claim(uint64_t lap, uint64_t owner)
{
    return (lap + 1) << OS_PROCESS_BITS | owner;
}

static inline bool ring_is_claimed(uint64_t claim, uint64_t lap)
{
    return claim >> OS_PROCESS_BITS == ((lap + 1) & ((UINT64_C(1) << RING_LAP_BITS) - 1));
}

static inline uint64_t ring_claim_owner(uint64_t claim)
{
    return claim & ((UINT64_C(1) << OS_PROCESS_BITS) - 1);
}

/* Stand in place of an owner: the buffer ends here, and the next one follows; or the ring ends here. */
enum { RING_NEXT = 1, RING_END = 2 };

/* ---- Cells: ring.c --------------------------------------------------------------------------- */

static inline ring_cell *ring_cell_at(const ring *ring, const ring_buffer *buffer, uint64_t at)
{
    return (ring_cell *)(buffer->cells + (at & buffer->mask) * ring->stride);
}

/* How many cells of the buffer have memory. */
uint64_t ring_ready_cells(ring *ring, uint32_t number);

/* Whether the cell at that place has memory and may be read. */
static inline bool ring_is_ready(ring *ring, uint32_t number, uint64_t at)
{
    ring_buffer *buffer = &ring->buffers[number];
    uint64_t index = at & buffer->mask;

    return index < atomic_load_explicit(&buffer->known, memory_order_relaxed) || index < ring_ready_cells(ring, number);
}

/* Gives memory to the cell at that place, and to some more.  XF_ENOMEM. */
int ring_make_ready(ring *ring, uint32_t number, uint64_t at);

/* Frees a block of this process.  Producers that wait for a block sleep on head->freed, as those do that wait for a
 * cell. */
void ring_free_block(ring *ring, uint64_t block, uint64_t size);

/* Reports that the shared memory is corrupt.  Returns XF_EPROTO. */
int ring_broken(void);

/* ---- Positions: ring_search.c ---------------------------------------------------------------- */

/* A position in a ring, and what was read there. */
typedef struct ring_position {
    ring_buffer *buffer;
    uint32_t number; /* of the buffer */
    uint64_t at;
    uint64_t turn;
    uint64_t claim;
} ring_position;

typedef enum ring_found { RING_FOUND, RING_NONE, RING_AT_END, RING_BROKEN } ring_found;

/* Finds the position behind the last one that is claimed: RING_FOUND when it is free; RING_NONE when it is not, that
 * is, when the ring is full. */
ring_found ring_search_room(ring *ring, ring_position *position);

/* Finds the first message that nobody has claimed.
 *   skipped  Set to the producer that has claimed, and not filled, the first such position before the message; 0: there
 *            is none. */
ring_found ring_search_message(ring *ring, ring_position *position, uint64_t *skipped);

static inline void ring_write_hint(_Atomic uint64_t *hint, const ring_position *position)
{
    atomic_store_explicit(hint, (uint64_t)position->number << RING_BUFFER_SHIFT | (position->at + 1),
                          memory_order_relaxed);
}

/* Whether a position that was found full can be claimed as the last one of its buffer.  The put of the lap before has
 * to be over: a claim that closes the buffer overwrites the claim of that producer. */
static inline bool ring_can_close(const ring_position *position)
{
    uint64_t lap = ring_lap(position->buffer, position->at);

    return lap == 0 || position->turn >= 2 * lap - 1;
}

/* The process in the way of a producer that found no room; 0: none, the ring is only full. */
uint64_t ring_search_blocker(const ring *ring, const ring_position *position);

/* Whether the cell that the hint names is free, or full: for spinning.  They may say no although it is, because they do
 * not read cells that other processes are writing. */
bool ring_search_quick_room(void *ring);
bool ring_search_quick_message(void *ring);

/* A number that grows with each message that is put. */
uint64_t ring_search_put_count(ring *ring);

/* How many messages are in the ring, about. */
uint64_t ring_search_count(ring *ring);

/* ---- Messages in flight: ring_inflight.c ----------------------------------------------------- */

/* Makes sure that what this process takes is counted.  XF_ELIMIT when too many other processes take messages. */
int ring_inflight_open(ring *ring);

/* Counts a message that is about to be taken, and one that is not in flight any more (XF_ESTATE: there is none). */
static inline void ring_inflight_add(ring *ring)
{
    if (ring->own_consumer)
        atomic_fetch_add(&ring->own_consumer->unacked, 1);
}

int ring_inflight_remove(ring *ring);

/* Gives up the messages that a dead process had in flight. */
void ring_inflight_forget(ring *ring, uint64_t process);

/* Whether the ring is empty and no message is in flight: a ring_condition. */
bool ring_inflight_is_done(ring *ring, void *arg, uint64_t *blocker);

/* ---- Recovering: ring_recover.c -------------------------------------------------------------- */

/* Recovers what that process has claimed if it is dead, unless another process is recovering. */
void ring_recover(ring *ring, uint64_t process);

/* Does the same for all processes that have claimed anything. */
void ring_recover_all(ring *ring);

/* ---- Waiting: ring_wait.c -------------------------------------------------------------------- */

/* Whether the ring is in the state that a thread waits for.
 *   blocker  Set to the process whose claim is in the way; left as it is when there is none. */
typedef bool (*ring_condition)(ring *ring, void *arg, uint64_t *blocker);

/* What a thread waits for. */
typedef struct ring_awaited {
    wake_word *word; /* signalled when the condition may have become true */
    ring_condition holds;
    void *arg;
    spin_condition quick; /* checked while the thread spins; NULL: it does not spin */
} ring_awaited;

/* Whether the condition holds.  Checks every RING_RECHECK_MS whether the process in the way has died, and recovers what
 * it had.
 *   target  Set to what to sleep on when the condition does not hold; NULL: no thread is going to sleep. */
bool ring_wait_poll(ring *ring, const ring_awaited *awaited, wait_target *target);

/* Waits until the condition holds: spins, then sleeps.  Returns 0, or XF_ETIMEDOUT. */
int ring_wait(ring *ring, const ring_awaited *awaited, uint64_t deadline);

#endif
