/* Two producers put numbers into a queue, three consumers get them and add them up.
 * The queue holds 16 messages, so producers wait for consumers when they are ahead.  It is handed over as an xf_ref: a
 * few bytes in a task's input, which open the same queue in every process. */
#include <crossfork.h>

#include <inttypes.h>
#include <stdio.h>

enum { PRODUCERS = 2, CONSUMERS = 3, NUMBERS = 2000 };

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

typedef struct sum {
    int64_t count, total;
} sum;

/* Gets until the queue is closed and empty, which is what XF_EEND says. */
XF_TASK(consume, const xf_ref *in, sum *out)
{
    xf_queue *queue;
    int64_t number;
    size_t size;
    int rc = xf_queue_open(&queue, in);

    if (rc < 0)
        return xf_fail(call, rc, "no queue: %s", xf_error_detail());
    while ((rc = xf_queue_get_into(queue, &number, sizeof number, &size, XF_FOREVER)) == 0) {
        out->count++;
        out->total += number;
    }
    xf_queue_free(queue);
    return rc == XF_EEND ? 0 : rc;
}

static int start_all(xf_process **producers, xf_process **consumers, const xf_ref *queue)
{
    int rc = 0;

    for (int i = 0; i < CONSUMERS && rc == 0; i++)
        rc = xf_process_start(&consumers[i], &consume, queue, sizeof *queue, NULL);
    for (int i = 0; i < PRODUCERS && rc == 0; i++) {
        range range = {.queue = *queue, .first = i * NUMBERS + 1, .last = (i + 1) * NUMBERS};
        rc = xf_process_start(&producers[i], &produce, &range, sizeof range, NULL);
    }
    return rc;
}

/* Waits for a process and gives its result; when it has none, prints why, and returns NULL. */
static const void *result_of(xf_process *process)
{
    const void *result;

    xf_process_join(process, NULL, XF_FOREVER);
    result = xf_process_result(process, NULL);
    if (!result)
        xf_report_print(xf_process_report(process), stderr);
    return result;
}

static int run(xf_queue *queue, xf_process **producers, xf_process **consumers)
{
    int64_t put = 0, got = 0, total = 0;
    xf_ref ref;
    int rc = xf_queue_ref(queue, &ref);

    if (rc == 0)
        rc = start_all(producers, consumers, &ref);
    if (rc < 0)
        return rc;
    for (int i = 0; i < PRODUCERS; i++) {
        const int64_t *count = result_of(producers[i]);
        put += count ? *count : 0;
    }
    xf_queue_close(queue); /* nothing more will come: what is in it can still be got */
    for (int i = 0; i < CONSUMERS; i++) {
        const sum *sum = result_of(consumers[i]);
        got += sum ? sum->count : 0;
        total += sum ? sum->total : 0;
    }
    printf("put %" PRId64 ", got %" PRId64 ", sum %" PRId64 "\n", put, got, total);
    return put == got ? 0 : XF_EFAILED;
}

int main(int argc, char **argv)
{
    xf_process *producers[PRODUCERS] = {NULL}, *consumers[CONSUMERS] = {NULL};
    xf_queue *queue = NULL;
    int rc;

    xf_main(argc, argv);
    rc = xf_queue_create(&queue, &(xf_queue_options){.capacity = 16});
    if (rc == 0)
        rc = run(queue, producers, consumers);
    if (rc < 0)
        fprintf(stderr, "producer_consumer: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    for (int i = 0; i < PRODUCERS; i++)
        xf_process_free(producers[i]); /* NULL is harmless, and one that still runs is ended */
    for (int i = 0; i < CONSUMERS; i++)
        xf_process_free(consumers[i]);
    xf_queue_free(queue);
    return rc < 0;
}
