#include "protocol/inbox.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

const void *parcel_data(const parcel *parcel)
{
    return parcel->segment.address ? parcel->segment.address : parcel->bytes;
}

parcel *parcel_make(size_t size)
{
    parcel *parcel = size < SIZE_MAX / 2 ? malloc(sizeof *parcel + size) : NULL;

    if (parcel) {
        parcel->next = NULL;
        parcel->segment = OS_SHM_NONE;
        parcel->size = size;
    }
    return parcel;
}

void parcel_free(parcel *parcel)
{
    if (parcel)
        os_shm_close(&parcel->segment);
    free(parcel);
}

void inbox_open(inbox *inbox, uint64_t message_limit)
{
    memset(inbox, 0, sizeof *inbox);
    os_self_build(inbox->build);
    inbox->message_limit = message_limit;
}

void inbox_close(inbox *inbox)
{
    parcel *message;

    while ((message = inbox_get(inbox)))
        parcel_free(message);
    parcel_free(inbox->result);
    free(inbox->failure);
    memset(inbox, 0, sizeof *inbox);
}

/* Empty messages take memory too. */
static uint64_t message_cost(const parcel *message)
{
    return sizeof *message + message->size;
}

parcel *inbox_get(inbox *inbox)
{
    parcel *message = inbox->first;

    if (!message)
        return NULL;
    inbox->first = message->next;
    if (!inbox->first)
        inbox->last = NULL;
    inbox->kept -= message_cost(message);
    return message;
}

/* The bytes of a frame, or its segment, in a parcel. */
static int wrap(const wire_frame *frame, inbox_take take, void *arg, parcel **out)
{
    size_t inside = frame->attached ? 0 : frame->size;
    parcel *parcel;
    int rc;

    if (frame->attached > SIZE_MAX / 2 || (frame->attached && frame->size))
        return error_detail(XF_EPROTO, "a segment of %llu bytes with %zu more beside it",
                            (unsigned long long)frame->attached, frame->size);
    parcel = parcel_make(inside);
    if (!parcel)
        return error_detail(XF_ENOMEM, "%zu bytes from a child", inside);
    if (frame->attached)
        parcel->size = (size_t)frame->attached;
    if (frame->attached) {
        rc = take(arg, frame->token, parcel->size, &parcel->segment);
        if (rc < 0) {
            free(parcel);
            return rc;
        }
        os_shm_forget(&parcel->segment);
    } else if (inside > 0) {
        memcpy(parcel->bytes, frame->payload, inside);
    }
    *out = parcel;
    return 0;
}

static int put_hello(inbox *inbox, const wire_frame *frame)
{
    wire_reader reader = wire_read(frame);
    uint8_t build[OS_BUILD_ID_SIZE];
    uint32_t version = wire_get_u32(&reader);

    wire_get(&reader, build, sizeof build);
    inbox->table_hash = wire_get_u64(&reader);
    inbox->pid = (int64_t)wire_get_u64(&reader);
    if (reader.bad || reader.left)
        return error_detail(XF_EPROTO, "a greeting of %zu bytes", frame->size);
    if (version != WIRE_VERSION || memcmp(build, inbox->build, sizeof build) != 0)
        return error_detail(XF_EBUILD, "the child is another build of the program");
    inbox->hello = true;
    return 0;
}

/* Lines are not kept here: the last ones are in the box. */
static int put_log(const wire_frame *frame, inbox_log *log)
{
    wire_reader reader = wire_read(frame);
    uint32_t level = wire_get_u32(&reader);

    log->time = wire_to_double(wire_get_u64(&reader));
    log->item = wire_get_u64(&reader);
    wire_get_text(&reader, log->task, sizeof log->task);
    if (reader.bad || reader.left > XF_LOG_LINE_MAX || level > INT32_MAX)
        return error_detail(XF_EPROTO, "a log line of %zu bytes", frame->size);
    log->level = (xf_log_level)level;
    memcpy(log->text, reader.at, reader.left);
    log->text[reader.left] = 0;
    return 0;
}

static int put_message(inbox *inbox, const wire_frame *frame, inbox_take take, void *arg)
{
    uint64_t size = frame->attached ? frame->attached : frame->size;
    parcel *message;
    int rc;

    if (size > UINT64_MAX - sizeof *message || size + sizeof *message > inbox->message_limit - inbox->kept)
        return error_detail(XF_ELIMIT, "messages of more than %llu bytes that nobody received",
                            (unsigned long long)inbox->message_limit);
    rc = wrap(frame, take, arg, &message);
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

static int put_result(inbox *inbox, const wire_frame *frame, inbox_take take, void *arg)
{
    return inbox->result ? error_detail(XF_EPROTO, "a second result") : wrap(frame, take, arg, &inbox->result);
}

/* Copied, as the child could change a segment. */
static int put_failure(inbox *inbox, const wire_frame *frame, inbox_take take, void *arg)
{
    parcel *parcel = NULL;
    int rc = inbox->failure ? error_detail(XF_EPROTO, "a second reason for failing") : wrap(frame, take, arg, &parcel);

    if (rc < 0)
        return rc;
    inbox->failure = malloc(parcel->size + 1);
    if (inbox->failure) {
        memcpy(inbox->failure, parcel_data(parcel), parcel->size);
        inbox->failure[parcel->size] = 0;
    } else {
        rc = error_detail(XF_ENOMEM, "a message of %zu bytes", parcel->size);
    }
    parcel_free(parcel);
    return rc;
}

static int put_bye(inbox *inbox, const wire_frame *frame)
{
    wire_reader reader = wire_read(frame);
    uint32_t outcome = wire_get_u32(&reader);

    inbox->code = (int)wire_get_u32(&reader);
    if (reader.bad || reader.left || outcome < WIRE_DONE || outcome > WIRE_UNSTARTED ||
        (outcome == WIRE_DONE) != (inbox->result != NULL))
        return error_detail(XF_EPROTO, "a goodbye that says %u", (unsigned)outcome);
    inbox->outcome = (wire_outcome)outcome;
    inbox->bye = true;
    return 0;
}

int inbox_put(inbox *inbox, const wire_frame *frame, inbox_take take, void *arg, inbox_log *log)
{
    bool carries = frame->type == WIRE_MESSAGE || frame->type == WIRE_RESULT || frame->type == WIRE_FAIL ||
                   frame->type == WIRE_OFFER;

    if (inbox->bye)
        return error_detail(XF_EPROTO, "a frame after the goodbye");
    if (inbox->hello == (frame->type == WIRE_HELLO))
        return error_detail(XF_EPROTO, inbox->hello ? "a second greeting" : "a frame before the greeting");
    if (frame->attached && !carries)
        return error_detail(XF_EPROTO, "a segment with a frame of type %d", (int)frame->type);
    switch (frame->type) {
    case WIRE_HELLO:
        return put_hello(inbox, frame);
    case WIRE_LOG:
        return put_log(frame, log);
    case WIRE_MESSAGE:
        return put_message(inbox, frame, take, arg);
    case WIRE_PROGRESS:
        inbox->progress = true;
        return 0;
    case WIRE_RESULT:
        return put_result(inbox, frame, take, arg);
    case WIRE_FAIL:
        return put_failure(inbox, frame, take, arg);
    case WIRE_BYE:
        return put_bye(inbox, frame);
    case WIRE_ASK:
    case WIRE_OFFER:
    case WIRE_DROP:
        return 0; /* that is for object.c */
    default:
        return error_detail(XF_EPROTO, "a frame of type %d from a child", (int)frame->type);
    }
}
