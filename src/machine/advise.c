/* Advice: how many workers, where, and why. */
#include "crossfork/advise.h"

#include "machine/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is weighed. */
typedef struct scale {
    const os_machine *machine;
    xf_advice *advice;
    size_t own, shared;
    int by_quota, by_memory; /* workers; by_memory INT32_MAX: not known */
    int by_cache;            /* INT32_MAX: caches do not bound the number */
    int at_cache;            /* workers at each cache, when caches are not looked at */
    bool spills;             /* their data do not fit the caches, whatever is done */
    bool fits_core;          /* a worker's data fit the caches of its core */
} scale;

static int lesser(int a, int b)
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

/* How many workers' data fit a cache at a time.  What is shared and does not fit it either passes through the half. */
static size_t count_fitting(const scale *scale)
{
    size_t cache = scale->advice->cache, shared = scale->shared < cache / 2 ? scale->shared : cache / 2;

    return (cache - shared) / scale->own;
}

static void weigh_caches(scale *scale)
{
    int caches = scale->advice->caches, most = lesser(scale->by_quota, scale->by_memory);
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

/* A process that is bound cannot make way for others, so there has to be something to gain. */
static xf_placement place(const scale *scale)
{
    const xf_advice *advice = scale->advice;

    if (scale->own == 0 || advice->workers == 1 || scale->by_quota < advice->cores)
        return XF_PLACEMENT_NONE;
    if (scale->spills && advice->nodes > 1)
        return XF_PLACEMENT_NUMA;
    return advice->caches > 1 || advice->processors > advice->cores ? XF_PLACEMENT_CORES : XF_PLACEMENT_NONE;
}

/* ---- Telling --------------------------------------------------------------------------------- */

static void say(xf_advice *advice, const char *format, ...) XF_PRINTF(2, 3);

static void say(xf_advice *advice, const char *format, ...)
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

static size_text in_words(size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)size;
    size_text words;
    int unit = 0;

    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    snprintf(words.text, sizeof words.text, unit && number < 100 ? "%.1f %s" : "%.0f %s", number, units[unit]);
    return words;
}

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

static void say_processors(const scale *scale)
{
    xf_advice *advice = scale->advice;

    say(advice, "cores      %d that this process may use", advice->cores);
    if (advice->processors > advice->cores)
        say(advice, "; they have %d threads, of which one for each core counts", advice->processors);
    say(advice, "\nquota      ");
    if (advice->quota == 0)
        say(advice, "none: all of them may be busy\n");
    else
        say(advice, "%.3g processors may be busy in the long run: at most %d worker%s\n", advice->quota,
            scale->by_quota, plural(scale->by_quota));
}

static void say_memory(const scale *scale)
{
    xf_advice *advice = scale->advice;

    say(advice, "memory     %s%s", in_words(advice->memory).text,
        scale->machine->group == advice->memory ? ", the limit of the container or job" : "");
    if (scale->own == 0)
        say(advice, "; what a worker needs is not known\n");
    else
        say(advice, ": room for %d worker%s with %s each, beside %s shared and an eighth for others\n",
            scale->by_memory, plural(scale->by_memory), in_words(scale->own).text, in_words(scale->shared).text);
}

static void say_caches(const scale *scale)
{
    xf_advice *advice = scale->advice;
    size_text own = in_words(scale->own);

    if (advice->caches == 0) {
        say(advice, "caches     not known\n");
        return;
    }
    say(advice, "caches     %d of %s", advice->caches, in_words(advice->cache).text);
    if (scale->own == 0)
        say(advice, "; what a worker touches is not known\n");
    else if (scale->fits_core)
        say(advice, ": %s fit into those of a core, %s\n", own.text, in_words((size_t)scale->machine->core_cache).text);
    else if (scale->by_cache < INT32_MAX)
        say(advice, ": the data of %d of %d workers fit, %s each; more would take them from each other\n",
            scale->by_cache / advice->caches, scale->at_cache, own.text);
    else if (scale->spills)
        say(advice, ": too small for half of the workers, %s each; they wait for memory, so measure with fewer\n",
            own.text);
    else
        say(advice, ": the data of all workers fit, %s each\n", own.text);
}

static void say_placement(const scale *scale)
{
    xf_advice *advice = scale->advice;

    say(advice, "placement  ");
    if (advice->placement == XF_PLACEMENT_CORES)
        say(advice, "XF_PLACEMENT_CORES: %s\n",
            advice->caches > 1 ? "each stays at the cache that has its data" : "no two share the caches of a core");
    else if (advice->placement == XF_PLACEMENT_NUMA)
        say(advice, "XF_PLACEMENT_NUMA: of %d memory nodes, each stays near the one that has its data\n",
            advice->nodes);
    else if (scale->by_quota < advice->cores)
        say(advice, "XF_PLACEMENT_NONE: the cores are shared with others\n");
    else
        say(advice, "XF_PLACEMENT_NONE: the system may move workers, which loses nothing that is known of\n");
    if (scale->shared == 0 && scale->own == 0)
        say(advice, "load       not known: xf_workload says what a worker touches\n");
}

static const char *what_decides(const scale *scale)
{
    int workers = scale->advice->workers;

    if (scale->by_cache == workers)
        return "caches";
    if (scale->by_memory <= workers && scale->by_memory < scale->by_quota)
        return "memory";
    return scale->by_quota < scale->advice->cores ? "the quota" : "cores";
}

static void tell(const scale *scale)
{
    xf_advice *advice = scale->advice;

    say(advice, "%d worker%s, by %s\n", advice->workers, plural(advice->workers), what_decides(scale));
    say_processors(scale);
    say_memory(scale);
    say_caches(scale);
    say_placement(scale);
}

/* ---- Advising -------------------------------------------------------------------------------- */

int xf_advise(xf_advice *out, const xf_workload *load)
{
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
    advice.workers = lesser(lesser(scale.by_quota, scale.by_memory), scale.by_cache);
    advice.placement = place(&scale);
    tell(&scale);
    *out = advice;
    return 0;
}
