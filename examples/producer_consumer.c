/* Two producers put numbers into a queue, three consumers get them and add them up.
 * The queue holds 16 messages, so producers wait for consumers when they are ahead.  It is handed over as an xf_ref: a
 * few bytes in a task's input, which open the same queue in every process.
 * The program waits for all processes at once (xf_wait) and not for one after the other: when the consumers have died,
 * producers that wait for room in the queue would never end.  "producer_consumer crash" shows it. */
#include <crossfork.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRODUCERS = 2, CONSUMERS = 3, ALL = PRODUCERS + CONSUMERS, NUMBERS = 2000 };

typedef struct range {
    xf_ref queue;
    int64_t first, last;
} range;

XF_TASK(produce, const range *in, int64_t *out)
{
    xf_queue *queue;
    int rc = xf_queue_open(&queue, &in->queue);

    if (rc < 0)
        return xf_fail(call, rc, "no queue: %s", xf_error_detail());
    for (int64_t number = in->first; number <= in->last && rc == 0; number++) {
        rc = xf_queue_put(queue, &number, sizeof number, XF_FOREVER);
        *out += rc == 0;
    }
    xf_queue_free(queue);
    return rc;
}

typedef struct supply {
    xf_ref queue;
    int crashes; /* at the first number */
} supply;

typedef struct sum {
    int64_t count, total;
} sum;

/* Gets until the queue is closed and empty, which is what XF_EEND says. */
XF_TASK(consume, const supply *in, sum *out)
{
    xf_queue *queue;
    int64_t number;
    size_t size;
    int rc = xf_queue_open(&queue, &in->queue);

    if (rc < 0)
        return xf_fail(call, rc, "no queue: %s", xf_error_detail());
    while ((rc = xf_queue_get_into(queue, &number, sizeof number, &size, XF_FOREVER)) == 0) {
        if (in->crashes)
            abort();
        out->count++;
        out->total += number;
    }
    xf_queue_free(queue);
    return rc == XF_EEND ? 0 : rc;
}

/* The producers come first. */
static int start_all(xf_process **processes, const supply *supply)
{
    int rc = 0;

    for (int i = 0; i < PRODUCERS && rc == 0; i++) {
        range range = {.queue = supply->queue, .first = i * NUMBERS + 1, .last = (i + 1) * NUMBERS};
        rc = xf_process_start(&processes[i], &produce, &range, sizeof range, NULL);
    }
    for (int i = PRODUCERS; i < ALL && rc == 0; i++)
        rc = xf_process_start(&processes[i], &consume, supply, sizeof *supply, NULL);
    return rc;
}

/* Waits until all have ended.  Nothing comes into the queue any more when the last producer has ended, and nobody
 * takes anything out when the last consumer has ended, however they ended: in either case the others are told by
 * closing it. */
static int wait_for_all(xf_queue *queue, xf_process **processes)
{
    xf_wait_item items[ALL];
    int left[2] = {PRODUCERS, CONSUMERS};

    for (int i = 0; i < ALL; i++)
        items[i] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = processes[i]};
    while (left[0] + left[1] > 0) {
        int rc = xf_wait(items, ALL, XF_FOREVER);
        if (rc < 0)
            return rc;
        for (int i = 0; i < ALL; i++) {
            if (items[i].kind == XF_WAIT_NOTHING || !items[i].ready)
                continue;
            items[i].kind = XF_WAIT_NOTHING;
            if (--left[i >= PRODUCERS] == 0)
                xf_queue_close(queue); /* what is in it can still be got */
        }
    }
    return 0;
}

/* The result of a process that has ended; when it has none, prints why, and returns NULL. */
static const void *result_of(xf_process *process)
{
    const void *result = xf_process_result(process, NULL);

    if (!result)
        xf_report_print(xf_process_report(process), stderr);
    return result;
}

static int add_up(xf_process **processes)
{
    int64_t put = 0, got = 0, total = 0;

    for (int i = 0; i < PRODUCERS; i++) {
        const int64_t *count = result_of(processes[i]);
        put += count ? *count : 0;
    }
    for (int i = PRODUCERS; i < ALL; i++) {
        const sum *sum = result_of(processes[i]);
        got += sum ? sum->count : 0;
        total += sum ? sum->total : 0;
    }
    printf("put %" PRId64 ", got %" PRId64 ", sum %" PRId64 "\n", put, got, total);
    return got == (int64_t)PRODUCERS * NUMBERS ? 0 : XF_EFAILED;
}

int main(int argc, char **argv)
{
    xf_process *processes[ALL] = {NULL};
    xf_queue *queue = NULL;
    supply supply = {.crashes = argc > 1 && strcmp(argv[1], "crash") == 0};
    int rc;

    xf_main(argc, argv);
    rc = xf_queue_create(&queue, &(xf_queue_options){.capacity = 16});
    if (rc == 0)
        rc = xf_queue_ref(queue, &supply.queue);
    if (rc == 0)
        rc = start_all(processes, &supply);
    if (rc == 0)
        rc = wait_for_all(queue, processes);
    if (rc == 0)
        rc = add_up(processes);
    if (rc < 0)
        fprintf(stderr, "producer_consumer: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    for (int i = 0; i < ALL; i++)
        xf_process_free(processes[i]); /* NULL is harmless, and one that still runs is ended */
    xf_queue_free(queue);
    return rc < 0;
}
