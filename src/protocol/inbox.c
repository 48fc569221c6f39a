#include "protocol/inbox.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

void inbox_open(inbox *inbox, uint64_t message_limit)
{
    memset(inbox, 0, sizeof *inbox);
    os_self_build(inbox->build);
    inbox->message_limit = message_limit;
}

void inbox_close(inbox *inbox)
{
    message *message;

    while ((message = inbox_get(inbox)))
        message_free(message);
    message_free(inbox->result);
    free(inbox->failure);
    memset(inbox, 0, sizeof *inbox);
}

/* Counts the memory of the message itself, too, so that empty messages are limited. */
static uint64_t message_cost(const message *message)
{
    return sizeof *message + message->size;
}

message *inbox_get(inbox *inbox)
{
    message *message = inbox->first;

    if (!message)
        return NULL;
    inbox->first = message->next;
    if (!inbox->first)
        inbox->last = NULL;
    inbox->kept -= message_cost(message);
    return message;
}

static int read_hello(inbox *inbox, const frame *frame)
{
    frame_reader reader = frame_read(frame);
    uint8_t build[OS_BUILD_ID_SIZE];
    uint32_t version = frame_get_u32(&reader);

    frame_get(&reader, build, sizeof build);
    inbox->table_hash = frame_get_u64(&reader);
    inbox->pid = (int64_t)frame_get_u64(&reader);
    if (reader.bad || reader.left)
        return error_detail(XF_EPROTO, "a malformed HELLO frame (%zu bytes)", frame->size);
    if (version != FRAME_VERSION || memcmp(build, inbox->build, sizeof build) != 0)
        return error_detail(XF_EBUILD, "the child runs another build of the program");
    inbox->hello = true;
    return 0;
}

/* The inbox keeps no lines, because the last ones are in the black box. */
static int read_log(const frame *frame, inbox_log *log)
{
    frame_reader reader = frame_read(frame);
    uint32_t level = frame_get_u32(&reader);

    log->time = frame_to_double(frame_get_u64(&reader));
    log->item = frame_get_u64(&reader);
    frame_get_text(&reader, log->task, sizeof log->task);
    if (reader.bad || reader.left > XF_LOG_LINE_MAX || level > INT32_MAX)
        return error_detail(XF_EPROTO, "a malformed LOG frame (%zu bytes)", frame->size);
    log->level = (xf_log_level)level;
    memcpy(log->text, reader.at, reader.left);
    log->text[reader.left] = 0;
    return 0;
}

static int add_message(inbox *inbox, const frame *frame, message_take take, void *arg)
{
    uint64_t size = frame->attached ? frame->attached : frame->size;
    message *message;
    int rc;

    if (size > UINT64_MAX - sizeof *message || size + sizeof *message > inbox->message_limit - inbox->kept)
        return error_detail(XF_ELIMIT, "unreceived messages of more than %llu bytes",
                            (unsigned long long)inbox->message_limit);
    rc = message_from_frame(&message, frame, take, arg);
    if (rc < 0)
        return rc;
    if (inbox->last)
        inbox->last->next = message;
    else
        inbox->first = message;
    inbox->last = message;
    inbox->kept += message_cost(message);
    return 0;
}

static int keep_result(inbox *inbox, const frame *frame, message_take take, void *arg)
{
    return inbox->result ? error_detail(XF_EPROTO, "a second RESULT frame")
                         : message_from_frame(&inbox->result, frame, take, arg);
}

/* The text is copied, because the child could change it in a segment; and cut, because the segment may be larger than
 * this machine's memory as long as nobody reads it. */
static int keep_failure(inbox *inbox, const frame *frame, message_take take, void *arg)
{
    message *message = NULL;
    size_t size;
    int rc = inbox->failure ? error_detail(XF_EPROTO, "a second FAIL frame")
                            : message_from_frame(&message, frame, take, arg);

    if (rc < 0)
        return rc;
    size = message->size < XF_REPORT_MESSAGE_BYTES ? message->size : XF_REPORT_MESSAGE_BYTES;
    inbox->failure = malloc(size + 1);
    if (inbox->failure) {
        memcpy(inbox->failure, message_data(message), size);
        inbox->failure[size] = 0;
    } else {
        rc = error_detail(XF_ENOMEM, "a failure text of %zu bytes", size);
    }
    message_free(message);
    return rc;
}

static int read_bye(inbox *inbox, const frame *frame)
{
    frame_reader reader = frame_read(frame);
    uint32_t outcome = frame_get_u32(&reader);

    inbox->code = (int)frame_get_u32(&reader);
    if (reader.bad || reader.left || outcome < FRAME_OUTCOME_DONE || outcome > FRAME_OUTCOME_UNSTARTED ||
        (outcome == FRAME_OUTCOME_DONE) != (inbox->result != NULL))
        return error_detail(XF_EPROTO, "a malformed BYE frame (outcome %u)", (unsigned)outcome);
    inbox->outcome = (frame_outcome)outcome;
    inbox->bye = true;
    return 0;
}

int inbox_put(inbox *inbox, const frame *frame, message_take take, void *arg, inbox_log *log)
{
    bool carries = frame->type == FRAME_MESSAGE || frame->type == FRAME_RESULT || frame->type == FRAME_FAIL ||
                   frame->type == FRAME_OFFER;

    if (inbox->bye)
        return error_detail(XF_EPROTO, "a frame after BYE");
    if (inbox->hello == (frame->type == FRAME_HELLO))
        return error_detail(XF_EPROTO, inbox->hello ? "a second HELLO frame" : "a frame before HELLO");
    if (frame->attached && !carries)
        return error_detail(XF_EPROTO, "a segment with a frame of type %d", (int)frame->type);
    switch (frame->type) {
    case FRAME_HELLO:
        return read_hello(inbox, frame);
    case FRAME_LOG:
        return read_log(frame, log);
    case FRAME_MESSAGE:
        return add_message(inbox, frame, take, arg);
    case FRAME_READY:
        inbox->ready = true;
        return 0;
    case FRAME_PROGRESS:
        inbox->progress = true;
        return 0;
    case FRAME_RESULT:
        return keep_result(inbox, frame, take, arg);
    case FRAME_FAIL:
        return keep_failure(inbox, frame, take, arg);
    case FRAME_BYE:
        return read_bye(inbox, frame);
    case FRAME_ASK:
    case FRAME_OFFER:
    case FRAME_DROP:
        return 0; /* object_server.c does what they ask for */
    default:
        return error_detail(XF_EPROTO, "a frame of type %d from a child", (int)frame->type);
    }
}
