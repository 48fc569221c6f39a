/* Queues: messages from any number of processes to any number of others, in order.
 *
 *     xf_queue *queue;
 *     xf_ref ref;
 *     xf_queue_create(&queue, NULL);                                       // in one process
 *     xf_queue_ref(queue, &ref);
 *     xf_process_start(&process, &task, &ref, sizeof ref, NULL);
 *     xf_queue_put(queue, "hello", 5, XF_FOREVER);
 *
 *     xf_message message;                                                  // in the task
 *     xf_queue_open(&queue, &ref);                                         // ref is its input
 *     if (xf_queue_get(queue, &message, XF_FOREVER) == 0)
 *         xf_message_free(&message);
 *
 * Messages lie in shared memory: a producer does not wait for a consumer, no thread feeds a queue, and a message stays
 * when its producer has ended.  So joining first and getting afterwards works, at any size.
 * No lock is held.  A process that is killed, at whatever instruction, blocks no other; at most the message that each
 * of its threads was putting or getting is lost with it, and xf_queue_stats_get counts those.
 * Nothing closes a queue by itself: a producer waits for room (XF_FOREVER) also when all consumers have died.  So wait
 * for all processes of a queue at once (xf_wait), and close it when the last consumer or the last producer has ended,
 * as examples/producer_consumer.c does; or wait with timeouts.
 * A message is bytes; it may be an xf_ref, and so hand over an object. */
#ifndef CROSSFORK_QUEUE_H
#define CROSSFORK_QUEUE_H

#include "codec.h"
#include "export.h"
#include "ref.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xf_queue xf_queue;

/* ---- Creating, handing over, ending ---------------------------------------------------------- */

/* How a queue works.  {0} is the default in every member. */
typedef struct xf_queue_options {
    size_t capacity;     /* messages at most, XF_QUEUE_CAPACITY_MAX at most; 0: as many as there is memory for */
    size_t message_size; /* the length that most messages do not exceed: the ring itself keeps those, pages of their
                            own keep longer ones.  Default 144, at most 65536.  The ring has this much room for each of
                            its messages */
    size_t memory_limit; /* bytes of shared memory for longer messages, and with capacity 0 for the ring; default: the
                            memory of the machine.  The queue reserves it, and uses it as it needs it */
    int spin_us;         /* how long a wait spins before it sleeps; default 50 where there is more than one core, and 0
                            otherwise; -1: 0 */
    bool counts_tasks;   /* xf_queue_task_done and xf_queue_join work; 1,024 processes at most can get from the queue
                            at a time then: beyond that xf_queue_get returns XF_ELIMIT */
} xf_queue_options;

#define XF_QUEUE_CAPACITY_MAX 67108864

/* Creates a queue and opens it.
 *   queue    Set to the new queue, which the caller frees with xf_queue_free.
 *   options  NULL for the default.
 * Returns 0; XF_EINVAL for an option out of range; XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_queue_create(xf_queue **queue, const xf_queue_options *options);

/* Names the queue, for another process to open.  Returns 0; XF_ENOMEM, XF_EHANDLES, XF_ELIMIT, XF_EEND. */
XF_API int xf_queue_ref(xf_queue *queue, xf_ref *ref);

/* Opens the queue that a reference names.
 * Returns 0; XF_EINVAL when it names something else; XF_ENOENT when no process has it open any more; XF_EPROTO when its
 * memory is broken; XF_EEND when this is a child and its parent has ended; XF_ENOMEM, XF_EHANDLES, XF_ELIMIT. */
XF_API int xf_queue_open(xf_queue **queue, const xf_ref *ref);

/* Refuses new messages from now on, in all processes; the messages in the queue can still be got.  Returns 0, also when
 * it was closed before; XF_ENOMEM, XF_EPROTO. */
XF_API int xf_queue_close(xf_queue *queue);

/* Ends the queue in this process.  Its messages stay for the other processes that have it open; the last one that ends
 * it frees them.  Views and slots are released before.  NULL is harmless.
 * Threads: no other call on this queue may be under way or follow. */
XF_API void xf_queue_free(xf_queue *queue);

/* ---- Putting --------------------------------------------------------------------------------- */

/* Puts one message.
 *   data        size bytes, copied; NULL when size is 0.
 *   timeout_ms  How long to wait for room; 0 does not wait.
 * Returns 0; XF_EINVAL when data is NULL and size is not 0; XF_ETIMEDOUT while capacity or memory_limit leave no room;
 * XF_EEND when the queue is closed; XF_ELIMIT for a message larger than memory_limit; XF_ENOMEM; XF_EPROTO when the
 * shared memory is broken.
 * Threads: any thread of any process; messages of one thread come out in the order in which it put them. */
XF_API int xf_queue_put(xf_queue *queue, const void *data, size_t size, int timeout_ms);

/* Puts several messages, and wakes the consumers that wait once.
 * Returns how many were put, from the first on, when at least one was; else as xf_queue_put; XF_EINVAL, and none was
 * put, for a count below 1, and when messages or the data of one of them is NULL. */
XF_API int xf_queue_put_many(xf_queue *queue, const xf_bytes *messages, int count, int timeout_ms);

/* Puts an object, as its codec encodes it.  Returns as xf_queue_put; XF_ECODEC when it does not encode: then nothing
 * was put. */
XF_API int xf_queue_put_object(xf_queue *queue, const xf_codec *codec, const void *object, int timeout_ms);

/* Memory of a queue for a message that the caller fills in. */
typedef struct xf_queue_slot {
    void *data; /* aligned to 64 bytes, not zero-filled */
    size_t size;
    uint64_t reserved[2]; /* crossfork's own */
} xf_queue_slot;

/* Reserves memory for a message, which is filled in and put without a copy.  Other messages pass meanwhile:
 * xf_queue_commit gives this one its position.
 *   slot  Set to memory of size bytes; ended with xf_queue_commit or xf_queue_cancel.
 * Returns as xf_queue_put; capacity does not matter until xf_queue_commit. */
XF_API int xf_queue_reserve(xf_queue *queue, size_t size, xf_queue_slot *slot, int timeout_ms);

/* Puts the message of a slot.  slot->size may have been made smaller.
 * Returns as xf_queue_put, or XF_EINVAL when slot->size was made larger; unless it returns 0, the slot is as before. */
XF_API int xf_queue_commit(xf_queue *queue, xf_queue_slot *slot, int timeout_ms);

/* Gives the memory of a slot back, and puts nothing. */
XF_API void xf_queue_cancel(xf_queue *queue, xf_queue_slot *slot);

/* ---- Getting --------------------------------------------------------------------------------- */

/* Gets the first message.
 *   message     Set to a copy of it, freed by the caller with xf_message_free.
 *   timeout_ms  How long to wait for one; 0 does not wait.
 * Returns 0; XF_ETIMEDOUT; XF_EEND when the queue is closed and empty; XF_ENOMEM: the message stays;
 * XF_EPROTO when the shared memory is broken.
 * Threads: any thread of any process; one of them gets each message. */
XF_API int xf_queue_get(xf_queue *queue, xf_message *message, int timeout_ms);

/* Gets the first message into memory of the caller.
 *   room  size bytes; NULL when size is 0.
 *   got   Set to the number of bytes of the message, also with XF_ESIZE.
 * Returns as xf_queue_get; XF_ESIZE when the message is longer than size: then it stays; XF_EINVAL when room is NULL
 * and size is not 0. */
XF_API int xf_queue_get_into(xf_queue *queue, void *room, size_t size, size_t *got, int timeout_ms);

/* Gets several messages: waits for the first one, and gets the ones behind it that are there already.
 *   messages  Room for count of them.
 * Returns how many it got, when it got at least one; else as xf_queue_get, or XF_EINVAL for a count below 1 or
 * messages that are NULL. */
XF_API int xf_queue_get_many(xf_queue *queue, xf_message *messages, int count, int timeout_ms);

/* Gets the first message as the object that its codec decodes.
 *   object  Set to a new object, which the caller ends with the codec's destroy.
 * Returns as xf_queue_get; XF_ECODEC when the message does not decode: then it is lost. */
XF_API int xf_queue_get_object(xf_queue *queue, const xf_codec *codec, void **object, int timeout_ms);

/* A message that is read where it lies. */
typedef struct xf_queue_message_view {
    const void *data; /* aligned to 16 bytes at least */
    size_t size;
    uint64_t reserved[2]; /* crossfork's own */
} xf_queue_message_view;

/* Gets the first message without copying it, if it is longer than message_size; a shorter one lies in the ring, and is
 * copied, because the ring reuses its memory.
 *   view  Ended with xf_queue_release.
 * Returns as xf_queue_get. */
XF_API int xf_queue_view(xf_queue *queue, xf_queue_message_view *view, int timeout_ms);

/* Ends a view, and gives the memory of its message back. */
XF_API void xf_queue_release(xf_queue *queue, xf_queue_message_view *view);

/* Waits for the first message and gives its size.  The message stays; another thread may get it next.  Returns as
 * xf_queue_get. */
XF_API int xf_queue_peek(xf_queue *queue, size_t *size, int timeout_ms);

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Acknowledges one of the messages that this process got, in a queue that counts_tasks.
 * Returns 0; XF_ESTATE when the process has acknowledged all that it got, or the queue does not count. */
XF_API int xf_queue_task_done(xf_queue *queue);

/* Waits until every message that was put has been got and acknowledged.  Messages of a process that died count as
 * acknowledged: see xf_queue_stats.undone.
 * Returns 0; XF_ETIMEDOUT; XF_ESTATE when the queue does not count. */
XF_API int xf_queue_join(xf_queue *queue, int timeout_ms);

/* ---- Statistics ------------------------------------------------------------------------------ */

typedef struct xf_queue_stats {
    uint64_t messages; /* in the queue now, about */
    uint64_t lost;     /* messages whose consumer died while it got them: between the claim and the end of
                          xf_queue_get, or while it had a view */
    uint64_t unput;    /* puts whose process died in the middle: their messages never were in the queue */
    uint64_t undone;   /* messages whose consumer died before xf_queue_task_done, including the lost ones */
} xf_queue_stats;

/* A message that was lost. */
typedef struct xf_queue_loss {
    int64_t pid; /* of the process that died */
    uint64_t size;
} xf_queue_loss;

#define XF_QUEUE_LOSSES_MAX 16

/* Looks for processes that have died, recovers the messages that they left unfinished, and takes a snapshot.
 *   losses  Filled in with up to room of the last losses, the newest first; NULL when room is 0.
 * Returns how many were filled in, XF_QUEUE_LOSSES_MAX at most; XF_EINVAL when losses is NULL and room is above 0. */
XF_API int xf_queue_stats_get(xf_queue *queue, xf_queue_stats *stats, xf_queue_loss *losses, int room);

#ifdef __cplusplus
}
#endif

#endif
