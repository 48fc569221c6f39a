#include "protocol/task_table.h"

#include "base/error.h"

#include <stdbool.h>
#include <string.h>

enum { TASK_UNREGISTERED, TASK_REGISTERED, TASK_DUPLICATE, TASK_LATE };

static xf_task *table;
static bool closed;

void task_table_close(void)
{
    closed = true;
}

bool task_table_is_closed(void)
{
    return closed;
}

int xf_task_register(xf_task *task)
{
    xf_task *other;

    if (!task->name || !*task->name || strlen(task->name) > XF_TASK_NAME_MAX)
        return error_detail(XF_EINVAL, "a task's name has 1 to %d bytes", XF_TASK_NAME_MAX);
    if (!task->entry)
        return error_detail(XF_EINVAL, "task %s has no entry", task->name);
    if (task->reserved.state == TASK_REGISTERED)
        return 0;
    if (closed) {
        task->reserved.state = TASK_LATE;
        return error_detail(XF_ESTATE, "task %s is registered after xf_main, so children would not know it",
                            task->name);
    }
    other = xf_task_find(task->name);
    if (other) {
        other->reserved.state = TASK_DUPLICATE;
        task->reserved.state = TASK_DUPLICATE;
        return error_detail(XF_EDUPTASK, "task %s is registered twice", task->name);
    }
    task->reserved.state = TASK_REGISTERED;
    task->reserved.next = table;
    table = task;
    return 0;
}

xf_task *xf_task_find(const char *name)
{
    xf_task *task = table;

    while (task && strcmp(task->name, name) != 0)
        task = task->reserved.next;
    return task;
}

int task_table_check(const xf_task *task)
{
    const char *name = task->name ? task->name : "(without a name)";

    if (task->reserved.state == TASK_DUPLICATE)
        return error_detail(XF_EDUPTASK, "two tasks are called %s", name);
    if (task->reserved.state == TASK_LATE)
        return error_detail(XF_ENOTASK, "task %s was registered after xf_main, so children do not know it", name);
    if (task->reserved.state != TASK_REGISTERED)
        return error_detail(XF_ENOTASK, "task %s was not registered", name);
    return 0;
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_bytes(uint64_t seed, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        seed = (seed ^ bytes[i]) * 0x100000001B3U;
    return seed;
}

/* The finalizer of splitmix64, https://prng.di.unimi.it/splitmix64.c: a sum of FNV hashes alone would not change when
 * two tasks exchange their sizes. */
static uint64_t mix_hash(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
    return value ^ (value >> 31);
}

uint64_t task_table_hash(void)
{
    uint64_t sum = 0;

    /* The sum does not depend on the order of registration. */
    for (const xf_task *task = table; task; task = task->reserved.next) {
        uint64_t sizes[2] = {task->input_size, task->output_size};
        sum +=
            mix_hash(hash_bytes(hash_bytes(0xCBF29CE484222325U, task->name, strlen(task->name)), sizes, sizeof sizes));
    }
    return sum;
}
