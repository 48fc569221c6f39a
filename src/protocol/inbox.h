/* The inbox of a parent for one child: it checks the child's frames, and keeps their contents.
 *
 * The child may be broken or hostile.  Frames must come in order (HELLO, then any, then BYE, nothing after it) and with
 * the right fields.  The inbox keeps messages up to message_limit, and one of everything else. */
#ifndef INBOX_H
#define INBOX_H

#include "crossfork/process.h"
#include "os/identity.h"
#include "protocol/frame.h"
#include "protocol/message.h"

typedef struct inbox {
    uint8_t build[OS_BUILD_ID_SIZE]; /* the build that HELLO must name */
    uint64_t message_limit;
    uint64_t kept; /* memory of the messages, in bytes */
    bool hello;
    bool bye;
    bool ready;    /* FRAME_READY came */
    bool progress; /* FRAME_PROGRESS came; the reader clears it */
    frame_outcome outcome;
    int code;
    int64_t pid;
    uint64_t table_hash;
    message *first, *last; /* messages */
    message *result;
    char *failure; /* the text of FAIL; NULL: none came */
} inbox;

/* Opens an inbox that expects frames of this build. */
void inbox_open(inbox *inbox, uint64_t message_limit);
void inbox_close(inbox *inbox);

/* The fields of a log frame. */
typedef struct inbox_log {
    xf_log_level level;
    double time;
    uint64_t item;
    char task[XF_TASK_NAME_MAX + 1];
    char text[XF_LOG_LINE_MAX + 1];
} inbox_log;

/* Checks a frame, and keeps its content.
 *   log  Filled in for FRAME_LOG; may be NULL for other frames.
 * XF_EPROTO when the frame must not come now or is malformed; XF_EBUILD; XF_ELIMIT; XF_ENOMEM. */
int inbox_put(inbox *inbox, const frame *frame, message_take take, void *arg, inbox_log *log);

/* Takes the oldest message out; NULL when there is none. */
message *inbox_get(inbox *inbox);

#endif
