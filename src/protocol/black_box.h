/* The black box: memory that a parent shares with one child, and that outlives the child however it ends. */
#ifndef BLACK_BOX_H
#define BLACK_BOX_H

#include "crossfork/report.h"
#include "os/crash.h"

enum { BLACK_BOX_LAST_FRAMES = 3840, BLACK_BOX_TASK = 64 };

/* A line that the child logged. */
typedef struct black_box_line {
    double time;
    uint64_t item;
    uint32_t level;
    uint32_t size; /* of the text, which is cut to the size of its array */
    char task[BLACK_BOX_TASK];
    char text[XF_REPORT_LOG_BYTES];
} black_box_line;

typedef struct black_box {
    os_status status;                  /* the seam's; must come first */
    _Atomic uint32_t stop;             /* set by the parent to ask the task to stop */
    _Atomic uint32_t wake;             /* the parent changes it, and then wakes the child if it sleeps on it */
    _Atomic uint32_t phase;            /* set by the child: an xf_phase */
    _Atomic uint32_t last_frames_size; /* set by the child after everything else: the used bytes of last_frames */
    uint32_t log_wanted;               /* set by the parent: the child sends it the lines that it logs */
    int32_t log_rate;                  /* set by the parent: the most lines that are sent in a second; 0: no limit */
    uint32_t marked; /* set by the parent: bits 1 and 2 say that standard output and error are cut into lines */
    _Atomic uint64_t heartbeat;   /* the uv_hrtime at which the task last called crossfork */
    _Atomic uint64_t done, total; /* of xf_progress */
    _Atomic uint64_t item_lines;  /* of a pool's worker: how many lines there were when it began its item, or chunk */
    _Atomic uint64_t line_count;  /* lines that were logged; the last of them are in lines */
    uint8_t last_frames[BLACK_BOX_LAST_FRAMES]; /* frames that the child would have written last: see child.c */
    /* A child that logs nothing and does not crash never writes to the rest. */
    _Alignas(OS_PAGE) black_box_line lines[XF_REPORT_LOG_LINES + 1]; /* circular; one of them may be half written */
    _Alignas(OS_PAGE) uint8_t record[OS_RECORD_SIZE];                /* an os_record */
    char dumps[1024]; /* path of this child's own directory, where it may leave a core file */
} black_box;

_Static_assert(offsetof(black_box, lines) == OS_PAGE, "every child writes to one page of it only");

static inline os_record_head *black_box_record(black_box *box)
{
    return (os_record_head *)(void *)box->record;
}

/* Makes the box of a new child.  Each child has one of its own: a process that has had a child's box may outlive the
 * child and write to it again: a descendant in a session of its own, or any to which the child passed it. */
static inline int black_box_create(os_shm *box, os_method method)
{
    return os_shm_create(box, sizeof(black_box),
                         OS_SHM_WAITABLE | OS_SHM_PRIVATE | (method == OS_FORK ? OS_SHM_FORKED : 0));
}

#endif
