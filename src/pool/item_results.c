#include "pool/item_results.h"

#include "base/copy_once.h"
#include "base/error.h"
#include "base/writer.h"
#include "os/cancel.h"
#include "pool/chunk_claim.h"
#include "pool/item_lines.h"
#include "pool/output_guard.h"
#include "process/replay_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 20 }; /* bytes of what xf_fail was called with */

/* ---- Items that are not done ----------------------------------------------------------------- */

/* The input of an item; empty if its span leads elsewhere than to an input, where workers could write to the span. */
static xf_bytes input_of_item(const xf_future *future, uint64_t item)
{
    const pool_segment *segment = &future->pool->segment;
    const job_plan *plan = &future->plan;
    const char *inputs = pool_segment_inputs(segment, plan);
    span input;
    pages_use use;

    if (!(plan->flags & JOB_IN_SPANS))
        return (xf_bytes){inputs + item * plan->in_size, (size_t)plan->in_size};
    copy_once(&input, (const span *)inputs + item, sizeof input);
    use = input.at & PLACE_IN_BOOKS ? PAGES_INPUTS : PAGES_BUFFERS;
    if (!pool_pages_hold(&future->pool->pages, use, input.at & ~PLACE_IN_BOOKS, input.size))
        return (xf_bytes){"", 0};
    return (xf_bytes){pool_segment_place(segment, input.at), (size_t)input.size};
}

/* Saves the item for a replay, if save_failures is set and the status is one to save.
 *   saved  Set to the path, freed by the caller with free; NULL: it was not saved.
 * Returns 0, or why it could not be saved, with the error detail. */
static int save_item(xf_pool *pool, const xf_future *future, uint64_t item, xf_status status, char **saved)
{
    const xf_task *initializer = pool->options.initializer;
    xf_bytes input = input_of_item(future, item);
    const replay_case replay = {.task = future->task->name,
                                .declared_input = future->task->input_size,
                                .declared_output = future->task->output_size,
                                .input = input.data,
                                .size = input.size,
                                .item = item,
                                .initializer = initializer ? initializer->name : "",
                                .initializer_input = pool->options.initializer_input,
                                .initializer_size = initializer ? pool->options.initializer_size : 0,
                                .environment = pool->process.environment,
                                .directory = pool->process.directory};
    xf_writer file = {0};
    int rc;

    *saved = NULL;
    if (!pool->process.save_failures || !replay_file_is_wanted(status.kind))
        return 0;
    rc = replay_file_encode(&file, &replay);
    if (rc == 0)
        rc = replay_file_save(&file, pool->process.save_failures, future->task->name, status, saved);
    writer_free(&file);
    return rc;
}

xf_report item_results_blank_report(const xf_future *future, uint64_t item, xf_status status, const char *message)
{
    return (xf_report){.status = status,
                       .kind_name = xf_end_name(status.kind),
                       .code_name = report_code_name(status),
                       .message = message,
                       .name = future->task->name,
                       .task = future->task->name,
                       .stderr_tail = "",
                       .dump = "",
                       .saved = "",
                       .phase = XF_PHASE_RUNNING,
                       .item = item,
                       .attempt = 1};
}

void item_results_add(xf_future *future, uint64_t item, xf_report *report, xf_status status)
{
    if (pool_state_grow(&future->failures, future->failure_count, &future->failure_room, sizeof(item_failure)) == 0) {
        future->failures[future->failure_count] = (item_failure){item, future->failure_count, status, report};
        future->failure_count++;
    } else {
        future->short_of_memory = true;
        report_free(report);
    }
}

void item_results_add_report(xf_future *future, uint64_t item, const xf_report *report, stack_trace *trace)
{
    xf_report complete = *report;
    char *saved, *message = NULL;

    if (save_item(future->pool, future, item, report->status, &saved) < 0)
        message = report_add_reason(report->message, xf_error_detail());
    complete.saved = saved ? saved : "";
    if (message)
        complete.message = message;
    item_results_add(future, item, report_copy(&complete, trace), report->status);
    free(message);
    free(saved);
}

/* ---- What workers have recorded -------------------------------------------------------------- */

/* A walk along the list of failures.  Any worker can write to it, even now, so each record is copied and checked first.
 * The walk ends after more records than the items can have, and after more bytes than workers can have taken: a list
 * that leads back to itself, or whose records lie over each other, costs no more. */
typedef struct failure_walk {
    const xf_future *future;
    uint64_t at;    /* of the next record; where the walk has ended, 0, unless the list is damaged there */
    uint64_t noted; /* items about which the records so far are; one of several records counts for each */
    uint64_t room;  /* bytes of the pages that workers take that no record before took */
} failure_walk;

static failure_walk begin_walk(const xf_future *future)
{
    return (failure_walk){future, atomic_load(&future_state(future)->failures), 0,
                          future->pool->segment.slabs.count * OS_PAGE};
}

/* An item has one record, or a second one where its worker died before it said that the item had ended. */
static uint64_t notes_left(const failure_walk *walk)
{
    return 2 * walk->future->plan.count + 2 - walk->noted;
}

/* A copy of a record and its details, and where its text and its lines are. */
typedef struct failure_note {
    failure_record record;
    failure_details details;
    const char *text, *lines;
} failure_note;

/* Copies what follows a record: false if it cannot be there. */
static bool copy_details(pool_segment *segment, uint64_t at, failure_note *note)
{
    uint64_t size = note->record.size, details_at = sizeof note->record + job_words(size), end;

    note->details = (failure_details){0};
    note->text = note->lines = "";
    if (size == 0)
        return true;
    end = details_at + sizeof note->details;
    if (size > segment->work.size || !pool_segment_is_slab(segment, at, end))
        return false;
    note->text = (const char *)pool_segment_at(segment, at) + sizeof note->record;
    note->lines = (const char *)pool_segment_at(segment, at) + end;
    copy_once(&note->details, (const char *)pool_segment_at(segment, at) + details_at, sizeof note->details);
    return note->details.lines_size <= segment->work.size &&
           pool_segment_is_slab(segment, at, end + note->details.lines_size);
}

/* Goes to the next record: false at the end of the list, or where the list is damaged. */
static bool next_record(failure_walk *walk, failure_note *note)
{
    pool_segment *segment = &walk->future->pool->segment;
    uint64_t at = walk->at, count = walk->future->plan.count, size;
    failure_record *record = &note->record;

    if (!at || at % sizeof(uint64_t) || !pool_segment_is_slab(segment, at, sizeof *record))
        return false;
    copy_once(record, pool_segment_at(segment, at), sizeof *record);
    if (record->item >= count || record->more >= count - record->item || record->kind >= FAILURE_KINDS ||
        notes_left(walk) <= record->more || !copy_details(segment, at, note))
        return false;
    size = sizeof *record + record->size + note->details.lines_size;
    if (size > walk->room)
        return false;
    walk->at = record->next;
    walk->noted += record->more + 1;
    walk->room -= size;
    return true;
}

bool item_results_has_record(const xf_future *future, uint64_t item)
{
    failure_walk walk = begin_walk(future);
    failure_note note;

    while (next_record(&walk, &note))
        if (item - note.record.item <= note.record.more)
            return true;
    return false;
}

/* ---- Collecting ------------------------------------------------------------------------------ */

/* An item that was asked to stop and then failed has ended for the reason for which it was asked. */
static xf_status status_of_failure(const xf_future *future, uint64_t item, int code)
{
    for (size_t i = 0; i < future->stopped_count; i++)
        if (item >= future->stopped[i].first && item <= future->stopped[i].last)
            return future->stopped[i].status;
    return (xf_status){XF_END_FAILED, code, 0};
}

static xf_status status_of_noted(const xf_future *future, const failure_record *record, uint64_t item)
{
    if (record->kind == FAILURE_OVERRUN)
        return (xf_status){XF_END_CRASHED, XF_CRASH_OVERRUN, 0};
    return status_of_failure(future, item, record->code);
}

void item_results_add_said(xf_future *future, uint64_t item, int code, int64_t pid)
{
    static const char message[] = "xf_fail was called, and the worker died before it noted the text";
    xf_report report = item_results_blank_report(future, item, status_of_failure(future, item, code), message);

    report.pid = pid;
    item_results_add_report(future, item, &report, NULL);
}

/* Adds an item that ended in no particular process. */
static void add_end(xf_future *future, uint64_t item, xf_status status, const char *message)
{
    xf_report report = item_results_blank_report(future, item, status, message);

    item_results_add_report(future, item, &report, NULL);
}

/* A copy of the text of a record, or else what crossfork has to say.  NULL: no memory. */
static char *text_of_note(const xf_future *future, const failure_note *note)
{
    size_t size = note->record.size < TEXT_MAX ? (size_t)note->record.size : TEXT_MAX,
           room = size < 200 ? 200 : size + 1;
    char *text = malloc(room);

    if (!text)
        return NULL;
    copy_once(text, note->text, size);
    text[size] = 0;
    if (!*text && note->record.refused)
        snprintf(text, room, "memory_limit of the pool, %s%llu bytes, did not leave %llu bytes for an output",
                 future->pool->limit_is_default ? "by default " : "",
                 (unsigned long long)future->pool->segment.memory_limit, (unsigned long long)note->record.refused);
    return text;
}

/* Adds an item of a note.  Its lines are about the first one, and its text, too, unless it is crossfork's own. */
static void add_noted(xf_future *future, const failure_note *note, uint64_t more, const char *text,
                      const item_lines *lines)
{
    xf_status status = status_of_noted(future, &note->record, note->record.item + more);
    bool has_text = text && (more == 0 || note->record.refused);
    xf_report report = item_results_blank_report(future, note->record.item + more, status, has_text ? text : "");

    report.pid = note->details.pid;
    report.started = note->details.began;
    report.ended = note->details.ended;
    report.log = lines->lines;
    report.log_count = more == 0 ? lines->count : 0;
    report.log_total = more == 0 ? note->details.lines_total : 0;
    if (note->record.kind == FAILURE_OWN_CODE && status.kind == XF_END_FAILED)
        report.code_name = report_error_name(status.code);
    item_results_add_report(future, report.item, &report, NULL);
}

static void add_note(xf_future *future, const failure_note *note)
{
    char *text = text_of_note(future, note);
    item_lines lines;

    item_lines_copy(&lines, &note->record, &note->details, note->lines, future->task->name);
    for (uint64_t i = 0; i <= note->record.more; i++)
        add_noted(future, note, i, text, &lines);
    free(lines.texts);
    free(text);
}

/* Adds the items of which there are notes.  Returns how the others ended, as far as the notes say: XF_END_UNKNOWN when
 * workers had no room to note some failures, and XF_END_PROTOCOL_ERROR when notes are lost, because the list does not
 * come to its end, or comes to fewer notes than workers have counted.  They count a note once it is in the list, so the
 * count is read before the list. */
static xf_end collect_failures(xf_future *future)
{
    const job_state *state = future_state(future);
    uint64_t noted = atomic_load(&state->noted);
    bool lack_room = atomic_load(&state->unknown);
    failure_walk walk = begin_walk(future);
    failure_note note;

    while (next_record(&walk, &note))
        add_note(future, &note);
    if (walk.at || (walk.noted < noted && !lack_room)) {
        future->damaged = true;
        return XF_END_PROTOCOL_ERROR;
    }
    return lack_room ? XF_END_UNKNOWN : XF_END_DONE;
}

const char *item_results_why_unclaimed(const xf_future *future, xf_status status)
{
    if (status.kind == XF_END_PROTOCOL_ERROR)
        return "what says how it ended was overwritten";
    if (status.kind == XF_END_TIMED_OUT)
        return "the deadline had passed before it began";
    if (status.kind == XF_END_UNKNOWN)
        return "memory_limit left no room to note how it ended";
    return future->unclaimed_report ? future->unclaimed_report->message : "";
}

static void add_unclaimed(xf_future *future, uint64_t item)
{
    xf_status status = future->unclaimed_status;
    xf_report report;

    if (status.kind == XF_END_NONE)
        status = (xf_status){XF_END_CANCELLED, 0, 0};
    report = item_results_blank_report(future, item, status, item_results_why_unclaimed(future, status));
    report.phase = XF_PHASE_STARTING;
    report.attempt = 0;
    item_results_add(future, item, status.kind == XF_END_START_FAILED ? report_copy(&report, NULL) : NULL, status);
}

/* Collects the items of a chunk that have not ended as a worker committed them: items from skip on never ran, if the
 * job was closed; where the word does not fit, it is not known what became of them. */
static void collect_chunk(xf_future *future, uint64_t chunk)
{
    static const xf_status unknown = {XF_END_PROTOCOL_ERROR, XF_EPROTO, 0};
    uint64_t claim = atomic_load(future_claim(future, chunk)), first = job_first_item(&future->plan, chunk);
    uint32_t items = job_items_in(&future->plan, chunk), skip = claim_word_skip(claim);
    bool fits = claim_word_state(claim) == CLAIM_DONE && skip <= items && (skip == items || future_is_closing(future));

    for (uint32_t at = fits ? skip : 0; at < items; at++)
        if (fits)
            add_unclaimed(future, first + at);
        else
            add_end(future, first + at, unknown, "the claim word of its chunk was overwritten");
}

/* Whether the words of the chunks have to be looked at one by one.  A sum of finished chunks that is not their number
 * was overwritten. */
static bool must_look_at_chunks(const xf_future *future)
{
    const job_plan *plan = &future->plan;

    return future_is_closing(future) || future->damaged || plan->flags & JOB_ONE_CHUNK ||
           chunk_claim_sum(&future->pool->segment, plan, future->pool->slots_used) != plan->chunk_count;
}

static void collect_chunks(xf_future *future)
{
    if (future->plan.count == 0 || !must_look_at_chunks(future))
        return;
    for (uint64_t i = 0; i < future->plan.chunk_count; i++)
        collect_chunk(future, i);
}

static int compare_failures(const void *one, const void *other)
{
    const item_failure *first = one, *second = other;

    return (first->item > second->item) - (first->item < second->item);
}

static int compare_additions(const void *one, const void *other)
{
    const item_failure *first = one, *second = other;
    int order = compare_failures(one, other);

    return order != 0 ? order : (first->number > second->number) - (first->number < second->number);
}

/* Sorts the failures by item.  If an item is in the list twice, what was added first counts: a worker has recorded a
 * failure and then died, or the item failed, and the place of its output holds what was there before. */
static void sort_failures(xf_future *future)
{
    size_t kept = 0;

    if (future->failure_count > 1)
        qsort(future->failures, future->failure_count, sizeof(item_failure), compare_additions);
    for (size_t i = 0; i < future->failure_count; i++) {
        if (kept > 0 && future->failures[kept - 1].item == future->failures[i].item)
            report_free(future->failures[i].report);
        else
            future->failures[kept++] = future->failures[i];
    }
    future->failure_count = kept;
}

/* Goes through items in their order, beside the failures that were sorted. */
typedef struct failure_cursor {
    const xf_future *future;
    size_t at, count;
} failure_cursor;

static failure_cursor begin_failures(const xf_future *future)
{
    return (failure_cursor){future, 0, future->failure_count};
}

/* Whether the item, which is not before the one that was asked about last, has failed. */
static bool has_failed(failure_cursor *cursor, uint64_t item)
{
    const xf_future *future = cursor->future;

    while (cursor->at < cursor->count && future->failures[cursor->at].item < item)
        cursor->at++;
    return cursor->at < cursor->count && future->failures[cursor->at].item == item;
}

/* Some notes are missing: every item without one may have failed. */
static void add_unnoted(xf_future *future, xf_end kind)
{
    xf_status status = {kind, kind == XF_END_PROTOCOL_ERROR ? XF_EPROTO : 0, 0};
    failure_cursor failures = begin_failures(future);

    for (uint64_t item = 0; item < future->plan.count; item++)
        if (!has_failed(&failures, item))
            item_results_add(future, item, NULL, status);
    sort_failures(future);
}

/* Whether the place of an output is one that its task can have got. */
static bool is_output(const xf_future *future, const span *output)
{
    pool_segment *segment = &future->pool->segment;
    uint64_t own = pool_segment_offset(segment, future_state(future)->out_buffer);

    return output->size == 0 || pool_segment_is_slab(segment, output->at, output->size) ||
           (output->at == own && output->size <= JOB_BUFFER_SIZE);
}

/* Checks the places of the outputs.  An item that has failed has none, whatever stands there: it may never have run. */
static void check_spans(xf_future *future)
{
    static const xf_status unknown = {XF_END_PROTOCOL_ERROR, XF_EPROTO, 0};
    failure_cursor failures = begin_failures(future);

    for (uint64_t i = 0; i < future->plan.count; i++) {
        span *output = &future->out_spans[i];
        if (has_failed(&failures, i)) {
            *output = (span){0, 0};
        } else if (!is_output(future, output)) {
            *output = (span){0, 0};
            add_end(future, i, unknown, "the place of its output was overwritten");
        }
        if (output->size == 0)
            output->at = 0; /* which may be anything, and is added to an address */
    }
    if (future->failure_count > failures.count)
        sort_failures(future);
}

/* Copies the places of outputs of any size. */
static void collect_spans(xf_future *future)
{
    const job_plan *plan = &future->plan;
    const span *shared = plan->flags & JOB_ONE_ITEM ? &future_state(future)->out_span
                                                    : pool_segment_at(&future->pool->segment, plan->out);

    if (!(plan->flags & JOB_OUT_SPANS) || plan->count == 0)
        return;
    future->out_spans = calloc((size_t)plan->count, sizeof *future->out_spans);
    if (!future->out_spans) {
        future->short_of_memory = true;
        return;
    }
    copy_once(future->out_spans, shared, (size_t)plan->count * sizeof *shared);
    check_spans(future);
}

/* Looks at the guard bytes behind the outputs as a whole; a worker has mostly done so. */
static void check_guard(xf_future *future)
{
    static const xf_status crashed = {XF_END_CRASHED, XF_CRASH_OVERRUN, 0};
    void *guard = pool_segment_at(&future->pool->segment, future->guard);
    const void *front = future->plan.flags & JOB_OUT_FRONTED
                            ? pool_segment_at(&future->pool->segment, future->plan.out - OUTPUT_GUARD)
                            : NULL;
    size_t overrun = future->guard ? output_guard_overrun(front, guard, OUTPUT_GUARD) : 0;
    char text[64];

    if (overrun == 0)
        return;
    snprintf(text, sizeof text, "wrote %zu bytes beyond its output", overrun);
    add_end(future, future->plan.count - 1, crashed, text);
    output_guard_set(guard, OUTPUT_GUARD);
}

void item_results_collect(xf_future *future)
{
    OS_HOLD_CANCEL;
    const job_plan *plan = &future->plan;
    xf_end unnoted;

    if (future->collected)
        return;
    unnoted = collect_failures(future);
    collect_chunks(future);
    check_guard(future);
    sort_failures(future);
    if (unnoted != XF_END_DONE)
        add_unnoted(future, unnoted);
    collect_spans(future);
    if (future->out && !(plan->flags & JOB_OUT_SPANS))
        memcpy(future->out, pool_segment_at(&future->pool->segment, plan->out), (size_t)(plan->count * plan->out_size));
    future->collected = true;
}

int item_results_output(const xf_future *future, uint64_t item, xf_bytes *output)
{
    const job_plan *plan = &future->plan;
    span place = {plan->out + item * plan->out_size, plan->out_size};

    if (plan->flags & JOB_OUT_SPANS) {
        if (!future->out_spans)
            return XF_ENOMEM;
        place = future->out_spans[item];
    }
    *output = (xf_bytes){pool_segment_at(&future->pool->segment, place.at), (size_t)place.size};
    return 0;
}

item_failure *item_results_find(const xf_future *future, uint64_t item)
{
    item_failure key = {.item = item};

    if (future->failure_count == 0)
        return NULL;
    return bsearch(&key, future->failures, future->failure_count, sizeof key, compare_failures);
}

xf_status item_results_status(const xf_future *future, uint64_t item)
{
    const item_failure *failure = item_results_find(future, item);

    if (failure)
        return failure->status;
    return (xf_status){future->short_of_memory ? XF_END_UNKNOWN : XF_END_DONE, 0, 0};
}

size_t item_results_failures(const xf_future *future)
{
    return future->short_of_memory ? (size_t)future->plan.count : future->failure_count;
}
