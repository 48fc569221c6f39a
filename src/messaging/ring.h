/* A ring: messages that go from any number of processes to any number of others, in order, through shared memory.
 *
 * A ring has one circular buffer of cells, or several, each twice as large as the one before it.  A cell has three
 * words: its turn, the last claim to put, and the last claim to get.  A process claims a position by one
 * compare-and-swap that names the process; docs/design/ring.md has the state machine, model/queue.pml the proof.  A
 * message that is longer than a cell has room for lies in a block.  Nothing is locked, and nothing that other processes
 * write is trusted more than it has to be: a corrupt ring gives XF_EPROTO.
 *
 * This header is for queues and pipes; ring_internal.h is for the files of the ring. */
#ifndef RING_H
#define RING_H

#include "crossfork/process.h"
#include "lockfree/wait_target.h"
#include "messaging/ring_blocks.h"

enum {
    RING_BUFFERS = 32,
    RING_CONSUMERS = 1024,
    RING_LOSSES = 16,     /* losses that are remembered one by one */
    RING_CELL_MAX = 65536 /* bytes that a cell can have room for */
};

/* The parameters of a ring. */
typedef struct ring_plan {
    uint64_t capacity;  /* messages; 0: as many as memory has room for */
    uint64_t room;      /* bytes of a message that a cell has room for; a multiple of 16 */
    uint64_t memory;    /* bytes for longer messages, and for cells when capacity is 0 */
    uint32_t spin_us;   /* how long a wait spins before it sleeps */
    uint32_t consumers; /* processes whose unacknowledged messages are counted; 0: they are not counted */
} ring_plan;

/* A message that was lost with a process. */
typedef struct ring_loss {
    uint64_t process;
    uint64_t size;
} ring_loss;

/* A process's view of one buffer. */
typedef struct ring_buffer {
    char *cells;
    uint64_t cells_at; /* in the segment */
    uint64_t mask;     /* number of cells - 1 */
    uint32_t bits;
    _Atomic uint64_t known; /* this many cells are known to have memory */
} ring_buffer;

/* A process's view of a ring. */
typedef struct ring {
    const os_shm *shm;
    struct ring_head *head;
    ring_plan plan;
    uint64_t me; /* os_self_process */
    uint64_t stride;
    uint32_t buffer_count;
    ring_buffer buffers[RING_BUFFERS];
    struct ring_consumer *consumers;
    struct ring_consumer *own_consumer; /* NULL: no message of this process has been counted yet */
    ring_blocks blocks;
    _Atomic uint64_t next_check; /* of uv_hrtime: when to check whether the process in the way lives */
} ring;

/* A message that this process has claimed. */
typedef struct ring_message {
    uint32_t buffer;
    uint64_t at;
    uint64_t size;
    uint64_t block; /* 0: the message is in the cell */
    void *data;
} ring_message;

/* The values of the options of queues and pipes; 0 is the default. */
uint32_t ring_spin_us(int option);
uint64_t ring_memory(size_t option);

/* ---- The segment ----------------------------------------------------------------------------- */

/* How many bytes of a reserved segment a ring needs, a multiple of OS_PAGE.  XF_EINVAL for an impossible plan. */
int ring_size(const ring_plan *plan, uint64_t *size);

/* Makes a ring in zero-filled memory of the segment.
 *   at  Where it begins, a multiple of OS_PAGE.
 * XF_ENOMEM. */
int ring_create(ring *ring, const os_shm *shm, uint64_t at, const ring_plan *plan);

/* Sets up this process's view of a ring that another process has made.  XF_EPROTO. */
int ring_attach(ring *ring, const os_shm *shm, uint64_t at);

/* ---- Pushing --------------------------------------------------------------------------------- */

/* Puts a message at the end.
 * XF_ETIMEDOUT; XF_EEND when the ring was shut down; XF_ELIMIT (larger than memory); XF_ENOMEM, XF_EPROTO. */
int ring_push(ring *ring, const void *data, uint64_t size, uint64_t deadline);

/* Put a message in two steps: the first gives memory, which the caller fills in and then commits or cancels. */
int ring_reserve(ring *ring, uint64_t size, uint64_t deadline, uint64_t *block, void **data);
int ring_commit(ring *ring, uint64_t block, uint64_t size, uint64_t deadline);
void ring_cancel(ring *ring, uint64_t block, uint64_t size);

/* Makes what was reserved smaller. */
void ring_shrink(ring *ring, uint64_t block, uint64_t size, uint64_t smaller);

/* Ends the ring: no message can be put any more.  Returns 0 also when it was shut down before.  XF_ENOMEM,
 * XF_EPROTO. */
int ring_shut_down(ring *ring);

/* Whether ring_push of a message that a cell has room for would return at once.
 *   target  See wait_target.h. */
bool ring_can_push(ring *ring, wait_target *target);

/* ---- Popping --------------------------------------------------------------------------------- */

/* Takes the first message, into new memory.
 * XF_ETIMEDOUT; XF_EEND when the ring was shut down and is empty; XF_ELIMIT when more than plan.consumers processes
 * take messages; XF_ENOMEM; XF_EPROTO (the message is lost). */
int ring_pop(ring *ring, xf_message *message, uint64_t deadline);

/* Does the same into memory of the caller.
 *   got  Set to the size of the message, also on XF_ESIZE: then the message is larger, and stays. */
int ring_pop_into(ring *ring, void *room, size_t size, size_t *got, uint64_t deadline);

/* Gets the size of the first message, which stays in the ring. */
int ring_peek(ring *ring, size_t *size, uint64_t deadline);

/* Claims the first message.  The caller then calls ring_copy_out, or ring_keep when the message is in a block.
 *   most  Bytes: a longer message stays, and message->size is its size (XF_ESIZE).
 * Otherwise as ring_pop. */
int ring_take(ring *ring, ring_message *message, uint64_t most, uint64_t deadline);

/* Copies a claimed message, and frees its cell and its block. */
void ring_copy_out(ring *ring, ring_message *message, void *room);

/* Takes a claimed message that is in a block out of the ring: the block is this process's until ring_release. */
void ring_keep(ring *ring, ring_message *message);
void ring_release(ring *ring, uint64_t block, uint64_t size);

/* Whether ring_pop would return at once. */
bool ring_can_pop(ring *ring, wait_target *target);

/* ---- Messages in flight ---------------------------------------------------------------------- */

/* Acknowledges one message that this process has taken.  XF_ESTATE when it has acknowledged all; XF_ELIMIT. */
int ring_acknowledge(ring *ring);

/* Waits until the ring is empty and every message is acknowledged.  XF_ETIMEDOUT. */
int ring_wait_done(ring *ring, uint64_t deadline);

/* ---- What became of messages ----------------------------------------------------------------- */

typedef struct ring_stats {
    uint64_t messages; /* in the ring, about */
    uint64_t lost;     /* their consumer died after it had claimed them */
    uint64_t unput;    /* their producer died after it had claimed a position */
    uint64_t undone;   /* their consumer died before it acknowledged them */
} ring_stats;

/* Recovers what dead processes had claimed, and counts.
 *   losses  Set to the last losses, the last one first, as many as there is room for and as are remembered.
 * Returns how many. */
int ring_stats_get(ring *ring, ring_stats *stats, ring_loss *losses, int room);

#endif
