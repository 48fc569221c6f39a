#include "protocol/line_splitter.h"

#include "base/error.h"
#include "crossfork/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void line_splitter_make_mark(char mark[LINE_SPLITTER_MARK + 1], uint64_t nonce, uint64_t number)
{
    snprintf(mark, LINE_SPLITTER_MARK + 1, "\x1e%016" PRIx64 "%016" PRIx64 "\x1e", nonce, number);
}

int line_splitter_open(line_splitter *splitter, uint64_t nonce)
{
    *splitter = (line_splitter){.bytes = malloc(LINE_SPLITTER_BUFFER), .nonce = nonce};
    return splitter->bytes ? 0 : error_detail(XF_ENOMEM, "the buffer for the lines of a child");
}

void line_splitter_close(line_splitter *splitter)
{
    free(splitter->bytes);
    splitter->bytes = NULL;
}

/* There is always room, because line_splitter_next leaves no full buffer. */
char *line_splitter_space(line_splitter *splitter, size_t *room)
{
    memmove(splitter->bytes, splitter->bytes + splitter->begin, splitter->end - splitter->begin);
    splitter->end -= splitter->begin;
    splitter->begin = 0;
    *room = LINE_SPLITTER_BUFFER - splitter->end;
    return splitter->bytes + splitter->end;
}

void line_splitter_filled(line_splitter *splitter, size_t count)
{
    splitter->end += count;
}

/* The bytes at a \x1e: text, a mark, or the beginning of a mark. */
typedef enum mark_state { MARK_NONE, MARK_WHOLE, MARK_PART } mark_state;

static mark_state parse_mark(const line_splitter *splitter, size_t at, uint64_t *number)
{
    char expected[LINE_SPLITTER_MARK + 1], digits[17] = "", *end;
    size_t left = splitter->end - at, prefix = LINE_SPLITTER_MARK - 17;

    line_splitter_make_mark(expected, splitter->nonce, 0);
    if (memcmp(splitter->bytes + at, expected, left < prefix ? left : prefix) != 0)
        return MARK_NONE;
    if (left < LINE_SPLITTER_MARK)
        return MARK_PART;
    memcpy(digits, splitter->bytes + at + prefix, 16);
    *number = strtoull(digits, &end, 16);
    return *end == 0 && splitter->bytes[at + LINE_SPLITTER_MARK - 1] == '\x1e' ? MARK_WHOLE : MARK_NONE;
}

/* Cuts off size bytes of text, and the line end behind them. */
static bool cut_piece(line_splitter *splitter, size_t size, size_t end_size, line_splitter_piece *piece)
{
    const char *text = splitter->bytes + splitter->begin;

    *piece = (line_splitter_piece){text, size, size + end_size};
    if (size > 0 && end_size == 1 && text[size - 1] == '\r')
        piece->size--;
    splitter->begin += size + end_size;
    return true;
}

/* Returns whether the splitter may pass the mark that it has reached. */
static bool may_pass_mark(line_splitter *splitter, uint64_t number, bool all)
{
    if (number > splitter->seen)
        splitter->seen = number;
    return all || number <= splitter->passed || splitter->end - splitter->begin == LINE_SPLITTER_BUFFER;
}

bool line_splitter_next(line_splitter *splitter, bool all, line_splitter_piece *piece)
{
    uint64_t number;
    size_t at = splitter->begin;

    for (; at < splitter->end && at - splitter->begin < XF_LOG_LINE_MAX; at++) {
        char byte = splitter->bytes[at];
        mark_state found = byte == '\x1e' ? parse_mark(splitter, at, &number) : MARK_NONE;
        size_t size = at - splitter->begin;
        if (byte == '\n')
            return cut_piece(splitter, size, 1, piece);
        if (found == MARK_PART && !all)
            return false;
        if (found != MARK_WHOLE)
            continue;
        if (size > 0)
            return cut_piece(splitter, size, 0, piece); /* the next call begins at the mark */
        if (!may_pass_mark(splitter, number, all))
            return false;
        splitter->begin += LINE_SPLITTER_MARK;
        at = splitter->begin - 1;
    }
    return at > splitter->begin && (all || at - splitter->begin == XF_LOG_LINE_MAX)
               ? cut_piece(splitter, at - splitter->begin, 0, piece)
               : false;
}
