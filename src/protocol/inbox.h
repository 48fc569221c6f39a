/* What a parent has received from one child: a judge of frames and a keeper of what they brought.
 *
 * The child may be broken or hostile.  Frames must come in order (HELLO, then any, then BYE, nothing after it), with
 * the fields they should have, and what is kept is bounded: messages by message_limit, the rest to one of each. */
#ifndef INBOX_H
#define INBOX_H

#include "crossfork/process.h"
#include "protocol/frame.h"

/* Takes the segment that is attached to the current frame. */
typedef int (*inbox_take)(void *arg, uint64_t token, size_t size, os_shm *shm);

/* Bytes that a child sent, in memory of their own or in a segment. */
typedef struct parcel {
    struct parcel *next;
    size_t size;
    os_shm segment; /* handle -1 and no address: the bytes follow */
    max_align_t bytes[];
} parcel;

/* One with room for size bytes that follow; NULL: no memory. */
parcel *parcel_make(size_t size);

const void *parcel_data(const parcel *parcel);
void parcel_free(parcel *parcel);

typedef struct inbox {
    uint8_t build[OS_BUILD_ID_SIZE]; /* that HELLO has to tell */
    uint64_t message_limit;
    uint64_t kept; /* bytes in messages */
    bool hello;
    bool bye;
    bool progress; /* WIRE_PROGRESS came; cleared by whoever looks */
    wire_outcome outcome;
    int code;
    int64_t pid;
    uint64_t table_hash;
    parcel *first, *last; /* messages */
    parcel *result;
    char *failure; /* text of FAIL; NULL: none */
} inbox;

/* An inbox that expects that build. */
void inbox_open(inbox *inbox, uint64_t message_limit);
void inbox_close(inbox *inbox);

/* What a log frame says. */
typedef struct inbox_log {
    xf_log_level level;
    double time;
    uint64_t item;
    char task[XF_TASK_NAME_MAX + 1];
    char text[XF_LOG_LINE_MAX + 1];
} inbox_log;

/* Takes a frame in.
 *   log  Filled in for WIRE_LOG; NULL where the frame is none.
 * XF_EPROTO for one that must not be; XF_EBUILD; XF_ELIMIT; XF_ENOMEM: with the detail in error_detail. */
int inbox_put(inbox *inbox, const wire_frame *frame, inbox_take take, void *arg, inbox_log *log);

/* Takes the oldest message out; NULL: there is none. */
parcel *inbox_get(inbox *inbox);

#endif
