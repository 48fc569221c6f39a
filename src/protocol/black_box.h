/* The black box: memory that a parent shares with one child, and that outlives it, however it ends. */
#ifndef BOX_H
#define BOX_H

#include "crossfork/report.h"
#include "os/crash.h"

enum { BOX_FAREWELL = 3840, BOX_TASK = 64 };

/* A line that the child logged. */
typedef struct box_line {
    double time;
    uint64_t item;
    uint32_t level;
    uint32_t size; /* of the text, cut to what is kept */
    char task[BOX_TASK];
    char text[XF_REPORT_LOG_BYTES];
} box_line;

typedef struct box {
    os_status status;               /* the seam's; must come first */
    _Atomic uint32_t stop;          /* set by the parent: the task is asked to stop */
    _Atomic uint32_t wake;          /* changed by the parent before it rings the box's bell */
    _Atomic uint32_t phase;         /* set by the child: an xf_phase */
    _Atomic uint32_t farewell_size; /* set by the child, last of all: how much of the farewell there is */
    uint32_t log_wanted;            /* set by the parent: lines go to it, too */
    int32_t log_rate;               /* and so many a second at most; 0: all */
    uint32_t marked;            /* set by the parent: 1 << 1, 1 << 2: that stream is cut into lines (line_splitter.h) */
    _Atomic uint64_t heartbeat; /* of uv_hrtime, when the task last called */
    _Atomic uint64_t done, total;   /* of xf_progress */
    _Atomic uint64_t line_count;    /* that were logged; the last of them are in lines */
    uint8_t farewell[BOX_FAREWELL]; /* the frames that a child would have written last: see child.c */
    /* What a child that logs nothing and does not crash never writes to. */
    _Alignas(OS_PAGE) box_line lines[XF_REPORT_LOG_LINES + 1]; /* a ring; one of them may be half written */
    _Alignas(OS_PAGE) uint8_t record[OS_RECORD_SIZE];          /* an os_record */
    char dumps[1024]; /* path of a directory of this child's own, where it may leave a core file */
} box;

_Static_assert(offsetof(box, lines) == OS_PAGE, "what every child writes to is one page");

static inline os_record_head *box_record(box *box)
{
    return (os_record_head *)(void *)box->record;
}

#endif
