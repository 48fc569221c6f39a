#include "pool/worker_failure.h"

#include "base/clock.h"
#include "pool/worker_slab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Why an item failed. */
typedef struct failure {
    uint64_t item;
    failure_kind kind;
    int code;
    const char *text;
} failure;

void worker_failure_begin(worker *worker)
{
    black_box *box = worker->call->box;

    if (worker->call->fail_code != 0)
        worker_failure_flush(worker); /* the task of the item before has called xf_fail and returned 0 */
    worker->began = clock_now();
    worker->refused = worker->unstaged = 0;
    atomic_store_explicit(&box->item_lines, atomic_load_explicit(&box->line_count, memory_order_relaxed),
                          memory_order_relaxed);
}

/* ---- Its log lines --------------------------------------------------------------------------- */

static const black_box_line *line_in_box(const black_box *box, uint64_t number)
{
    return &box->lines[number % (XF_REPORT_LOG_LINES + 1)];
}

/* The number of the first line that can be one of the item's. */
static uint64_t first_line(const black_box *box, uint64_t end)
{
    uint64_t begin = atomic_load(&box->item_lines);

    return end - begin > XF_REPORT_LOG_LINES ? end - XF_REPORT_LOG_LINES : begin;
}

static uint64_t line_size(const black_box_line *line)
{
    return sizeof(failure_line) + job_words(line->size);
}

/* Writes the lines of the item, unless to is NULL.  Returns their size.
 *   count  Set to how many there are. */
static uint64_t write_lines(const black_box *box, uint64_t end, uint64_t item, char *to, uint64_t *count)
{
    uint64_t size = 0;

    *count = 0;
    for (uint64_t i = first_line(box, end); i < end; i++) {
        const black_box_line *line = line_in_box(box, i);
        if (line->item != item)
            continue;
        if (to) {
            *(failure_line *)(void *)(to + size) = (failure_line){line->time, line->level, line->size};
            memcpy(to + size + sizeof(failure_line), line->text, line->size);
        }
        size += line_size(line);
        ++*count;
    }
    return size;
}

/* How many lines the item has logged: those that are still there, or, when all of these are its own, all since it
 * began. */
static uint64_t total_lines(const black_box *box, uint64_t end, uint64_t count)
{
    return count == end - first_line(box, end) ? end - atomic_load(&box->item_lines) : count;
}

/* ---- The note -------------------------------------------------------------------------------- */

static failure_record *write_note(worker *worker, const failure *what, uint64_t behind, bool kept_back)
{
    failure_record *record = worker_slab_take_note(worker, sizeof *record + behind, kept_back);

    if (record)
        *record =
            (failure_record){.item = what->item, .kind = what->kind, .code = what->code, .refused = worker->refused};
    return record;
}

/* With text, details and lines; NULL where memory_limit does not leave room for them. */
static failure_record *write_whole_note(worker *worker, const failure *what)
{
    const black_box *box = worker->call->box;
    uint64_t end = atomic_load(&box->line_count), text_size = strlen(what->text) + 1, count;
    uint64_t lines_size = write_lines(box, end, what->item, NULL, &count);
    failure_record *record =
        write_note(worker, what, job_words(text_size) + sizeof(failure_details) + lines_size, false);
    failure_details *details;

    if (!record)
        return NULL;
    record->size = text_size;
    memcpy(record + 1, what->text, text_size);
    details = (failure_details *)(void *)((char *)(record + 1) + job_words(text_size));
    write_lines(box, end, what->item, (char *)(details + 1), &count);
    *details = (failure_details){lines_size, total_lines(box, end, count), uv_os_getpid(), worker->began, clock_now()};
    return record;
}

static void publish_note(worker *worker, failure_record *record)
{
    job_state *state = &worker->segment.states[worker->claimed.number];
    uint64_t next = atomic_load(&state->failures);

    do
        record->next = next;
    while (!atomic_compare_exchange_weak(&state->failures, &next, pool_segment_offset(&worker->segment, record)));
    worker->last_note = record;
    worker->last_serial = worker->claimed.plan->serial;
}

/* Adds the item to the note of the one before it, if it ended in the same way. */
static bool extend_last_note(worker *worker, const failure *what)
{
    failure_record *last = worker->last_note;
    bool fits = last && worker->last_serial == worker->claimed.plan->serial && last->kind == what->kind &&
                last->refused == worker->refused && last->code == what->code &&
                last->item + last->more + 1 == what->item;

    if (fits)
        last->more++;
    return fits;
}

static void note_failure(worker *worker, const failure *what)
{
    job_state *state = &worker->segment.states[worker->claimed.number];
    failure_record *record;

    uv_mutex_lock(&worker->call->log.lock); /* the task's other threads may log */
    record = write_whole_note(worker, what);
    uv_mutex_unlock(&worker->call->log.lock);
    if (!record && !extend_last_note(worker, what)) {
        record = write_note(worker, what, 0, true);
        if (!record)
            atomic_store(&state->unknown, 1);
    }
    if (record)
        publish_note(worker, record);
    atomic_fetch_add(&state->noted, 1);
    if (worker->claimed.plan->flags & JOB_STOP_AT_FAILURE)
        atomic_store(&state->failed, 1);
}

void worker_failure_note_overrun(worker *worker, uint64_t item, size_t bytes)
{
    char text[64];

    snprintf(text, sizeof text, "wrote %zu bytes beyond its output", bytes);
    note_failure(worker, &(failure){item, FAILURE_OVERRUN, 0, text});
}

/* ---- What xf_fail was called for ------------------------------------------------------------- */

/* A failure is noted when it is seen that its item has ended.  Where a task calls xf_fail and returns 0, the batch
 * function runs other items before that.  Until then the slot has the failure, for the case that this worker dies. */
static void say_failure(worker *worker, uint64_t item, int code)
{
    atomic_store(&worker->slot->said_code, code);
    atomic_store(&worker->slot->said_item, item + 1);
}

static void drop_failure(worker *worker)
{
    xf_call *call = worker->call;

    atomic_store(&worker->slot->said_item, 0);
    free(call->fail_text);
    call->fail_text = NULL;
    call->fail_code = 0;
}

void worker_failure_flush(worker *worker)
{
    xf_call *call = worker->call;

    if (call->fail_code != 0)
        note_failure(worker, &(failure){call->fail_item, call->fail_is_own ? FAILURE_OWN_CODE : FAILURE_CODE,
                                        call->fail_code, call->fail_text ? call->fail_text : ""});
    drop_failure(worker);
}

uint64_t worker_failure_item(const xf_call *call)
{
    const worker *worker = call->backend_arg;

    return worker->claims ? job_first_item(worker->claimed.plan, worker->claimed.chunk) + worker->slot->progress : 0;
}

void worker_failure_replace(xf_call *call, int code)
{
    worker *worker = call->backend_arg;
    uint64_t item = worker_failure_item(call);

    if (!worker->claims)
        return; /* the initializer */
    if (call->fail_code != 0 && call->fail_item != item)
        worker_failure_flush(worker);
    call->fail_item = item;
    say_failure(worker, item, code);
}

/* An item that gives no reason: perhaps it did not get the memory for its output. */
static void note_code(worker *worker, uint64_t item, int code)
{
    char text[100] = "";

    if (worker->unstaged)
        snprintf(text, sizeof text, "the worker had no memory in which to write %llu bytes of output",
                 (unsigned long long)worker->unstaged);
    note_failure(worker, &(failure){item, FAILURE_CODE, code, text});
}

void worker_failure_note(worker *worker, int code)
{
    xf_call *call = worker->call;
    uint64_t item = worker_failure_item(call);
    bool said = call->fail_code != 0 && call->fail_item == item;

    if (said && worker->overrun > 0)
        drop_failure(worker);
    worker_failure_flush(worker);
    if (worker->overrun > 0)
        worker_failure_note_overrun(worker, item, worker->overrun);
    else if (!said)
        note_code(worker, item, code);
    worker->overrun = 0;
}
