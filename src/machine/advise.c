/* Advice: how many workers, where, and why. */
#include "crossfork/advise.h"

#include "base/number.h"
#include "machine/machine.h"
#include "os/cancel.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The input of the decision, and the limits that follow from it. */
typedef struct scale {
    const os_machine *machine;
    xf_advice *advice;
    size_t own, shared;
    int by_quota, by_memory; /* the most workers; by_memory is INT32_MAX when not known */
    int by_cache;            /* the most workers; INT32_MAX: caches do not limit the number */
    int at_cache;            /* workers at each cache, when caches do not limit the number */
    bool spills;             /* the data of half of the workers do not fit the caches either */
    bool fits_core;          /* the data of a worker fit the caches of its core */
} scale;

static int min_workers(int a, int b)
{
    return a < b ? a : b;
}

/* ---- Weighing -------------------------------------------------------------------------------- */

static int weigh_memory(const scale *scale)
{
    size_t room = scale->advice->memory - scale->advice->memory / 8;
    size_t fit;

    if (scale->own == 0)
        return INT32_MAX;
    fit = scale->shared < room ? (room - scale->shared) / scale->own : 0;
    return fit < 1 ? 1 : fit < INT32_MAX ? (int)fit : INT32_MAX;
}

/* Counts the workers whose data fit a cache at a time.  Shared data that do not fit it either stream through half of
 * it. */
static size_t count_fitting(const scale *scale)
{
    size_t cache = scale->advice->cache, shared = scale->shared < cache / 2 ? scale->shared : cache / 2;

    return (cache - shared) / scale->own;
}

static void weigh_caches(scale *scale)
{
    int caches = scale->advice->caches, most = min_workers(scale->by_quota, scale->by_memory);
    size_t fit;

    scale->by_cache = INT32_MAX;
    if (caches == 0 || scale->own == 0)
        return;
    scale->at_cache = (most + caches - 1) / caches;
    scale->fits_core = scale->own <= scale->machine->core_cache;
    fit = count_fitting(scale);
    if (scale->fits_core || fit >= (size_t)scale->at_cache)
        return;
    scale->spills = 2 * fit < (size_t)scale->at_cache;
    if (!scale->spills)
        scale->by_cache = (int)fit * caches;
}

/* A process that is bound to a place cannot move out of the way of others, so binding must bring something. */
static xf_placement choose_placement(const scale *scale)
{
    const xf_advice *advice = scale->advice;

    if (scale->own == 0 || advice->workers == 1 || scale->by_quota < advice->cores)
        return XF_PLACEMENT_NONE;
    if (scale->spills && advice->nodes > 1)
        return XF_PLACEMENT_NUMA;
    return advice->caches > 1 || advice->processors > advice->cores ? XF_PLACEMENT_CORES : XF_PLACEMENT_NONE;
}

/* ---- Explaining ------------------------------------------------------------------------------ */

static void explain_with(xf_advice *advice, const char *format, ...) XF_PRINTF(2, 3);

static void explain_with(xf_advice *advice, const char *format, ...)
{
    size_t length = strlen(advice->why);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(advice->why + length, sizeof advice->why - length, format, arguments);
    va_end(arguments);
}

typedef struct size_text {
    char text[24];
} size_text;

static size_text size_in_words(size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    char text[NUMBER_SIZE];
    double number = (double)size;
    size_text words;
    int unit = 0;

    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    snprintf(words.text, sizeof words.text, "%.16s %s", number_write(text, number, unit && number < 100), units[unit]);
    return words;
}

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

static void explain_quota(const scale *scale)
{
    char quota[NUMBER_SIZE];

    snprintf(quota, sizeof quota, "%.3g", scale->advice->quota);
    number_put_point(quota);
    if (scale->advice->quota == 0)
        explain_with(scale->advice, "none: all of them may be busy\n");
    else
        explain_with(scale->advice, "%s processors may be busy in the long run: at most %d worker%s\n", quota,
                     scale->by_quota, plural(scale->by_quota));
}

static void explain_processors(const scale *scale)
{
    xf_advice *advice = scale->advice;

    explain_with(advice, "cores      %d that this process may use", advice->cores);
    if (advice->processors > advice->cores)
        explain_with(advice, "; they have %d threads, of which one for each core counts", advice->processors);
    explain_with(advice, "\nquota      ");
    explain_quota(scale);
}

static void explain_memory(const scale *scale)
{
    xf_advice *advice = scale->advice;

    explain_with(advice, "memory     %s%s", size_in_words(advice->memory).text,
                 scale->machine->memory_limit == advice->memory ? ", the limit of the container or job" : "");
    if (scale->own == 0)
        explain_with(advice, "; what a worker needs is not known\n");
    else
        explain_with(advice, ": room for %d worker%s with %s each, beside %s shared and an eighth for others\n",
                     scale->by_memory, plural(scale->by_memory), size_in_words(scale->own).text,
                     size_in_words(scale->shared).text);
}

static void explain_caches(const scale *scale)
{
    xf_advice *advice = scale->advice;
    size_text own = size_in_words(scale->own);

    if (advice->caches == 0) {
        explain_with(advice, "caches     not known\n");
        return;
    }
    explain_with(advice, "caches     %d of %s", advice->caches, size_in_words(advice->cache).text);
    if (scale->own == 0)
        explain_with(advice, "; what a worker touches is not known\n");
    else if (scale->fits_core)
        explain_with(advice, ": %s fit into those of a core, %s\n", own.text,
                     size_in_words((size_t)scale->machine->core_cache).text);
    else if (scale->by_cache < INT32_MAX)
        explain_with(advice, ": the data of %d of %d workers fit, %s each; more would take them from each other\n",
                     scale->by_cache / advice->caches, scale->at_cache, own.text);
    else if (scale->spills)
        explain_with(advice,
                     ": too small for half of the workers, %s each; they wait for memory, so measure with fewer\n",
                     own.text);
    else
        explain_with(advice, ": the data of all workers fit, %s each\n", own.text);
}

static void explain_placement(const scale *scale)
{
    xf_advice *advice = scale->advice;

    explain_with(advice, "placement  ");
    if (advice->placement == XF_PLACEMENT_CORES)
        explain_with(advice, "XF_PLACEMENT_CORES: %s\n",
                     advice->caches > 1 ? "each stays at the cache that has its data"
                                        : "no two workers share the caches of a core");
    else if (advice->placement == XF_PLACEMENT_NUMA)
        explain_with(advice, "XF_PLACEMENT_NUMA: of %d memory nodes, each stays near the one that has its data\n",
                     advice->nodes);
    else if (scale->by_quota < advice->cores)
        explain_with(advice, "XF_PLACEMENT_NONE: the cores are shared with others\n");
    else
        explain_with(advice, "XF_PLACEMENT_NONE: the system may move workers; no cost of that is known\n");
    if (scale->shared == 0 && scale->own == 0)
        explain_with(advice, "load       not known: xf_workload says what a worker touches\n");
}

static const char *limiting_factor(const scale *scale)
{
    int workers = scale->advice->workers;

    if (scale->by_cache == workers)
        return "caches";
    if (scale->by_memory <= workers && scale->by_memory < scale->by_quota)
        return "memory";
    return scale->by_quota < scale->advice->cores ? "the quota" : "cores";
}

static void explain_advice(const scale *scale)
{
    xf_advice *advice = scale->advice;

    explain_with(advice, "%d worker%s, by %s\n", advice->workers, plural(advice->workers), limiting_factor(scale));
    explain_processors(scale);
    explain_memory(scale);
    explain_caches(scale);
    explain_placement(scale);
}

/* ---- Advising -------------------------------------------------------------------------------- */

int xf_advise(xf_advice *out, const xf_workload *load)
{
    OS_HOLD_CANCEL;
    os_machine machine;
    xf_advice advice = {.workers = 0};
    scale scale = {&machine, &advice, load ? load->own : 0, load ? load->shared : 0, .at_cache = 0};
    uint64_t memory;
    int rc = machine_read(&machine);

    if (rc < 0)
        return rc;
    memory = machine_memory(&machine);
    advice.memory = memory < SIZE_MAX ? (size_t)memory : SIZE_MAX;
    advice.processors = (int)machine.count;
    advice.cores = machine_cores(&machine);
    advice.cache = (size_t)machine.cache;
    advice.caches = machine.cache ? machine_caches(&machine) : 0;
    advice.nodes = machine_nodes(&machine);
    advice.quota = machine.quota;
    scale.by_quota = machine_workers(&machine);
    scale.by_memory = weigh_memory(&scale);
    weigh_caches(&scale);
    advice.workers = min_workers(min_workers(scale.by_quota, scale.by_memory), scale.by_cache);
    advice.placement = choose_placement(&scale);
    explain_advice(&scale);
    *out = advice;
    return 0;
}
