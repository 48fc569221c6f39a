/* The log of a child: each line goes into the black box, and to the parent when it wants lines. */
#ifndef CHILD_LOG_H
#define CHILD_LOG_H

#include "crossfork/report.h"

#include <uv.h>

struct xf_call;

typedef struct child_log {
    uv_mutex_t lock; /* of everything below, and of the lines in the box */
    uint64_t second; /* of uv_hrtime, that the counts are about */
    uint32_t sent;
    uint32_t dropped;
    uint64_t frames;
} child_log;

/* Needs no memory. */
void child_log_open(child_log *log);

/* Keeps a line, whose text has size bytes, and sends it to the parent unless the parent wants no more in this second.
 * Once this returns the line is not lost, however the process ends.  XF_EEND when the parent has exited.
 * Threads: any. */
int child_log_put(struct xf_call *call, const xf_log_line *line, size_t size);

/* Reports to the parent how many lines were left out since the last such report. */
void child_log_close(struct xf_call *call);

#endif
