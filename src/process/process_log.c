#include "process/process_log.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { LINES_A_TURN = 64 }; /* then the callbacks of others have their turn */

struct queued_line {
    queued_line *next;
    size_t size;
    xf_log_line line;
    char texts[]; /* the line's, and its task's name */
};

/* ---- The queue ------------------------------------------------------------------------------- */

int process_log_put(xf_process *process, const xf_log_line *line)
{
    size_t text = strlen(line->text) + 1, task = strlen(line->task) + 1;
    queued_line *queued = malloc(sizeof *queued + text + task);

    if (!queued)
        return error_detail(XF_ENOMEM, "a line of the log");
    *queued = (queued_line){NULL, sizeof *queued + text + task, *line};
    queued->line.text = memcpy(queued->texts, line->text, text);
    queued->line.task = memcpy(queued->texts + text, line->task, task);
    if (process->first_queued)
        process->last_queued->next = queued;
    else
        process->first_queued = queued;
    process->last_queued = queued;
    process->queued_size += queued->size;
    callback_thread_post(&process->log_calls);
    return 0;
}

static queued_line *take_queued_line(xf_process *process)
{
    queued_line *queued = process->first_queued;

    process->first_queued = queued->next;
    process->queued_size -= queued->size;
    return queued;
}

bool process_log_is_full(const xf_process *process)
{
    return process->queued_size > LOG_QUEUE_MAX;
}

bool process_log_is_over(const xf_process *process)
{
    return !process->first_queued && !process->in_on_log;
}

int process_log_check_wait(const xf_process *process)
{
    return process->in_on_log && callback_thread_is_this()
               ? error_detail(XF_EDEADLK, "process %s waits for itself in its log callback", process->name)
               : 0;
}

/* ---- Calling --------------------------------------------------------------------------------- */

/* Has the channel read again, which was left because on_log was behind. */
static void resume_reading(xf_process *process)
{
    uv_cond_broadcast(&process->changed);
    supervisor_set_deadline(&process->supervised, 0);
}

/* Calls on_log without the lock. */
static void call_on_log(xf_process *process)
{
    bool was_full = process_log_is_full(process);
    queued_line *queued = take_queued_line(process);

    process->in_on_log = true;
    uv_mutex_unlock(&process->lock);
    process->on_log(process, &queued->line, process->on_log_arg);
    free(queued);
    uv_mutex_lock(&process->lock);
    process->in_on_log = false;
    if (was_full && !process_log_is_full(process))
        resume_reading(process);
}

void process_log_take_turn(xf_process *process)
{
    for (int i = 0; i < LINES_A_TURN && process->first_queued; i++)
        call_on_log(process);
    if (process->first_queued)
        callback_thread_post(&process->log_calls);
    else
        uv_cond_broadcast(&process->changed);
}

void process_log_await(xf_process *process, uint64_t deadline)
{
    while (callback_thread_is_this() && process->first_queued)
        call_on_log(process);
    while (!process_log_is_over(process)) {
        uint64_t now = uv_hrtime();
        if (deadline == CLOCK_NEVER)
            uv_cond_wait(&process->changed, &process->lock);
        else if (now >= deadline || uv_cond_timedwait(&process->changed, &process->lock, deadline - now) < 0)
            return;
    }
}

/* ---- Opening and closing --------------------------------------------------------------------- */

int process_log_open(xf_process *process)
{
    return process->on_log ? callback_thread_add(&process->log_calls) : 0;
}

void process_log_let_go(xf_process *process)
{
    while (process->first_queued)
        free(take_queued_line(process));
}

void process_log_close(xf_process *process)
{
    callback_thread_remove(&process->log_calls);
    process_log_let_go(process);
}
