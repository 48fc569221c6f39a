/* A lane: messages that go from any number of processes to any number of others, in order, through shared memory.
 *
 * It is a ring of cells, or several, each twice as large as the one before it, where each cell has three words: its
 * turn, who puts and who gets.  A place in the ring is claimed by one compare-and-swap that says who; docs/queue.md has
 * the state machine, model/queue.pml the proof.  Messages that are longer than a cell has room lie in the store.
 * Nothing is locked, and nothing of what other processes write is trusted more than it has to be: a broken lane gives
 * XF_EPROTO. */
#ifndef LANE_H
#define LANE_H

#include "base/spin.h"
#include "lockfree/wait_target.h"
#include "lockfree/wake_word.h"
#include "messaging/ring_blocks.h"
#include "os/os.h"

enum {
    RING_CACHE_LINE = 64, /* what processors share memory by */
    RING_BUFFERS = 32,
    RING_FIRST_CELLS = 512, /* cells of the first ring of a lane that grows; a power of 2 */
    RING_CONSUMERS = 1024,
    RING_LOSSES = 16,      /* that are remembered one by one */
    RING_RECHECK_MS = 20,  /* how often one who waits looks whether somebody in the way has died, */
    RING_SLEEP_MS = 200,   /* and whether somebody has died before waking it */
    RING_CELL_MAX = 65536, /* bytes that a cell has room for */
    RING_BUFFER_SHIFT = 56 /* a place is the number of a ring, and from there down a place in it */
};

/* What a lane is made for. */
typedef struct ring_plan {
    uint64_t capacity; /* messages; 0: as many as memory has room for */
    uint64_t room;     /* bytes of a message that a cell has room for; a multiple of 16 */
    uint64_t memory;   /* bytes for longer messages, and for cells when capacity is 0 */
    uint32_t spin_us;  /* how long a wait spins before it sleeps */
    uint32_t hands;    /* processes that can have tasks in hand; 0: nobody asks what is done with messages */
} ring_plan;

/* What a process has taken of a lane and is not done with. */
typedef struct ring_consumer {
    _Atomic uint64_t who; /* 0: nobody */
    _Atomic uint64_t owed;
} ring_consumer;

/* What is about to be counted as lost. */
typedef struct ring_pending_loss {
    _Atomic uint64_t what; /* 0: nothing; else RING_LOST_CELL + cell, or RING_LOST_BLOCK + offset */
    uint32_t ring;         /* of the cell */
    uint64_t seen;         /* the cell's turn, the block's word */
    uint64_t lost;         /* how many there were before */
} ring_pending_loss;

#define RING_LOST_CELL (UINT64_C(1) << 62)
#define RING_LOST_BLOCK (UINT64_C(2) << 62)

/* A message that was lost with a process. */
typedef struct ring_loss {
    uint64_t who;
    uint64_t size;
} ring_loss;

/* In shared memory. */
typedef struct ring_head {
    ring_plan plan;
    _Alignas(2 * RING_CACHE_LINE) _Atomic uint64_t put_at;  /* all places before it are claimed, as far as known */
    _Alignas(2 * RING_CACHE_LINE) _Atomic uint64_t get_at;  /* all before it are taken */
    _Alignas(2 * RING_CACHE_LINE) wake_word filled;         /* consumers sleep on it until there is more */
    _Alignas(RING_CACHE_LINE) wake_word freed;              /* producers do until there is room */
    _Alignas(RING_CACHE_LINE) wake_word done;               /* joiners do until all is done with what was taken */
    _Alignas(2 * RING_CACHE_LINE) _Atomic uint64_t settler; /* who settles the claims of the dead; 0: nobody */
    _Atomic uint64_t lost;                                  /* messages whose consumer died with them in its hands */
    _Atomic uint64_t unput;  /* claims of places whose producer died before it committed */
    _Atomic uint64_t undone; /* messages whose consumer died before it was done with them */
    ring_pending_loss pending;
    ring_loss losses[RING_LOSSES];        /* the last ones, number n in n % RING_LOSSES */
    _Atomic uint64_t ready[RING_BUFFERS]; /* cells of each ring that have memory */
    page_arena_head store;
} ring_head;

/* Begins with a line, so that what is short comes and goes in one. */
typedef struct ring_cell {
    _Atomic uint64_t turn;   /* 2 * lap: empty; 2 * lap + 1: full */
    _Atomic uint64_t putter; /* the last claim to put, */
    _Atomic uint64_t getter; /* and to get */
    _Atomic uint64_t size;   /* looked at also by those who have not claimed the message */
    _Atomic uint64_t block;  /* of the store, where the message is; 0: it follows */
    _Alignas(16) uint8_t bytes[];
} ring_cell;

/* A process's view of a ring. */
typedef struct ring_buffer {
    char *cells;
    uint64_t cells_at; /* in the segment */
    uint64_t mask;     /* cells - 1 */
    uint32_t bits;
    _Atomic uint64_t known; /* that so many cells have memory */
} ring_buffer;

/* A process's view of a lane. */
typedef struct lane {
    const os_shm *shm;
    ring_head *head;
    ring_plan plan;
    uint64_t me; /* os_self_process */
    uint64_t stride;
    uint32_t ring_count;
    ring_buffer rings[RING_BUFFERS];
    ring_consumer *hands;
    ring_consumer *own_hand; /* NULL: this process has taken nothing yet that somebody asks for */
    store store;
    _Atomic uint64_t next_look; /* of uv_hrtime: at whoever is in the way */
} lane;

/* A message that this process has claimed. */
typedef struct ring_message {
    uint32_t ring;
    uint64_t at;
    uint64_t size;
    uint64_t block; /* 0: it is in the cell */
    void *data;
} ring_message;

/* What the options of queues and pipes mean where they are 0. */
uint32_t ring_spin_us(int option);
uint64_t ring_memory(size_t option);

/* ---- The segment ----------------------------------------------------------------------------- */

/* How many bytes of a reserved segment a lane needs, a multiple of OS_PAGE.  XF_EINVAL for a plan that cannot be. */
int ring_size(const ring_plan *plan, uint64_t *size);

/* Makes a lane in zero-filled memory of the segment, from an offset that is a multiple of OS_PAGE on.  XF_ENOMEM. */
int ring_create(lane *lane, const os_shm *shm, uint64_t at, const ring_plan *plan);

/* Looks at a lane that another process has made.  XF_EPROTO. */
int ring_attach(lane *lane, const os_shm *shm, uint64_t at);

/* ---- Putting --------------------------------------------------------------------------------- */

/* Puts a message of bytes.
 * XF_ETIMEDOUT; XF_EEND when the lane was ended; XF_ELIMIT (larger than memory); XF_ENOMEM, XF_EPROTO. */
int ring_push(lane *lane, const void *data, uint64_t size, uint64_t deadline);

/* The same in two steps: memory for a message, which the caller fills in, commits or gives back. */
int ring_reserve(lane *lane, uint64_t size, uint64_t deadline, uint64_t *block, void **data);
int ring_commit(lane *lane, uint64_t block, uint64_t size, uint64_t deadline);
void ring_cancel(lane *lane, uint64_t block, uint64_t size);

/* No message is put any more: 0, also when that was said before.  XF_ENOMEM, XF_EPROTO. */
int ring_shut_down(lane *lane);

/* ---- Getting --------------------------------------------------------------------------------- */

/* Claims the first message.
 *   most  Bytes: a longer one stays, and hold->size says how long it is (XF_ESIZE).
 * XF_ETIMEDOUT; XF_EEND when the lane was ended and is empty; XF_EPROTO (the message is gone). */
int ring_take(lane *lane, ring_message *hold, uint64_t most, uint64_t deadline);

/* Copies it to where it has room, and lets go of it: nothing of it is left in the lane. */
void ring_copy_out(lane *lane, ring_message *hold, void *room);

/* Takes a message that is in the store out of the lane: its block is this process's until ring_release. */
void ring_keep(lane *lane, ring_message *hold);
void ring_release(lane *lane, uint64_t block, uint64_t size);

/* Tells the size of the first message, without claiming it.  As ring_take. */
int ring_peek(lane *lane, uint64_t *size, uint64_t deadline);

/* Gets ready to count what this process takes.  XF_ELIMIT when too many others do. */
int ring_inflight_open(lane *lane);

/* Is done with one message.  XF_ESTATE when none is in hand. */
int ring_acknowledge(lane *lane);

/* Waits until every message that was put is taken and done.  XF_ETIMEDOUT. */
int ring_wait_done(lane *lane, uint64_t deadline);

/* How many messages are in the lane, about. */
uint64_t ring_count(lane *lane);

/* A number that grows with each message that is put. */
uint64_t ring_put_count(lane *lane);

/* ---- Inside ---------------------------------------------------------------------------------- */

/* A place in a lane, and what is seen there. */
typedef struct ring_position {
    ring_buffer *ring;
    uint32_t number; /* of the ring */
    uint64_t at;
    uint64_t turn;
    uint64_t claim;
} ring_position;

typedef enum ring_found { RING_FOUND, RING_NONE, RING_AT_END, RING_BROKEN } ring_found;

/* Finds the place behind the last one that is claimed: RING_FOUND when it is free, RING_NONE when it is not, which is
 * to say that the lane is full. */
ring_found ring_search_room(lane *lane, ring_position *spot);

/* Finds the first message that nobody has claimed.
 *   skipped  Set to who has the first place before it that is claimed and not full; 0: there is none. */
ring_found ring_search_message(lane *lane, ring_position *spot, uint64_t *skipped);

static inline uint64_t ring_lap(const ring_buffer *ring, uint64_t at)
{
    return at >> ring->bits;
}

/* A claim says of which lap it is, and whose.  The lap is not whole: one who is held up between looking at a claim and
 * claiming would have to be so for just 2^24 laps, or a multiple, to take it for the same. */
enum { RING_LAP_BITS = 64 - OS_PROCESS_BITS };

static inline uint64_t ring_claim(uint64_t lap, uint64_t who)
{
    return (lap + 1) << OS_PROCESS_BITS | who;
}

static inline bool ring_is_claimed(uint64_t claim, uint64_t lap)
{
    return claim >> OS_PROCESS_BITS == ((lap + 1) & ((UINT64_C(1) << RING_LAP_BITS) - 1));
}

static inline uint64_t ring_claim_owner(uint64_t claim)
{
    return claim & ((UINT64_C(1) << OS_PROCESS_BITS) - 1);
}

/* In place of who: the ring ends here, and the next one follows; the lane ends here. */
enum { RING_NEXT = 1, RING_END = 2 };

static inline ring_cell *ring_cell_at(const lane *lane, const ring_buffer *ring, uint64_t at)
{
    return (ring_cell *)(ring->cells + (at & ring->mask) * lane->stride);
}

/* Cells of the ring that have memory. */
uint64_t ring_ready_cells(lane *lane, uint32_t number);

/* Whether the cell of a place has memory, so that it can be looked at. */
static inline bool ring_is_ready(lane *lane, uint32_t number, uint64_t at)
{
    ring_buffer *ring = &lane->rings[number];
    uint64_t index = at & ring->mask;

    return index < atomic_load_explicit(&ring->known, memory_order_relaxed) || index < ring_ready_cells(lane, number);
}

/* Gives memory to the cell of a place, and to some more.  XF_ENOMEM. */
int ring_make_ready(lane *lane, uint32_t number, uint64_t at);

static inline void ring_write_hint(_Atomic uint64_t *hint, const ring_position *spot)
{
    atomic_store_explicit(hint, (uint64_t)spot->number << RING_BUFFER_SHIFT | (spot->at + 1), memory_order_relaxed);
}

/* Whether the place that was found full can be claimed as the last one of its ring: the put of the lap before has to be
 * over, or nobody would know any more who was at it. */
static inline bool ring_can_close(const ring_position *spot)
{
    uint64_t lap = ring_lap(spot->ring, spot->at);

    return lap == 0 || spot->turn >= 2 * lap - 1;
}

/* Who is in the way of somebody who found no room; 0: nobody, the lane is just full. */
uint64_t ring_search_blocker(const lane *lane, const ring_position *spot);

/* Frees a block of this process's; room in the store is told by the same bell as a place. */
void ring_free_block(lane *lane, uint64_t block, uint64_t size);

/* XF_EPROTO. */
int ring_broken(void);

/* ---- ring_wait.c --------------------------------------------------------------------------------- */

/* Whether something is as one who waits wants it.
 *   in_the_way  Set to who has claimed what would have to go on first; left as it is when that is nobody. */
typedef bool (*ring_condition)(lane *lane, void *arg, uint64_t *in_the_way);

/* Whether a test holds, whose truth a bell tells of; looks now and then whether somebody in the way has died.
 *   target  Set when it does not, to what to sleep on; NULL: nobody is going to. */
bool ring_wait_poll(lane *lane, wake_word *bell, ring_condition holds, void *arg, wait_target *target);

/* Waits until a test holds: spins, then sleeps.
 *   glimpse  What is looked at while it spins: says no too often rather than touch what others are
 *            writing; NULL: it does not spin.
 * Returns 0, or XF_ETIMEDOUT. */
int ring_wait(lane *lane, wake_word *bell, spin_look glimpse, ring_condition holds, void *arg, uint64_t deadline);

/* The next cell by the hints: whether it is free, or full. */
bool ring_search_quick_room(void *lane);
bool ring_search_quick_message(void *lane);

bool ring_has_room(lane *lane, void *arg, uint64_t *in_the_way);
bool ring_has_message(lane *lane, void *arg, uint64_t *in_the_way);

/* ---- ring_inflight.c ---------------------------------------------------------------------------------- */

/* Gives up what a dead process had in hand. */
void ring_inflight_forget(lane *lane, uint64_t who);

/* ---- ring_recover.c -------------------------------------------------------------------------------- */

/* Settles what that process has claimed if it is dead, unless somebody else is at it. */
void ring_recover(lane *lane, uint64_t who);

/* The same for all who have claimed anything. */
void ring_recover_all(lane *lane);

#endif
