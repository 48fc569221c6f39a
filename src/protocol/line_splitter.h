/* The output of a child, cut into lines, in order with the lines that it logs.
 *
 * Two pipes and a channel have no common order.  So a child whose streams are XF_STDIO_LOG writes a mark into each of
 * them before each log frame, and the parent passes a mark only after it has delivered that frame.  The parent does not
 * wait for a mark that never comes, and a mark that it never passes holds back at most one buffer. */
#ifndef LINE_SPLITTER_H
#define LINE_SPLITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A mark is \x1e, the nonce and the number of the frame in hexadecimal, \x1e. */
enum { LINE_SPLITTER_MARK = 34, LINE_SPLITTER_BUFFER = 65536 };

void line_splitter_make_mark(char mark[LINE_SPLITTER_MARK + 1], uint64_t nonce, uint64_t number);

typedef struct line_splitter {
    char *bytes; /* NULL: this stream is not cut into lines */
    size_t begin, end;
    uint64_t nonce;
    uint64_t passed; /* the frame that was delivered last, counted from 1 */
    uint64_t seen;   /* the mark that was seen last */
} line_splitter;

/* Opens a splitter for a stream.  XF_ENOMEM. */
int line_splitter_open(line_splitter *splitter, uint64_t nonce);
void line_splitter_close(line_splitter *splitter);

/* Returns where the caller puts further bytes, at least one. */
char *line_splitter_space(line_splitter *splitter, size_t *room);
void line_splitter_filled(line_splitter *splitter, size_t count);

/* A line, or a part of one, and the number of bytes that it was made of. */
typedef struct line_splitter_piece {
    const char *text;
    size_t size; /* of the text, which has no line end */
    size_t raw_size;
} line_splitter_piece;

/* Cuts off the next line, which is valid until line_splitter_space.
 *   all  Cuts off whatever is there, also an incomplete line, and passes all marks.
 * Returns false when there is none now. */
bool line_splitter_next(line_splitter *splitter, bool all, line_splitter_piece *piece);

#endif
