/* A pipeline: `pipeline [LINES]`.  One process makes lines, three work on them, and the program collects them in order.
 *
 *     make  --raw-->  work (3)  --ready-->  the program
 *
 * Queues are bounded, so a stage that is ahead waits for the next one.  A stage that ends says so by closing the queue
 * that it fills; the program watches all stages while it collects, so that one that dies does not leave it waiting. */
#include <crossfork.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 3, PROCESSES = 1 + WORKERS, CAPACITY = 32, TEXT = 60 };

typedef struct stage {
    xf_ref raw, ready;
    int lines;
} stage;

typedef struct line {
    int number;
    char text[TEXT];
} line;

/* Opens the queues that a stage reads from and writes to; either may be NULL. */
static int open_queues(xf_call *call, const stage *stage, xf_queue **raw, xf_queue **ready)
{
    int rc = xf_queue_open(raw, &stage->raw);

    if (rc == 0 && ready)
        rc = xf_queue_open(ready, &stage->ready);
    return rc < 0 ? xf_fail(call, rc, "no queue: %s", xf_error_detail()) : 0;
}

XF_TASK_IN(make, const stage *in)
{
    xf_queue *raw = NULL;
    int rc = open_queues(call, in, &raw, NULL);

    for (int i = 0; i < in->lines && rc == 0; i++) {
        line line = {.number = i};
        snprintf(line.text, sizeof line.text, "line %d of some text", i);
        rc = xf_queue_put(raw, &line, sizeof line, XF_FOREVER);
    }
    if (raw)
        xf_queue_close(raw);
    xf_queue_free(raw);
    return rc;
}

XF_TASK_IN(work, const stage *in)
{
    xf_queue *raw = NULL, *ready = NULL;
    line line;
    size_t size;
    int rc = open_queues(call, in, &raw, &ready);

    while (rc == 0 && (rc = xf_queue_get_into(raw, &line, sizeof line, &size, XF_FOREVER)) == 0) {
        for (char *at = line.text; *at; at++)
            *at = (char)toupper((unsigned char)*at);
        rc = xf_queue_put(ready, &line, sizeof line, XF_FOREVER);
    }
    xf_queue_free(ready);
    xf_queue_free(raw);
    return rc == XF_EEND ? 0 : rc;
}

/* Collects until every stage has ended and the queue is empty.  Returns how many lines came, or an error. */
static int collect(xf_process **processes, xf_queue *ready, line *lines, int count)
{
    xf_wait_item items[PROCESSES + 1] = {{.kind = XF_WAIT_GET, .queue = ready}};
    int running = PROCESSES, got = 0, rc = 0;
    line line;
    size_t size;

    for (int i = 0; i < PROCESSES; i++)
        items[1 + i] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = processes[i]};
    while (rc != XF_EEND) {
        rc = xf_wait(items, PROCESSES + 1, XF_FOREVER);
        if (rc < 0)
            return rc;
        for (int i = 1; i <= PROCESSES; i++)
            if (items[i].kind != XF_WAIT_NOTHING && items[i].ready) {
                items[i].kind = XF_WAIT_NOTHING;
                if (xf_process_report(items[i].process)->status.kind != XF_END_DONE)
                    xf_report_print(xf_process_report(items[i].process), stderr);
                if (--running == 0)
                    xf_queue_close(ready);
            }
        while ((rc = xf_queue_get_into(ready, &line, sizeof line, &size, 0)) == 0)
            if (line.number >= 0 && line.number < count) {
                lines[line.number] = line;
                got++;
            }
    }
    return got;
}

static int run(xf_process **processes, xf_queue *raw, xf_queue *ready, int count)
{
    stage stage = {.lines = count};
    line *lines = calloc((size_t)count + 1, sizeof *lines);
    int rc = lines ? xf_queue_ref(raw, &stage.raw) : XF_ENOMEM;

    if (rc == 0)
        rc = xf_queue_ref(ready, &stage.ready);
    for (int i = 0; i < PROCESSES && rc == 0; i++)
        rc = xf_process_start(&processes[i], i == 0 ? &make : &work, &stage, sizeof stage, NULL);
    if (rc == 0)
        rc = collect(processes, ready, lines, count);
    if (rc >= 0) {
        printf("%d of %d lines, the last one: %s\n", rc, count, count ? lines[count - 1].text : "");
        rc = rc == count ? 0 : XF_EFAILED;
    }
    free(lines);
    return rc;
}

int main(int argc, char **argv)
{
    const xf_queue_options options = {.capacity = CAPACITY, .message_size = sizeof(line)};
    xf_process *processes[PROCESSES] = {NULL};
    xf_queue *raw = NULL, *ready = NULL;
    int rc;

    xf_main(argc, argv);
    rc = xf_queue_create(&raw, &options);
    if (rc == 0)
        rc = xf_queue_create(&ready, &options);
    if (rc == 0)
        rc = run(processes, raw, ready, argc > 1 ? atoi(argv[1]) : 5000);
    if (rc < 0)
        fprintf(stderr, "pipeline: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    for (int i = 0; i < PROCESSES; i++)
        xf_process_free(processes[i]);
    xf_queue_free(ready);
    xf_queue_free(raw);
    return rc < 0;
}
