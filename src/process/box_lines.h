/* The last lines that a child has logged, out of its black box. */
#ifndef BOX_LINES_H
#define BOX_LINES_H

#include "protocol/black_box.h"

/* The texts that a log line of a report points to. */
typedef struct line_text {
    char task[BLACK_BOX_TASK + 1];
    char text[XF_REPORT_LOG_BYTES + 1];
} line_text;

/* Copies the last lines, oldest first.  The child wrote them, and may still do so: they are not trusted.
 *   lines  XF_REPORT_LOG_LINES of them.
 *   texts  Set to what they point to, which the caller frees; NULL: there are none, or no memory.
 *   total  Set to how many lines there were, of a pool's worker since it began its item.
 * Returns how many it has copied. */
size_t box_lines_copy(const black_box *box, int64_t pid, xf_log_line *lines, line_text **texts, uint64_t *total);

#endif
