/* fault: the time from the instruction that crashes until the parent has the status, or the report with named
 * functions. */
#include "bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 50 };

static uint64_t times[CALLS];
static int count;

static volatile intptr_t nowhere;

static void note_fault(uint64_t fault_ns)
{
    times[count++] = bench_now_ns() - fault_ns;
}

static int compare(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

    return (a > b) - (a < b);
}

static void note_times(void)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    bench_note("fault_p50_ns", (double)times[count / 2]);
    bench_note("fault_p99_ns", (double)times[count * 99 / 100]);
}

/* ---- crossfork ------------------------------------------------------------------------------- */

/* Reports the time of its crash as its progress. */
XF_ENTRY(crash)
{
    xf_progress(call, bench_now_ns(), 1);
    *(volatile int *)nowhere = 1;
    return 0;
}

static void run(bool record, bool wants_report)
{
    const xf_report *report;
    xf_process *process;
    xf_status status;

    bench_check("xf_process_start",
                xf_process_start(&process, &crash, NULL, 0,
                                 &(xf_process_options){.start = XF_START_FORK, .no_crash_record = !record}));
    bench_check("xf_process_join", xf_process_join(process, &status, XF_FOREVER));
    if (!wants_report) {
        uint64_t known_ns = bench_now_ns();
        report = xf_process_report(process);
        times[count++] = known_ns - report->done;
    } else {
        report = xf_process_report(process);
        note_fault(report->done);
        if (report->stack_count == 0 || strcmp(report->stack[0].function, "crash_entry") != 0)
            bench_fail("fault", "the report does not name the function");
    }
    if (status.kind != XF_END_CRASHED)
        bench_fail("fault", "the child did not crash");
    xf_process_free(process);
}

static void run_unarmed(void)
{
    run(false, false);
}

static void run_for_status(void)
{
    run(true, false);
}

static void run_for_report(void)
{
    run(true, true);
}

static double kept_bytes;

/* proc(5): the second number of statm is what is resident, in pages. */
static double resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file || fscanf(file, "%*u %lu", &pages) != 1)
        bench_fail("fault", "cannot read /proc/self/statm");
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The helper that names stacks reads the debug data for the first report, so only the later ones are timed.  What the
 * program keeps of a report is measured over the first one. */
static void open_warm(void)
{
    double before;

    run_for_status(); /* so that what any child costs is not counted */
    before = resident_bytes();
    run_for_report();
    kept_bytes = resident_bytes() - before;
    count = 0;
}

static void note_report(void)
{
    note_times();
    bench_note("kept_bytes", kept_bytes);
}

/* ---- Bare: no handler, and waitpid ----------------------------------------------------------- */

static _Atomic uint64_t *bare_ns;

static void open_bare(void)
{
    bare_ns = bench_share(sizeof *bare_ns);
}

static void run_bare(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        atomic_store(bare_ns, bench_now_ns());
        *(volatile int *)nowhere = 1;
        _exit(1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        bench_fail("fault", "the bare child did not crash");
    note_fault(atomic_load(bare_ns));
}

/* ---- The workload ---------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:no-handler", open_bare, run_bare, note_times, CALLS, false, NULL},
    {"crossfork:off", NULL, run_unarmed, note_times, CALLS, false, NULL},
    {"crossfork:status", NULL, run_for_status, note_times, CALLS, false, NULL},
    {"crossfork:report", open_warm, run_for_report, note_report, CALLS, false, NULL},
};

const bench_workload bench_fault = {"fault", 1, 0, variants, BENCH_COUNT(variants), NULL, 0, false};
