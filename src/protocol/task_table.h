/* The task table. */
#ifndef TASK_H
#define TASK_H

#include "crossfork/task.h"

#include <stdbool.h>
#include <stdint.h>

/* From xf_main on: what is registered later would be unknown to a child that is executed anew, and so is refused. */
void task_table_close(void);

/* Whether that was: whether the program called xf_main. */
bool task_table_is_closed(void);

/* Whether the task can be started, in parent and child alike: 0, XF_ENOTASK, XF_EDUPTASK. */
int task_table_check(const xf_task *task);

/* A number that tells two tables apart by the names and sizes in them. */
uint64_t task_table_hash(void);

/* Where xf_writer_put appends; starts as {0}. */
struct xf_writer {
    char *data;
    size_t size;
    size_t room;
};

void writer_free(xf_writer *writer);

/* Run a codec's functions; XF_ECODEC with a detail when they fail.
 *   whose  "a queue", for the detail. */
int codec_encode(const xf_codec *codec, const char *whose, const void *object, xf_writer *writer);
int codec_decode(const xf_codec *codec, const char *whose, const void *data, size_t size, void **object);

/* The same for a task. */
int codec_encode_for(const xf_task *task, const xf_codec *codec, const void *object, xf_writer *writer);
int codec_decode_for(const xf_task *task, const xf_codec *codec, const void *data, size_t size, void **object);

#endif
