/* A process, inside. */
#ifndef PROCESS_H
#define PROCESS_H

#include "crossfork/process.h"
#include "lockfree/wait_target.h"
#include "objects/object.h"
#include "process/replay_file.h"
#include "process/stack_trace.h"
#include "process/supervisor.h"
#include "protocol/black_box.h"
#include "protocol/inbox.h"
#include "protocol/line_splitter.h"
#include "protocol/tail_buffer.h"

#include <uv.h>

/* What a process is a part of, which is told of it on the supervisor's thread.  Nobody else waits for such a process.
 */
typedef struct process_owner {
    void (*progress)(void *arg); /* the child has sent WIRE_PROGRESS */
    void (*ended)(void *arg);    /* the report stands; may free the process */
    void *arg;
} process_owner;

/* What a log line of a report points to. */
typedef struct line_text {
    char task[BOX_TASK + 1];
    char text[XF_REPORT_LOG_BYTES + 1];
} line_text;

/* One thread at a time leads: it alone reads the channel and waits for the child.  That is whoever joins or receives,
 * and the supervisor when nobody does.  The child is watched by the supervisor exactly while nobody leads. */
struct xf_process {
    supervised supervised;
    uv_mutex_t lock;   /* of everything below, except that the leader waits without it */
    uv_cond_t changed; /* somebody ceased to lead, or something came */
    bool leading;
    uv_thread_t leader;
    os_child *child;
    os_shm box, input;
    wire_decoder in;
    inbox inbox;
    capture captured[2]; /* standard output, standard error */
    lines printed[2];    /* the same, for XF_STDIO_LOG */
    uint64_t log_frames; /* that have come */
    object_child objects;
    const xf_task *task;
    process_owner owner; /* ended NULL: none */
    const char *name;    /* behind the struct */
    xf_log_callback on_log;
    void *on_log_arg;
    uint64_t start_deadline; /* of uv_hrtime; CLOCK_NEVER: none */
    uint64_t grace_deadline;
    uint64_t wall_deadline;
    int start_timeout_ms;
    int grace_ms;
    char *dumps;     /* directory; NULL: none are wanted */
    char dump[1024]; /* path of one; "" while there is none */
    bool detached;
    bool unwatched; /* the system had no room to watch it: it is looked at now and then */
    int64_t pid;    /* 0 while it is not known */
    bool gone;      /* the child's process has ended; its channel may not be drained yet */
    bool kill_asked;
    bool start_timed_out;
    bool timed_out; /* it was asked to stop for limits.wall_ms */
    xf_limits limits;
    int protocol_error; /* why what it sent is not read any more */
    char message[512];
    os_end end;
    bool ended; /* drained and judged: the report stands */
    xf_report report;
    xf_writer replay; /* what is saved if the task fails; data NULL: nothing */
    char *save_to;    /* the directory for that */
    char *saved;      /* the path; NULL: it was not */
    char *unsaved;    /* the report's message, with why not */
    xf_log_line lines[XF_REPORT_LOG_LINES];
    line_text *texts; /* of those lines; NULL: there are none, or no memory */
    trace *trace;     /* NULL: it is not known where it was */
};

/* What a process is started with beyond the options. */
typedef struct process_plan {
    xf_task *task;
    const void *input;
    size_t size;
    os_method method;
    const os_shm *segment; /* that the child maps; NULL: none.  Then size is at most WIRE_INLINE_MAX */
    process_owner owner;
} process_plan;

/* As xf_process_start, for a task and options that were checked. */
int process_start(xf_process **process, const process_plan *plan, const xf_process_options *options);

/* The checks of xf_process_start. */
int process_start_check_options(const xf_process_options *options);
int process_start_check_task(const xf_task *task, size_t size);

/* The start method that is meant by what the options say; otherwise: by default, unless the environment says. */
int process_start_choose_method(xf_start_method wanted, const os_method *otherwise, os_method *method);

/* As xf_process_pid, but 0 while it would have to wait. */
int64_t process_known_pid(xf_process *process);

/* Whether xf_process_receive or xf_process_join would return at once, be it with an error.
 *   target  See wait_target.h. */
bool process_lead_is_ready(xf_process *process, bool message, wait_target *target);

/* Gets ready for waits that this thread would not do alone: XF_EDEADLK when it is the one that has to see to the
 * process; XF_ENOMEM, XF_EHANDLES. */
int process_lead_prepare(xf_process *process);

/* Sees what has come or has happened by now, and does not leave it to the supervisor. */
void process_lead_poll(xf_process *process);

/* Wakes a child that sleeps on its box's bell. */
void process_wake(xf_process *process);

/* What the supervisor does for a process. */
void process_lead_on_due(supervised *supervised);

/* Hands a child that was just started to the supervisor, until somebody waits for it. */
void process_lead_begin(xf_process *process);

/* Frees a process that has no child and is no supervised. */
void process_lead_discard(xf_process *process);

/* The report of a process that has ended, as it is without a search for frames. */
const xf_report *process_report(xf_process *process);

/* A copy in memory of its own; NULL: no memory.  The trace, which may be NULL, is shared with it. */
xf_report *report_copy(const xf_report *report, trace *trace);
void report_free(xf_report *report);

/* Has the frames found of a report that is a copy. */
void report_find_stack(xf_report *report);

/* Kills the child, and keeps where it was. */
void process_kill_late(xf_process *process);

/* A message with why the task was not saved, freed with free; NULL: no memory. */
char *report_add_reason(const char *message, const char *why);

/* Decides how the child ended, once it has gone and its channel is drained, and fills in the report. */
void process_end_judge(xf_process *process);

#endif
