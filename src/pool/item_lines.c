#include "pool/item_lines.h"

#include "base/copy_once.h"

#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = XF_REPORT_LOG_LINES * (XF_REPORT_LOG_BYTES + 64) };

/* Cuts the first line off a copy of the lines, and puts a 0 behind its text.  Returns its size; 0: there is none. */
static uint64_t cut_line(char *from, uint64_t left, xf_log_line *line)
{
    failure_line head;
    uint64_t size;

    if (left < sizeof head)
        return 0;
    memcpy(&head, from, sizeof head);
    size = sizeof head + job_words(head.size);
    if (head.size > XF_REPORT_LOG_BYTES || size > left)
        return 0;
    memmove(from, from + sizeof head, head.size);
    from[head.size] = 0;
    *line = (xf_log_line){.time = head.time, .level = (xf_log_level)(head.level & INT32_MAX), .text = from};
    return size;
}

void item_lines_copy(item_lines *lines, const failure_record *record, const failure_details *details,
                     const char *shared, const char *task)
{
    uint64_t size = details->lines_size, used;

    *lines = (item_lines){.count = 0};
    if (size == 0 || size > LINES_MAX || !(lines->texts = malloc((size_t)size)))
        return;
    copy_once(lines->texts, shared, (size_t)size);
    for (uint64_t at = 0; lines->count < XF_REPORT_LOG_LINES; at += used) {
        xf_log_line *line = &lines->lines[lines->count];
        used = cut_line(lines->texts + at, size - at, line);
        if (used == 0)
            return;
        line->pid = details->pid;
        line->task = task;
        line->item = record->item;
        lines->count++;
    }
}
