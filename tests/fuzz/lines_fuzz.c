/* Goal: for any bytes that a child prints, however they are cut, each of them is delivered once and in order, in
 * lines that are no longer than they may be, and only the newest are kept.
 *
 * The first two bytes are the limit of what is kept. Then come pieces: length, and so many bytes; a length of 255 is
 * a mark of the frame whose number follows. */
#include "crossfork/task.h"
#include "fuzz.h"
#include "protocol/line_splitter.h"
#include "protocol/tail_buffer.h"

enum { SENT_MAX = 1 << 17, NONCE = 0x1234 };

/* What was sent and delivered, without the marks. */
typedef struct stream {
    line_splitter lines;
    tail_buffer kept;
    size_t delivered, sent;
    uint8_t all[SENT_MAX];
} stream;

static void deliver(stream *self, bool all)
{
    line_splitter_piece piece;
    const char *kept;
    size_t size;

    while (line_splitter_next(&self->lines, all, &piece)) {
        CHECK(piece.size <= piece.raw_size && piece.raw_size <= piece.size + 2 && piece.size <= XF_LOG_LINE_MAX);
        CHECK(piece.raw_size > 0 && self->delivered + piece.raw_size <= self->sent);
        CHECK(memcmp(self->all + self->delivered, piece.text, piece.raw_size) == 0);
        self->delivered += piece.raw_size;
        CHECK(tail_buffer_put(&self->kept, piece.text, piece.raw_size) == 0);
        kept = tail_buffer_get(&self->kept, SIZE_MAX, &size);
        CHECK(size == (self->delivered < self->kept.limit ? self->delivered : self->kept.limit));
        CHECK(memcmp(kept, self->all + self->delivered - size, size) == 0 && kept[size] == 0);
    }
}

static void send_bytes(stream *self, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        size_t room, count;
        char *space = line_splitter_space(&self->lines, &room);
        CHECK(room > 0);
        count = size < room ? size : room;
        memcpy(space, bytes, count);
        line_splitter_filled(&self->lines, count);
        bytes += count;
        size -= count;
        deliver(self, false);
    }
}

static void send_text(stream *self, fuzz_input *input, size_t length)
{
    uint8_t bytes[256];

    fuzz_take(input, bytes, length);
    for (size_t i = 0; i < length; i++) /* a mark of the child's own making would not be delivered */
        bytes[i] = bytes[i] == 0x1e ? ' ' : bytes[i];
    memcpy(self->all + self->sent, bytes, length);
    self->sent += length;
    send_bytes(self, bytes, length);
}

static void send_mark(stream *self, fuzz_input *input)
{
    char mark[LINE_SPLITTER_MARK + 1];
    unsigned number = fuzz_number(input, 1);

    line_splitter_make_mark(mark, NONCE, number);
    send_bytes(self, (const uint8_t *)mark, LINE_SPLITTER_MARK);
    if (number & 1)
        self->lines.passed = number;
    deliver(self, false);
}

/* Bytes with anything in them: only bounds are looked at. */
static void send_noise(const uint8_t *data, size_t size)
{
    line_splitter lines;
    line_splitter_piece piece;
    size_t room;

    CHECK(line_splitter_open(&lines, 0) == 0);
    size = size < LINE_SPLITTER_BUFFER ? size : LINE_SPLITTER_BUFFER;
    memcpy(line_splitter_space(&lines, &room), data, size);
    line_splitter_filled(&lines, size);
    for (int all = 0; all < 2; all++)
        while (line_splitter_next(&lines, all, &piece))
            CHECK(fuzz_sum(piece.text, piece.raw_size) <= 255U * (unsigned)piece.raw_size);
    line_splitter_close(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static stream self;
    fuzz_input input = {data, size};

    self.kept = (tail_buffer){.limit = 1 + fuzz_number(&input, 2)};
    self.delivered = self.sent = 0;
    CHECK(line_splitter_open(&self.lines, NONCE) == 0);
    while (input.left > 0 && self.sent + 255 < SENT_MAX) {
        size_t length = fuzz_number(&input, 1);
        if (length == 255)
            send_mark(&self, &input);
        else
            send_text(&self, &input, length);
    }
    deliver(&self, true);
    CHECK(self.delivered == self.sent);
    line_splitter_close(&self.lines);
    tail_buffer_close(&self.kept);
    send_noise(data, size);
    return 0;
}
