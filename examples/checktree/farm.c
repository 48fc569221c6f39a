#include "farm.h"

#include "hash.h"
#include "print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define FILE_COST ((uint64_t)64 << 10)   /* opening and closing a file takes as long as hashing so many bytes */
#define LEAST_BATCH ((uint64_t)32 << 20) /* takes several times as long as starting a child */

enum { MAX_FALSE_STARTS = 3 };

/* A slot runs one child after the other: the main thread is one, the others are threads of their own.  What the slots
 * share is guarded by the lock. */
typedef struct farm {
    const farm_options *options;
    file **files; /* in the order in which they are hashed */
    size_t count;
    size_t next;        /* file that belongs to no batch yet */
    uint64_t cost_left; /* of the files from next on */
    size_t done;
    farm_totals totals;
    bool stopped; /* there is no use in going on */
    uv_mutex_t lock;
} farm;

/* Part of the files, for one child, or for several when it costs lives. */
typedef struct batch {
    file **files;
    size_t count;
    size_t done;
    int false_starts; /* children that ended before the task began, one after the other */
} batch;

/* ---- Stopping --------------------------------------------------------------------------------------------------- */

static bool is_stopped(farm *farm)
{
    bool stopped;

    uv_mutex_lock(&farm->lock);
    stopped = farm->stopped;
    uv_mutex_unlock(&farm->lock);
    return stopped;
}

/* Says why there is no use in going on; of several reasons the first counts. */
static void stop(farm *farm, const char *format, ...)
{
    va_list arguments;

    uv_mutex_lock(&farm->lock);
    if (!farm->stopped) {
        print_progress_clear();
        fprintf(stderr, "checktree: ");
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
    }
    farm->stopped = true;
    uv_mutex_unlock(&farm->lock);
}

/* ---- Batches ---------------------------------------------------------------------------------------------------- */

/* Orders by address, which is by path, but files larger than a batch go first, the largest first: none of them is begun
 * when the others are done. */
static int compare_work(const void *left, const void *right)
{
    const file *a = *(file *const *)left, *b = *(file *const *)right;
    uint64_t large_a = a->size > LEAST_BATCH ? a->size : 0, large_b = b->size > LEAST_BATCH ? b->size : 0;

    if (large_a != large_b)
        return large_a > large_b ? -1 : 1;
    return (a > b) - (a < b);
}

static uint64_t cost_of(const file *file)
{
    return FILE_COST + file->size;
}

/* The batches get smaller as the work does, so that the slots end together: each takes half of its share of what is
 * left, but not so little that starting the child would be most of the work. */
static bool take_batch(farm *farm, batch *batch)
{
    uint64_t share, cost = 0;

    memset(batch, 0, sizeof *batch);
    uv_mutex_lock(&farm->lock);
    share = farm->cost_left / (2 * (uint64_t)farm->options->jobs);
    if (share < LEAST_BATCH)
        share = LEAST_BATCH;
    batch->files = farm->files + farm->next;
    while (!farm->stopped && cost < share && farm->next < farm->count) {
        cost += cost_of(farm->files[farm->next++]);
        batch->count++;
    }
    farm->cost_left -= cost;
    uv_mutex_unlock(&farm->lock);
    return batch->count > 0;
}

/* The input of hash_files for what is left of the batch; the caller frees it. */
static char *encode(const batch *batch, const char *crash_on, size_t *size)
{
    size_t length = strlen(crash_on) + 1;
    char *input, *end;

    for (size_t i = batch->done; i < batch->count; i++)
        length += strlen(batch->files[i]->path) + 1;
    input = malloc(length);
    if (!input)
        return NULL;
    *size = length;
    length = strlen(crash_on) + 1;
    end = (char *)memcpy(input, crash_on, length) + length;
    for (size_t i = batch->done; i < batch->count; i++) {
        length = strlen(batch->files[i]->path) + 1;
        end = (char *)memcpy(end, batch->files[i]->path, length) + length;
    }
    return input;
}

/* ---- One child -------------------------------------------------------------------------------------------------- */

/* The server is a helper process that starts children cheaply and does not mind threads; on Windows it is spawn.
 * XF_START in the environment shall have its say all the same. */
static const xf_process_options *child_options(void)
{
    static const xf_process_options usual = {.name = "checktree child", .start = XF_START_SERVER};
    static const xf_process_options as_told = {.name = "checktree child", .start = XF_START_DEFAULT};

    return getenv("XF_START") ? &as_told : &usual;
}

/* Returns NULL after it has stopped the farm. */
static xf_process *start_child(farm *farm, const batch *batch)
{
    xf_process *process = NULL;
    size_t size;
    char *input = encode(batch, farm->options->crash_on, &size);
    int rc;

    if (!input) {
        stop(farm, "not enough memory for a batch of %zu files", batch->count - batch->done);
        return NULL;
    }
    rc = xf_process_start(&process, &hash_files, input, size, child_options());
    free(input);
    if (rc < 0)
        stop(farm, "cannot start a child: %s (%s)", xf_strerror(rc), xf_error_detail());
    return process;
}

/* Counts the file at which the child is, with its result or without. */
static void finish_file(farm *farm, batch *batch, uint64_t bytes)
{
    batch->done++;
    uv_mutex_lock(&farm->lock);
    farm->done++;
    farm->totals.bytes += bytes;
    if (farm->options->progress && !farm->stopped)
        print_progress(farm->done, farm->count, farm->totals.bytes);
    uv_mutex_unlock(&farm->lock);
}

/* Returns false for what is no result of the file that the child is at. */
static bool take_result(farm *farm, batch *batch, size_t first, const xf_message *message)
{
    const hash_result *result = message->data;
    file *file;

    if (message->size != sizeof *result || batch->done == batch->count || result->position != batch->done - first)
        return false;
    file = batch->files[batch->done];
    file->hash = result->hash;
    file->error = (int)result->error;
    finish_file(farm, batch, result->error ? 0 : result->bytes);
    return true;
}

/* Takes what the child sends until it has ended.  first is the place of its first file in the batch. */
static void take_results(farm *farm, batch *batch, size_t first, xf_process *process)
{
    xf_message message;

    while (xf_process_receive(process, XF_FOREVER, &message) == 0) {
        if (!take_result(farm, batch, first, &message) || is_stopped(farm))
            xf_process_kill(process);
        xf_message_free(&message);
    }
}

static void show_report(farm *farm, const xf_report *report, const char *what, const char *path)
{
    uv_mutex_lock(&farm->lock);
    print_progress_clear();
    print_report(report, what, path);
    uv_mutex_unlock(&farm->lock);
}

/* The child died at a file, which is given up. */
static void lose_file(farm *farm, batch *batch, const xf_report *report)
{
    file *file = batch->files[batch->done];

    show_report(farm, report, "lost a child at", file->path);
    file->end = report->status;
    finish_file(farm, batch, 0);
}

/* The child ended before the task began, through no file's fault; this may be bad luck, but not several times. */
static void judge_false_start(farm *farm, batch *batch, const xf_report *report)
{
    show_report(farm, report, "lost a child before", batch->files[batch->done]->path);
    if (report->status.kind == XF_END_START || ++batch->false_starts == MAX_FALSE_STARTS)
        stop(farm, "children do not start");
}

/* What the end of a child means for the batch: it did all of it, or it died at a file, or it never began. */
static void judge(farm *farm, batch *batch, const xf_report *report)
{
    bool began = report->status.kind != XF_END_START && report->phase >= XF_PHASE_RUNNING;

    if (batch->done == batch->count || is_stopped(farm))
        return;
    if (!began) {
        judge_false_start(farm, batch, report);
    } else {
        batch->false_starts = 0;
        lose_file(farm, batch, report);
    }
}

static void run_child(farm *farm, batch *batch)
{
    xf_process *process = start_child(farm, batch);

    if (!process)
        return;
    take_results(farm, batch, batch->done, process);
    xf_process_join(process, XF_FOREVER, NULL);
    judge(farm, batch, xf_process_report(process));
    xf_process_free(process);
    uv_mutex_lock(&farm->lock);
    farm->totals.children++;
    uv_mutex_unlock(&farm->lock);
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static void run_slot(void *arg)
{
    farm *farm = arg;
    batch batch;

    while (take_batch(farm, &batch))
        while (!is_stopped(farm) && batch.done < batch.count)
            run_child(farm, &batch);
}

/* Puts the files that are to be hashed in order. */
static bool list_work(farm *farm, tree *tree)
{
    farm->files = malloc((tree->count + 1) * sizeof *farm->files);
    if (!farm->files)
        return false;
    for (size_t i = 0; i < tree->count; i++) {
        if (file_failed(&tree->files[i]))
            continue;
        farm->files[farm->count++] = &tree->files[i];
        farm->cost_left += cost_of(&tree->files[i]);
    }
    qsort(farm->files, farm->count, sizeof *farm->files, compare_work);
    return true;
}

/* A thread that cannot be had is done without. */
static bool run_slots(farm *farm)
{
    size_t jobs = (size_t)farm->options->jobs, count = 0;
    uv_thread_t *threads = malloc(jobs * sizeof *threads);

    if (!threads)
        return false;
    while (count + 1 < jobs && uv_thread_create(&threads[count], run_slot, farm) == 0)
        count++;
    run_slot(farm);
    while (count > 0)
        uv_thread_join(&threads[--count]);
    free(threads);
    return true;
}

int farm_run(tree *tree, const farm_options *options, farm_totals *totals)
{
    farm farm = {.options = options};

    if (uv_mutex_init(&farm.lock) < 0) {
        fprintf(stderr, "checktree: cannot make a lock\n");
        return -1;
    }
    if (!list_work(&farm, tree) || !run_slots(&farm))
        stop(&farm, "not enough memory for %zu files", tree->count);
    free(farm.files);
    uv_mutex_destroy(&farm.lock);
    print_progress_clear();
    *totals = farm.totals;
    return farm.stopped ? -1 : 0;
}
