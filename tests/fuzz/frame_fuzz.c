/* Goal: for any bytes that a child sends, however they are cut, its parent does not crash and stays within its limits.
 *
 * An input begins with three bytes: the limit of messages in units of 16 bytes, a mask of takes that fail, and a mask
 * of messages that are fetched.  Pieces follow: a length, a number of repetitions, and so many bytes.  The decoder gets
 * these bytes at once, and again for each repetition. */
#include "protocol/frame.h"
#include "protocol/inbox.h"

#include <stdlib.h>
#include <string.h>

enum { SEGMENT_MAX = 4096, SENT_MAX = 1 << 20 };

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- In place of the seam: segments on the heap, where a sanitizer knows their bounds -------- */

static long segments;

void os_self_build(uint8_t build[OS_BUILD_ID_SIZE])
{
    memcpy(build, "0123456789abcdefghij", OS_BUILD_ID_SIZE);
}

void os_shm_forget(os_shm *shm)
{
    shm->handle = -1;
}

void os_shm_close(os_shm *shm)
{
    segments -= shm->address != NULL;
    free(shm->address);
    *shm = OS_SHM_NONE;
}

/* ---- The parent ------------------------------------------------------------------------------ */

typedef struct parent {
    frame_decoder decoder;
    inbox inbox;
    inbox_log log;
    unsigned takes_that_fail; /* a bit for each of eight takes, and so on in turn */
    unsigned fetches;
    unsigned takes, frames;
    size_t sent;
} parent;

static int take(void *arg, uint64_t token, size_t size, os_shm *shm)
{
    parent *self = arg;

    if (self->takes_that_fail >> (self->takes++ % 8) & 1)
        return XF_ENOMEM;
    if (size == 0 || size > SEGMENT_MAX)
        return XF_EPROTO;
    *shm = (os_shm){malloc(size), size, 1, 0};
    CHECK(shm->address);
    memset(shm->address, (int)token, size);
    segments++;
    return 0;
}

/* Reads all bytes, so that a sanitizer can check each of them. */
static unsigned sum(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    unsigned total = 0;

    for (size_t i = 0; i < size; i++)
        total += bytes[i];
    return total;
}

static void look_at_parcel(const message *parcel)
{
    if (parcel)
        CHECK(sum(message_data(parcel), parcel->size) <= 255 * (unsigned)parcel->size);
}

static void check_inbox(const inbox *inbox)
{
    uint64_t kept = 0;
    const message *last = NULL;

    for (const message *message = inbox->first; message; message = message->next) {
        CHECK(message->size <= inbox->message_limit);
        kept += message->size;
        look_at_parcel(message);
        last = message;
    }
    CHECK(last == inbox->last);
    CHECK(inbox->kept >= kept && inbox->kept <= inbox->message_limit);
    look_at_parcel(inbox->result);
    CHECK(!inbox->failure || strlen(inbox->failure) <= SENT_MAX);
    CHECK(!inbox->bye || (inbox->hello && (inbox->outcome == FRAME_OUTCOME_DONE) == (inbox->result != NULL)));
}

/* Reads a task frame as a child does, here from a hostile parent. */
static void read_as_task(const frame *frame)
{
    char name[XF_TASK_NAME_MAX + 1];
    uint8_t build[OS_BUILD_ID_SIZE];
    frame_reader reader = frame_read(frame);

    (void)frame_get_u32(&reader);
    frame_get(&reader, build, sizeof build);
    (void)frame_get_u32(&reader);
    for (int i = 0; i < 3; i++)
        (void)frame_get_u64(&reader);
    frame_get_text(&reader, name, sizeof name);
    CHECK(strlen(name) <= XF_TASK_NAME_MAX);
    CHECK(reader.left <= frame->size);
    CHECK(sum(reader.at, reader.left) <= 255 * (unsigned)reader.left);
}

/* Takes all complete frames; false when the child has to be ended. */
static bool take_frames(parent *self)
{
    frame frame;
    bool had_ended;
    int rc;

    while ((rc = frame_decoder_next(&self->decoder, &frame)) == 0) {
        CHECK(frame.size <= FRAME_PAYLOAD_MAX && frame.type >= FRAME_TASK && frame.type < FRAME_TYPES);
        CHECK(sum(frame.payload, frame.size) <= 255 * (unsigned)frame.size);
        read_as_task(&frame);
        had_ended = self->inbox.bye;
        rc = inbox_put(&self->inbox, &frame, take, self, &self->log);
        check_inbox(&self->inbox);
        if (rc < 0)
            return false;
        CHECK(self->inbox.hello && !had_ended);
        CHECK(!frame.attached || !frame.size ||
              frame.type == FRAME_OFFER); /* of an object: its segment and its reference */
        if (frame.type == FRAME_LOG)
            CHECK(strlen(self->log.text) <= XF_LOG_LINE_MAX && strlen(self->log.task) <= XF_TASK_NAME_MAX);
        if (self->fetches >> (self->frames++ % 8) & 1)
            message_free(inbox_get(&self->inbox));
    }
    if (rc == XF_EAGAIN)
        return true;
    CHECK(rc == XF_EPROTO && frame_decoder_next(&self->decoder, &frame) == XF_EPROTO);
    return false;
}

/* Sends as many bytes as there is room for; false when the child has to be ended. */
static bool send_piece(parent *self, const uint8_t *bytes, size_t size)
{
    bool goes_on = true;

    self->sent += size;
    while (size > 0 && goes_on) {
        size_t room, count;
        uint8_t *space = frame_decoder_space(&self->decoder, &room);
        CHECK(room > 0);
        count = size < room ? size : room;
        memcpy(space, bytes, count);
        frame_decoder_filled(&self->decoder, count);
        bytes += count;
        size -= count;
        goes_on = take_frames(self);
    }
    return goes_on;
}

static void send_pieces(parent *self, const uint8_t *data, size_t size)
{
    bool goes_on = true;

    while (size > 2 && goes_on) {
        size_t length = data[0], times = (size_t)data[1] + 1;
        data += 2;
        size -= 2;
        if (length > size)
            length = size;
        while (times-- > 0 && goes_on && self->sent < SENT_MAX)
            goes_on = send_piece(self, data, length);
        data += length;
        size -= length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static parent self;

    if (size < 3)
        return 0;
    self = (parent){.takes_that_fail = data[1], .fetches = data[2]};
    CHECK(frame_decoder_open(&self.decoder) == 0);
    inbox_open(&self.inbox, data[0] * 16U);
    send_pieces(&self, data + 3, size - 3);
    inbox_close(&self.inbox);
    frame_decoder_close(&self.decoder);
    CHECK(segments == 0);
    return 0;
}
