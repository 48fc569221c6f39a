#include "protocol/task_table.h"

#include "base/error.h"
#include "os/identity.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The state of a task: one of these, and above them what stands for the copy of this library that has set it. */
enum { TASK_UNREGISTERED, TASK_REGISTERED, TASK_DUPLICATE, TASK_LATE, TASK_STATES };

static xf_task *table;
static xf_task *duplicates; /* tasks whose names others had in the table */
static bool closed;

void task_table_close(void)
{
    closed = true;
}

bool task_table_is_closed(void)
{
    return closed;
}

/* A number for this copy of the library, a multiple of TASK_STATES: a shared library of the program may have another
 * copy linked into it, whose pages are elsewhere. */
static unsigned copy_number(void)
{
    return (unsigned)((uintptr_t)&table / 4096) * TASK_STATES;
}

static void set_state(xf_task *task, unsigned state)
{
    task->reserved.state = (int)(copy_number() + state);
}

static bool has_state(const xf_task *task, unsigned state)
{
    return (unsigned)task->reserved.state == copy_number() + state;
}

static xf_task *find_in(xf_task *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0)
        list = list->reserved.next;
    return list;
}

/* ---- Two tasks of one name ------------------------------------------------------------------- */

enum { PLACE_SIZE = 200 };

static const char *last_component(const char *path)
{
    const char *last = path;

    for (; *path; path++)
        if (*path == '/' || *path == '\\')
            last = path + 1;
    return last;
}

/* Where a task is: "square.c:12 in libshapes.so", or "libshapes.so+0x1139" where it does not say so itself. */
static void describe_place(const xf_task *task, char place[PLACE_SIZE])
{
    char module[1024] = "";
    uint64_t offset = 0;
    const char *name = module;

    if (os_self_locate((uintptr_t)task->entry, module, sizeof module, &offset))
        name = last_component(module);
    if (!task->where)
        snprintf(place, PLACE_SIZE, "%.100s+0x%llx", name, (unsigned long long)offset);
    else if (*name)
        snprintf(place, PLACE_SIZE, "%.90s in %.100s", task->where, name);
    else
        snprintf(place, PLACE_SIZE, "%s", task->where);
}

static int refuse_duplicate(const xf_task *task)
{
    const xf_task *first = find_in(table, task->name);
    const xf_task *second = task == first ? find_in(duplicates, task->name) : task;
    char places[2][PLACE_SIZE];

    describe_place(first, places[0]);
    describe_place(second, places[1]);
    return error_detail(XF_EDUPTASK, "two tasks are called %.80s: %s, and %s", task->name, places[0], places[1]);
}

/* ---- The table ------------------------------------------------------------------------------- */

int xf_task_register(xf_task *task)
{
    xf_task *other;

    if (!task->name || !*task->name || strlen(task->name) > XF_TASK_NAME_MAX)
        return error_detail(XF_EINVAL, "a task's name has 1 to %d bytes", XF_TASK_NAME_MAX);
    if (!task->entry)
        return error_detail(XF_EINVAL, "task %s has no entry", task->name);
    if (has_state(task, TASK_REGISTERED))
        return 0;
    if (has_state(task, TASK_DUPLICATE))
        return refuse_duplicate(task);
    if (closed) {
        set_state(task, TASK_LATE);
        return error_detail(XF_ESTATE, "task %s is registered after xf_main, so children would not know it",
                            task->name);
    }
    other = find_in(table, task->name);
    set_state(task, other ? TASK_DUPLICATE : TASK_REGISTERED);
    task->reserved.next = other ? duplicates : table;
    *(other ? &duplicates : &table) = task;
    if (!other)
        return 0;
    set_state(other, TASK_DUPLICATE);
    return refuse_duplicate(task);
}

xf_task *xf_task_find(const char *name)
{
    xf_task *task = find_in(table, name);

    if (!task)
        error_detail(XF_ENOTASK,
                     "no task %.80s is registered: of a static library, the linker takes what the program refers to, "
                     "as by XF_USE(%.80s)",
                     name, name);
    return task;
}

int task_table_check(const xf_task *task)
{
    const char *name = task->name ? task->name : "(without a name)";

    if (has_state(task, TASK_REGISTERED))
        return 0;
    if (has_state(task, TASK_DUPLICATE))
        return refuse_duplicate(task);
    if (has_state(task, TASK_LATE))
        return error_detail(XF_ENOTASK, "task %s was registered after xf_main, so children do not know it", name);
    if (task->reserved.state == TASK_UNREGISTERED)
        return error_detail(XF_ENOTASK, "task %s was not registered", name);
    return error_detail(XF_ENOTASK,
                        "task %s was registered with another copy of crossfork: its library and the program have to "
                        "use one, which is shared",
                        name);
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
