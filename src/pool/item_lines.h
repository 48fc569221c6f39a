/* The lines that an item had logged when it failed, as its worker has noted them. */
#ifndef ITEM_LINES_H
#define ITEM_LINES_H

#include "crossfork/report.h"
#include "pool/job.h"

typedef struct item_lines {
    xf_log_line lines[XF_REPORT_LOG_LINES];
    size_t count;
    char *texts; /* freed by the caller with free; NULL: none */
} item_lines;

/* Copies the lines of a record.  The record and its details were copied before.
 *   shared  Where they are: details->lines_size bytes, which any worker can write to, even now.
 *   task    The name that each line gets. */
void item_lines_copy(item_lines *lines, const failure_record *record, const failure_details *details,
                     const char *shared, const char *task);

#endif
