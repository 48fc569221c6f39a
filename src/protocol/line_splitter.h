/* What a child prints, cut into lines, in order with what it logs.
 *
 * Two pipes and a channel have no common order.  So a child whose streams are XF_STDIO_LOG writes a mark into each of
 * them before each log frame, and the parent passes a mark when it has delivered that frame, and not before.  A mark
 * that never comes is not waited for, and one that is never passed holds back one buffer at most. */
#ifndef LINES_H
#define LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* \x1e, the nonce and the frame's number in hexadecimal, \x1e. */
enum { LINES_MARK = 34, LINES_BUFFER = 65536 };

void lines_make_mark(char mark[LINES_MARK + 1], uint64_t nonce, uint64_t number);

typedef struct lines {
    char *bytes; /* NULL: this stream is not cut into lines */
    size_t begin, end;
    uint64_t nonce;
    uint64_t passed; /* the frame that was delivered last, counted from 1 */
    uint64_t seen;   /* the mark that was seen last */
} lines;

/* XF_ENOMEM. */
int lines_open(lines *lines, uint64_t nonce);
void lines_close(lines *lines);

/* Where to put further bytes; always at least one. */
char *lines_space(lines *lines, size_t *room);
void lines_filled(lines *lines, size_t count);

/* A line, or a part of one: its text, and the bytes that it was made of. */
typedef struct lines_piece {
    const char *text;
    size_t size; /* of the text, which has no line end */
    size_t raw_size;
} lines_piece;

/* Cuts off the next line; valid until lines_space.
 *   all  What is there goes, whole lines or not, past any mark.
 * False when nothing can be had now. */
bool lines_next(lines *lines, bool all, lines_piece *piece);

#endif
