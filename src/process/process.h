/* A process: its state, and calls on it that other parts of the library need. */
#ifndef PROCESS_H
#define PROCESS_H

#include "crossfork/process.h"
#include "objects/object_server.h"
#include "os/identity.h"
#include "process/box_lines.h"
#include "process/callback_thread.h"
#include "process/replay_file.h"
#include "process/stack_trace.h"
#include "process/supervisor.h"
#include "protocol/black_box.h"
#include "protocol/inbox.h"
#include "protocol/line_splitter.h"
#include "protocol/tail_buffer.h"

#include <uv.h>

/* A pool owns its workers' processes.  The supervisor's thread calls the first two of these functions, and no other
 * thread waits for such a process. */
typedef struct process_owner {
    void (*progress)(void *arg); /* the child has sent FRAME_PROGRESS */
    void (*ended)(void *arg);    /* the report is complete; ends with process_lead_release */
    void (*released)(void *arg); /* on the supervisor's or the callback thread: the process was freed */
    void *arg;
} process_owner;

typedef struct queued_line queued_line;

/* One thread at a time leads: it alone reads the channel and waits for the child.  See process_lead.h. */
struct xf_process {
    supervised supervised; /* must come first */
    uv_mutex_t lock;       /* of everything below; the leader does not hold it while it waits */
    uv_cond_t changed;     /* no thread leads any more, or something was received */
    bool leading;
    os_child *child;
    os_shm box, input;
    frame_decoder in;
    inbox inbox;
    tail_buffer captured[2];  /* standard output, standard error */
    line_splitter printed[2]; /* the same, for XF_STDIO_LOG */
    uint64_t log_frames;      /* received so far */
    object_child objects;
    const xf_task *task;
    process_owner owner; /* ended NULL: none */
    const char *name;    /* behind the struct */
    xf_log_callback on_log;
    void *on_log_arg;
    callback_source log_calls;
    queued_line *first_queued, *last_queued; /* for on_log */
    size_t queued_size;                      /* of them, in bytes */
    bool in_on_log;
    uint64_t start_deadline; /* of uv_hrtime; CLOCK_NEVER: none */
    uint64_t grace_deadline;
    uint64_t wall_deadline;
    int start_timeout_ms;
    int grace_ms;
    char *dumps;         /* directory; NULL: none are wanted */
    char dump[1024];     /* path of one; "" while there is none */
    uint32_t generation; /* of the process that started it: os_self_generation */
    bool detached;
    bool unwatched; /* it is polled: the system had no room to watch it, or on_log is behind */
    int64_t pid;    /* 0 while it is not known */
    bool exited;    /* the child's process has exited; its channel may not be drained yet */
    bool kill_asked;
    bool start_timed_out;
    bool stop_asked;
    bool timed_out; /* it was asked to stop for limits.wall_ms */
    xf_limits limits;
    int protocol_error; /* why its channel is not read any further; 0: it is */
    char message[512];
    os_end end;
    bool ended; /* drained and judged: the report is complete */
    xf_report report;
    xf_writer replay; /* to be saved if the task fails; data NULL: nothing */
    char *save_to;    /* the directory for that */
    char *saved;      /* the path; NULL: it was not saved */
    char *unsaved;    /* the report's message, with the reason why it was not saved */
    xf_log_line lines[XF_REPORT_LOG_LINES];
    line_text *texts;   /* of those lines; NULL: there are none, or no memory */
    stack_trace *trace; /* NULL: it is not known where it was */
};

/* Returns what xf_process_pid does, but 0 while that would have to wait. */
int64_t process_known_pid(xf_process *process);

/* Whether the child, a pool's worker, has said that it is ready.  What it has said once it cannot take back. */
bool process_is_ready(xf_process *process);

/* Returns the report as xf_process_report does, but without looking for its frames. */
const xf_report *process_report(xf_process *process);

/* Kills the child as one that is too late, and keeps where it was. */
void process_kill_late(xf_process *process);

/* Wakes a child that sleeps on its box's wake word. */
void process_wake(xf_process *process);

#endif
