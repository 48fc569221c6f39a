#include "pool/item_results.h"

#include "base/error.h"
#include "base/writer.h"
#include "process/replay_file.h"

#include <stdlib.h>
#include <string.h>

/* ---- Items that are not done ----------------------------------------------------------------- */

/* The input of an item; empty if its span is wrong, because workers can write to the span too. */
static xf_bytes input_of_item(const xf_pool *pool, const job *job, uint64_t item)
{
    span input = {job->in + item * job->in_size, job->in_size};

    if (job->flags & JOB_IN_SPANS)
        input = ((const span *)pool_segment_at(&pool->segment, job->in))[item];
    if (input.at > pool->segment.shm.size || input.size > pool->segment.shm.size - input.at)
        input = (span){0, 0};
    return (xf_bytes){pool_segment_at(&pool->segment, input.at), (size_t)input.size};
}

/* Saves the item for a replay, if save_failures is set and the status is one to save.
 *   saved  Set to the path, freed by the caller with free; NULL: it was not saved.
 * Returns 0, or why it could not be saved, with the error detail. */
static int save_item(xf_pool *pool, const xf_future *future, uint64_t item, xf_status status, char **saved)
{
    const xf_task *initializer = pool->options.initializer;
    xf_bytes input = input_of_item(pool, future->job, item);
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
        future->failures[future->failure_count++] = (item_failure){item, status, report};
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

/* ---- Collecting ------------------------------------------------------------------------------ */

/* An item that was asked to stop and then failed has ended for the reason for which it was asked. */
static xf_status status_of_failure(const xf_future *future, const failure_record *record)
{
    for (size_t i = 0; i < future->stopped_count; i++)
        if (future->stopped[i].item == record->item)
            return future->stopped[i].status;
    return (xf_status){XF_END_FAILED, record->code, 0};
}

/* Collects what workers have recorded.  A record may be damaged, since any worker can write to it: then its text is
 * left out, or it ends the list. */
static void collect_failures(xf_future *future)
{
    const pool_segment *segment = &future->pool->segment;
    uint64_t at = atomic_load(&future->job->failures), count = 0;

    while (at && pool_segment_holds(segment, at, sizeof(failure_record)) && count++ < future->job->count) {
        const failure_record *record = pool_segment_at(segment, at);
        const char *text = (const char *)(record + 1);
        bool intact = record->size > 0 && pool_segment_holds(segment, at, sizeof *record + record->size) &&
                      !text[record->size - 1];
        if (record->item < future->job->count) {
            xf_status status = status_of_failure(future, record);
            xf_report report = item_results_blank_report(future, record->item, status, intact ? text : "");
            item_results_add_report(future, record->item, &report, NULL);
        }
        at = record->next;
    }
}

/* Collects the items that never ran: in each chunk, those from skip on. */
static void collect_unclaimed(xf_future *future)
{
    job *job = future->job;
    xf_status status = future->unclaimed_status;
    const char *why = future->unclaimed_report ? future->unclaimed_report->message : "";

    if (status.kind == XF_END_NONE)
        status = (xf_status){XF_END_CANCELLED, 0, 0};
    for (uint64_t i = 0; i < job->chunk_count; i++) {
        uint64_t claim = atomic_load(pool_segment_claim(&future->pool->segment, job, i));
        uint32_t items = job_items_in(job, i);
        for (uint32_t at = claim_word_skip(claim); at < items; at++) {
            xf_report report = item_results_blank_report(future, job_first_item(job, i) + at, status, why);
            report.phase = XF_PHASE_STARTING;
            report.attempt = 0;
            item_results_add(future, report.item,
                             status.kind == XF_END_START_FAILED ? report_copy(&report, NULL) : NULL, status);
        }
    }
}

static int compare_failures(const void *one, const void *other)
{
    const item_failure *first = one, *second = other;

    return (first->item > second->item) - (first->item < second->item);
}

/* Sorts the failures by item.  If a worker has recorded a failure and then died, its item is in the list twice: the
 * second one is dropped. */
static void sort_failures(xf_future *future)
{
    size_t kept = 0;

    if (future->failure_count > 1)
        qsort(future->failures, future->failure_count, sizeof(item_failure), compare_failures);
    for (size_t i = 0; i < future->failure_count; i++) {
        if (kept > 0 && future->failures[kept - 1].item == future->failures[i].item)
            report_free(future->failures[i].report);
        else
            future->failures[kept++] = future->failures[i];
    }
    future->failure_count = kept;
}

void item_results_collect(xf_future *future)
{
    job *job = future->job;

    if (future->collected)
        return;
    collect_failures(future);
    if (atomic_load(&job->closing))
        collect_unclaimed(future);
    sort_failures(future);
    if (future->out && !(job->flags & JOB_OUT_SPANS))
        memcpy(future->out, pool_segment_at(&future->pool->segment, job->out), (size_t)(job->count * job->out_size));
    future->collected = true;
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
    return future->short_of_memory ? (size_t)future->job->count : future->failure_count;
}
