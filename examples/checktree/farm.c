#include "farm.h"

#include "hash.h"
#include "print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LARGE ((uint64_t)1 << 20) /* takes many times as long as opening a file */

enum { PROGRESS_MS = 100 };

/* Files for the pool, in the order in which they are hashed. */
typedef struct work {
    file **files;
    xf_bytes *paths;
    size_t count;
    size_t large;          /* so many come first, the largest first */
    xf_future *futures[2]; /* of the large ones and of the others */
} work;

/* ---- The files ------------------------------------------------------------------------------- */

static uint64_t large_size(const file *file)
{
    return file->size > LARGE ? file->size : 0;
}

/* Orders by address, which is by path, but large files go first, so that none of them is begun when everything else is
 * done. */
static int compare_work(const void *left, const void *right)
{
    const file *a = *(file *const *)left, *b = *(file *const *)right;

    if (large_size(a) != large_size(b))
        return large_size(a) > large_size(b) ? -1 : 1;
    return (a > b) - (a < b);
}

static bool list_work(work *work, tree *tree)
{
    work->files = calloc(tree->count + 1, sizeof *work->files);
    work->paths = calloc(tree->count + 1, sizeof *work->paths);
    if (!work->files || !work->paths)
        return false;
    for (size_t i = 0; i < tree->count; i++) {
        if (file_failed(&tree->files[i]))
            continue;
        work->files[work->count++] = &tree->files[i];
        work->large += large_size(&tree->files[i]) > 0;
    }
    qsort(work->files, work->count, sizeof *work->files, compare_work);
    for (size_t i = 0; i < work->count; i++)
        work->paths[i] = (xf_bytes){work->files[i]->path, strlen(work->files[i]->path) + 1};
    return true;
}

static void free_work(work *work)
{
    for (int i = 0; i < 2; i++)
        xf_future_free(work->futures[i]);
    free(work->paths);
    free(work->files);
}

/* ---- The pool -------------------------------------------------------------------------------- */

static int open_pool(xf_pool **pool, const farm_options *options)
{
    static const xf_process_options process = {.name = "checktree child"};
    const xf_pool_options pool_options = {
        .workers = options->jobs,
        .process = &process,
        .initializer = &choose_crashes,
        .initializer_input = options->crash_on,
        .initializer_size = strlen(options->crash_on) + 1,
    };

    return xf_pool_create(pool, &pool_options);
}

/* A child takes large files one at a time, and of the others as many as make it worth its while. */
static int hand_in(work *work, xf_pool *pool)
{
    const xf_map one_by_one = {.task = &hash_file, .bytes = work->paths, .count = work->large, .chunk = 1};
    const xf_map others = {.task = &hash_file, .bytes = work->paths + work->large, .count = work->count - work->large};
    int rc = xf_pool_map_async(&work->futures[0], pool, &one_by_one);

    if (rc < 0)
        return rc;
    return xf_pool_map_async(&work->futures[1], pool, &others);
}

static void show_progress(const work *work, xf_pool *pool)
{
    xf_pool_stats stats;

    xf_pool_stats_get(pool, &stats, NULL, 0);
    print_progress(stats.done + stats.lost, work->count, stats.lost);
}

/* Returns 0 when every file has come to an end, whichever. */
static int await(const work *work, xf_pool *pool, bool progress)
{
    int rc;

    do {
        if (progress)
            show_progress(work, pool);
        rc = xf_future_wait_all(work->futures, 2, progress ? PROGRESS_MS : XF_FOREVER);
    } while (rc == XF_ETIMEDOUT);
    print_progress_clear();
    return rc == XF_EFAILED ? 0 : rc;
}

/* ---- Results --------------------------------------------------------------------------------- */

static void take_result(file *file, xf_future *future, size_t item, farm_totals *totals)
{
    const hash_result *result = xf_future_result(future, item, NULL);
    const xf_report *report = xf_future_report(future, item);

    if (result) {
        file->hash = result->hash;
        file->error = (int)result->error;
        totals->bytes += result->error ? 0 : result->bytes;
    } else {
        file->end = xf_future_status(future, item);
        if (report) /* there may be too little memory for one */
            print_report(report, file->end.kind == XF_END_START_FAILED ? "no child for" : "lost a child at",
                         file->path);
    }
}

/* Returns false when a file's turn never came, because children do not start: then that is so for those behind it. */
static bool take_results(const work *work, farm_totals *totals)
{
    bool started = true;

    for (size_t i = 0; i < work->count && started; i++) {
        if (i < work->large)
            take_result(work->files[i], work->futures[0], i, totals);
        else
            take_result(work->files[i], work->futures[1], i - work->large, totals);
        started = work->files[i]->end.kind != XF_END_START_FAILED;
    }
    return started;
}

/* Each child is still there, or it was lost. */
static uint64_t count_children(xf_pool *pool)
{
    xf_pool_stats stats;

    xf_pool_stats_get(pool, &stats, NULL, 0);
    return (uint64_t)stats.started + stats.lost;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static int complain(const char *what, int rc)
{
    fprintf(stderr, "checktree: %s: %s (%s)\n", what, xf_strerror(rc), xf_error_detail());
    return -1;
}

static int run(work *work, xf_pool *pool, const farm_options *options, farm_totals *totals)
{
    int rc = hand_in(work, pool);

    if (rc < 0)
        return complain("cannot hand the files in", rc);
    rc = await(work, pool, options->progress);
    if (rc < 0)
        return complain("cannot wait for the files", rc);
    totals->children = count_children(pool);
    if (take_results(work, totals))
        return 0;
    fprintf(stderr, "checktree: children do not start\n");
    return -1;
}

int farm_run(tree *tree, const farm_options *options, farm_totals *totals)
{
    work work = {.count = 0};
    xf_pool *pool = NULL;
    int rc = open_pool(&pool, options);

    memset(totals, 0, sizeof *totals);
    if (rc < 0)
        return complain("cannot open a pool", rc);
    if (list_work(&work, tree)) {
        rc = run(&work, pool, options, totals);
    } else {
        fprintf(stderr, "checktree: not enough memory for %zu files\n", tree->count);
        rc = -1;
    }
    free_work(&work);
    xf_pool_free(pool);
    return rc;
}
