#include "protocol/line_splitter.h"

#include "base/error.h"
#include "crossfork/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lines_make_mark(char mark[LINES_MARK + 1], uint64_t nonce, uint64_t number)
{
    snprintf(mark, LINES_MARK + 1, "\x1e%016" PRIx64 "%016" PRIx64 "\x1e", nonce, number);
}

int lines_open(lines *lines, uint64_t nonce)
{
    *lines = (struct lines){.bytes = malloc(LINES_BUFFER), .nonce = nonce};
    return lines->bytes ? 0 : error_detail(XF_ENOMEM, "the lines that a child prints");
}

void lines_close(lines *lines)
{
    free(lines->bytes);
    lines->bytes = NULL;
}

/* Room is made by lines_next, which leaves no full buffer. */
char *lines_space(lines *lines, size_t *room)
{
    memmove(lines->bytes, lines->bytes + lines->begin, lines->end - lines->begin);
    lines->end -= lines->begin;
    lines->begin = 0;
    *room = LINES_BUFFER - lines->end;
    return lines->bytes + lines->end;
}

void lines_filled(lines *lines, size_t count)
{
    lines->end += count;
}

typedef enum what { PLAIN, MARK, MARK_BEGUN } what;

/* What is at a \x1e. */
static what look_at(const lines *lines, size_t at, uint64_t *number)
{
    char expected[LINES_MARK + 1], digits[17] = "", *end;
    size_t left = lines->end - at, prefix = LINES_MARK - 17;

    lines_make_mark(expected, lines->nonce, 0);
    if (memcmp(lines->bytes + at, expected, left < prefix ? left : prefix) != 0)
        return PLAIN;
    if (left < LINES_MARK)
        return MARK_BEGUN;
    memcpy(digits, lines->bytes + at + prefix, 16);
    *number = strtoull(digits, &end, 16);
    return *end == 0 && lines->bytes[at + LINES_MARK - 1] == '\x1e' ? MARK : PLAIN;
}

/* Cuts off size bytes of text, and the line end that follows. */
static bool cut(lines *lines, size_t size, size_t end_size, lines_piece *piece)
{
    const char *text = lines->bytes + lines->begin;

    *piece = (lines_piece){text, size, size + end_size};
    if (size > 0 && end_size == 1 && text[size - 1] == '\r')
        piece->size--;
    lines->begin += size + end_size;
    return true;
}

/* At a mark: true when it may be passed. */
static bool may_pass(lines *lines, uint64_t number, bool all)
{
    if (number > lines->seen)
        lines->seen = number;
    return all || number <= lines->passed || lines->end - lines->begin == LINES_BUFFER;
}

bool lines_next(lines *lines, bool all, lines_piece *piece)
{
    uint64_t number;
    size_t at = lines->begin;

    for (; at < lines->end && at - lines->begin < XF_LOG_LINE_MAX; at++) {
        char byte = lines->bytes[at];
        what found = byte == '\x1e' ? look_at(lines, at, &number) : PLAIN;
        size_t size = at - lines->begin;
        if (byte == '\n')
            return cut(lines, size, 1, piece);
        if (found == MARK_BEGUN && !all)
            return false;
        if (found != MARK)
            continue;
        if (size > 0)
            return cut(lines, size, 0, piece); /* the mark stays, and ends no line the next time */
        if (!may_pass(lines, number, all))
            return false;
        lines->begin += LINES_MARK;
        at = lines->begin - 1;
    }
    return at > lines->begin && (all || at - lines->begin == XF_LOG_LINE_MAX) ? cut(lines, at - lines->begin, 0, piece)
                                                                              : false;
}
