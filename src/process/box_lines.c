#include "process/box_lines.h"

#include "base/copy_once.h"

#include <stdlib.h>
#include <string.h>

static xf_log_line copy_box_line(const black_box_line *from, int64_t pid, line_text *to)
{
    black_box_line line;

    copy_once(&line, from, sizeof line);
    memcpy(to->task, line.task, sizeof line.task); /* a 0 more is behind each */
    memcpy(to->text, line.text, line.size < sizeof line.text ? line.size : sizeof line.text);
    return (xf_log_line){.time = line.time,
                         .level = (xf_log_level)(line.level & INT32_MAX),
                         .text = to->text,
                         .pid = pid,
                         .task = to->task,
                         .item = line.item};
}

size_t box_lines_copy(const black_box *box, int64_t pid, xf_log_line *lines, line_text **texts, uint64_t *total)
{
    uint64_t written = atomic_load_explicit(&box->line_count, memory_order_acquire);
    uint64_t before = atomic_load_explicit(&box->item_lines, memory_order_relaxed);
    uint64_t new_lines = before <= written ? written - before : written;
    size_t count = new_lines < XF_REPORT_LOG_LINES ? (size_t)new_lines : XF_REPORT_LOG_LINES;

    *total = new_lines;
    *texts = count > 0 ? calloc(count, sizeof **texts) : NULL;
    if (!*texts)
        return 0;
    for (size_t i = 0; i < count; i++)
        lines[i] = copy_box_line(&box->lines[(written - count + i) % (XF_REPORT_LOG_LINES + 1)], pid, &(*texts)[i]);
    return count;
}
