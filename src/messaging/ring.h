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
    LANE_LINE = 64, /* what processors share memory by */
    LANE_RINGS = 32,
    LANE_FIRST = 512, /* cells of the first ring of a lane that grows; a power of 2 */
    LANE_HANDS = 1024,
    LANE_LOSSES = 16,      /* that are remembered one by one */
    LANE_LOOK_MS = 20,     /* how often one who waits looks whether somebody in the way has died, */
    LANE_REST_MS = 200,    /* and whether somebody has died before waking it */
    LANE_CELL_MAX = 65536, /* bytes that a cell has room for */
    LANE_RING_SHIFT = 56   /* a place is the number of a ring, and from there down a place in it */
};

/* What a lane is made for. */
typedef struct lane_plan {
    uint64_t capacity; /* messages; 0: as many as memory has room for */
    uint64_t room;     /* bytes of a message that a cell has room for; a multiple of 16 */
    uint64_t memory;   /* bytes for longer messages, and for cells when capacity is 0 */
    uint32_t spin_us;  /* how long a wait spins before it sleeps */
    uint32_t hands;    /* processes that can have tasks in hand; 0: nobody asks what is done with messages */
} lane_plan;

/* What a process has taken of a lane and is not done with. */
typedef struct lane_hand {
    _Atomic uint64_t who; /* 0: nobody */
    _Atomic uint64_t owed;
} lane_hand;

/* What is about to be counted as lost. */
typedef struct lane_pending {
    _Atomic uint64_t what; /* 0: nothing; else LANE_CELL + cell, or LANE_BLOCK + offset */
    uint32_t ring;         /* of the cell */
    uint64_t seen;         /* the cell's turn, the block's word */
    uint64_t lost;         /* how many there were before */
} lane_pending;

#define LANE_CELL (UINT64_C(1) << 62)
#define LANE_BLOCK (UINT64_C(2) << 62)

/* A message that was lost with a process. */
typedef struct lane_loss {
    uint64_t who;
    uint64_t size;
} lane_loss;

/* In shared memory. */
typedef struct lane_head {
    lane_plan plan;
    _Alignas(2 * LANE_LINE) _Atomic uint64_t put_at;  /* all places before it are claimed, as far as known */
    _Alignas(2 * LANE_LINE) _Atomic uint64_t get_at;  /* all before it are taken */
    _Alignas(2 * LANE_LINE) wake_word filled;         /* consumers sleep on it until there is more */
    _Alignas(LANE_LINE) wake_word freed;              /* producers do until there is room */
    _Alignas(LANE_LINE) wake_word done;               /* joiners do until all is done with what was taken */
    _Alignas(2 * LANE_LINE) _Atomic uint64_t settler; /* who settles the claims of the dead; 0: nobody */
    _Atomic uint64_t lost;                            /* messages whose consumer died with them in its hands */
    _Atomic uint64_t unput;                           /* claims of places whose producer died before it committed */
    _Atomic uint64_t undone;                          /* messages whose consumer died before it was done with them */
    lane_pending pending;
    lane_loss losses[LANE_LOSSES];      /* the last ones, number n in n % LANE_LOSSES */
    _Atomic uint64_t ready[LANE_RINGS]; /* cells of each ring that have memory */
    arena_head store;
} lane_head;

/* Begins with a line, so that what is short comes and goes in one. */
typedef struct lane_cell {
    _Atomic uint64_t turn;   /* 2 * lap: empty; 2 * lap + 1: full */
    _Atomic uint64_t putter; /* the last claim to put, */
    _Atomic uint64_t getter; /* and to get */
    _Atomic uint64_t size;   /* looked at also by those who have not claimed the message */
    _Atomic uint64_t block;  /* of the store, where the message is; 0: it follows */
    _Alignas(16) uint8_t bytes[];
} lane_cell;

/* A process's view of a ring. */
typedef struct lane_ring {
    char *cells;
    uint64_t cells_at; /* in the segment */
    uint64_t mask;     /* cells - 1 */
    uint32_t bits;
    _Atomic uint64_t known; /* that so many cells have memory */
} lane_ring;

/* A process's view of a lane. */
typedef struct lane {
    const os_shm *shm;
    lane_head *head;
    lane_plan plan;
    uint64_t me; /* os_self_process */
    uint64_t stride;
    uint32_t ring_count;
    lane_ring rings[LANE_RINGS];
    lane_hand *hands;
    lane_hand *own_hand; /* NULL: this process has taken nothing yet that somebody asks for */
    store store;
    _Atomic uint64_t next_look; /* of uv_hrtime: at whoever is in the way */
} lane;

/* A message that this process has claimed. */
typedef struct lane_hold {
    uint32_t ring;
    uint64_t at;
    uint64_t size;
    uint64_t block; /* 0: it is in the cell */
    void *data;
} lane_hold;

/* What the options of queues and pipes mean where they are 0. */
uint32_t lane_spin_us(int option);
uint64_t lane_memory(size_t option);

/* ---- The segment ----------------------------------------------------------------------------- */

/* How many bytes of a reserved segment a lane needs, a multiple of OS_PAGE.  XF_EINVAL for a plan that cannot be. */
int lane_size(const lane_plan *plan, uint64_t *size);

/* Makes a lane in zero-filled memory of the segment, from an offset that is a multiple of OS_PAGE on.  XF_ENOMEM. */
int lane_create(lane *lane, const os_shm *shm, uint64_t at, const lane_plan *plan);

/* Looks at a lane that another process has made.  XF_EPROTO. */
int lane_attach(lane *lane, const os_shm *shm, uint64_t at);

/* ---- Putting --------------------------------------------------------------------------------- */

/* Puts a message of bytes.
 * XF_ETIMEDOUT; XF_EEND when the lane was ended; XF_ELIMIT (larger than memory); XF_ENOMEM, XF_EPROTO. */
int lane_put(lane *lane, const void *data, uint64_t size, uint64_t deadline);

/* The same in two steps: memory for a message, which the caller fills in, commits or gives back. */
int lane_reserve(lane *lane, uint64_t size, uint64_t deadline, uint64_t *block, void **data);
int lane_commit(lane *lane, uint64_t block, uint64_t size, uint64_t deadline);
void lane_cancel(lane *lane, uint64_t block, uint64_t size);

/* No message is put any more: 0, also when that was said before.  XF_ENOMEM, XF_EPROTO. */
int lane_end(lane *lane);

/* ---- Getting --------------------------------------------------------------------------------- */

/* Claims the first message.
 *   most  Bytes: a longer one stays, and hold->size says how long it is (XF_ESIZE).
 * XF_ETIMEDOUT; XF_EEND when the lane was ended and is empty; XF_EPROTO (the message is gone). */
int lane_take(lane *lane, lane_hold *hold, uint64_t most, uint64_t deadline);

/* Copies it to where it has room, and lets go of it: nothing of it is left in the lane. */
void lane_copy_out(lane *lane, lane_hold *hold, void *room);

/* Takes a message that is in the store out of the lane: its block is this process's until lane_let_go. */
void lane_keep(lane *lane, lane_hold *hold);
void lane_let_go(lane *lane, uint64_t block, uint64_t size);

/* Tells the size of the first message, without claiming it.  As lane_take. */
int lane_peek(lane *lane, uint64_t *size, uint64_t deadline);

/* Gets ready to count what this process takes.  XF_ELIMIT when too many others do. */
int lane_open_hand(lane *lane);

/* Is done with one message.  XF_ESTATE when none is in hand. */
int lane_do(lane *lane);

/* Waits until every message that was put is taken and done.  XF_ETIMEDOUT. */
int lane_await_done(lane *lane, uint64_t deadline);

/* How many messages are in the lane, about. */
uint64_t lane_count(lane *lane);

/* A number that grows with each message that is put. */
uint64_t lane_put_count(lane *lane);

/* ---- Inside ---------------------------------------------------------------------------------- */

/* A place in a lane, and what is seen there. */
typedef struct lane_spot {
    lane_ring *ring;
    uint32_t number; /* of the ring */
    uint64_t at;
    uint64_t turn;
    uint64_t claim;
} lane_spot;

typedef enum lane_sight { LANE_FOUND, LANE_NONE, LANE_ENDED, LANE_BROKEN } lane_sight;

/* Finds the place behind the last one that is claimed: LANE_FOUND when it is free, LANE_NONE when it is not, which is
 * to say that the lane is full. */
lane_sight lane_find_room(lane *lane, lane_spot *spot);

/* Finds the first message that nobody has claimed.
 *   skipped  Set to who has the first place before it that is claimed and not full; 0: there is none. */
lane_sight lane_find_message(lane *lane, lane_spot *spot, uint64_t *skipped);

static inline uint64_t lane_lap(const lane_ring *ring, uint64_t at)
{
    return at >> ring->bits;
}

/* A claim says of which lap it is, and whose.  The lap is not whole: one who is held up between looking at a claim and
 * claiming would have to be so for just 2^24 laps, or a multiple, to take it for the same. */
enum { LANE_LAP_BITS = 64 - OS_PROCESS_BITS };

static inline uint64_t lane_claim(uint64_t lap, uint64_t who)
{
    return (lap + 1) << OS_PROCESS_BITS | who;
}

static inline bool lane_claimed(uint64_t claim, uint64_t lap)
{
    return claim >> OS_PROCESS_BITS == ((lap + 1) & ((UINT64_C(1) << LANE_LAP_BITS) - 1));
}

static inline uint64_t lane_who(uint64_t claim)
{
    return claim & ((UINT64_C(1) << OS_PROCESS_BITS) - 1);
}

/* In place of who: the ring ends here, and the next one follows; the lane ends here. */
enum { LANE_NEXT = 1, LANE_END = 2 };

static inline lane_cell *lane_cell_at(const lane *lane, const lane_ring *ring, uint64_t at)
{
    return (lane_cell *)(ring->cells + (at & ring->mask) * lane->stride);
}

/* Cells of the ring that have memory. */
uint64_t lane_ready(lane *lane, uint32_t number);

/* Whether the cell of a place has memory, so that it can be looked at. */
static inline bool lane_is_ready(lane *lane, uint32_t number, uint64_t at)
{
    lane_ring *ring = &lane->rings[number];
    uint64_t index = at & ring->mask;

    return index < atomic_load_explicit(&ring->known, memory_order_relaxed) || index < lane_ready(lane, number);
}

/* Gives memory to the cell of a place, and to some more.  XF_ENOMEM. */
int lane_make_ready(lane *lane, uint32_t number, uint64_t at);

static inline void lane_write_hint(_Atomic uint64_t *hint, const lane_spot *spot)
{
    atomic_store_explicit(hint, (uint64_t)spot->number << LANE_RING_SHIFT | (spot->at + 1), memory_order_relaxed);
}

/* Whether the place that was found full can be claimed as the last one of its ring: the put of the lap before has to be
 * over, or nobody would know any more who was at it. */
static inline bool lane_can_close(const lane_spot *spot)
{
    uint64_t lap = lane_lap(spot->ring, spot->at);

    return lap == 0 || spot->turn >= 2 * lap - 1;
}

/* Who is in the way of somebody who found no room; 0: nobody, the lane is just full. */
uint64_t lane_blocker(const lane *lane, const lane_spot *spot);

/* Frees a block of this process's; room in the store is told by the same bell as a place. */
void lane_free_block(lane *lane, uint64_t block, uint64_t size);

/* XF_EPROTO. */
int lane_broken(void);

/* ---- ring_wait.c --------------------------------------------------------------------------------- */

/* Whether something is as one who waits wants it.
 *   in_the_way  Set to who has claimed what would have to go on first; left as it is when that is nobody. */
typedef bool (*lane_test)(lane *lane, void *arg, uint64_t *in_the_way);

/* Whether a test holds, whose truth a bell tells of; looks now and then whether somebody in the way has died.
 *   target  Set when it does not, to what to sleep on; NULL: nobody is going to. */
bool lane_look(lane *lane, wake_word *bell, lane_test holds, void *arg, wait_target *target);

/* Waits until a test holds: spins, then sleeps.
 *   glimpse  What is looked at while it spins: says no too often rather than touch what others are
 *            writing; NULL: it does not spin.
 * Returns 0, or XF_ETIMEDOUT. */
int lane_await(lane *lane, wake_word *bell, spin_look glimpse, lane_test holds, void *arg, uint64_t deadline);

/* The next cell by the hints: whether it is free, or full. */
bool lane_glimpse_room(void *lane);
bool lane_glimpse_message(void *lane);

bool lane_has_room(lane *lane, void *arg, uint64_t *in_the_way);
bool lane_has_message(lane *lane, void *arg, uint64_t *in_the_way);

/* ---- ring_inflight.c ---------------------------------------------------------------------------------- */

/* Gives up what a dead process had in hand. */
void lane_empty_hand(lane *lane, uint64_t who);

/* ---- ring_recover.c -------------------------------------------------------------------------------- */

/* Settles what that process has claimed if it is dead, unless somebody else is at it. */
void lane_settle(lane *lane, uint64_t who);

/* The same for all who have claimed anything. */
void lane_settle_all(lane *lane);

#endif
