#include "linearizability.h"

#include "support.h"
#include "unit.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIED = 1 << 16 };

#ifdef __x86_64__
const bool history_can_step = true;
#else
const bool history_can_step = false;
#endif

history *shared;

void history_open(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
}

long history_turns(long otherwise)
{
    const char *text = getenv("XF_HISTORIES");

    return text ? atol(text) : otherwise;
}

uint64_t history_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

void history_begin(operation *operation)
{
    atomic_store(&operation->begin, atomic_fetch_add(&shared->clock, 1) + 1);
}

void history_end(operation *operation)
{
    atomic_store(&operation->end, atomic_fetch_add(&shared->clock, 1) + 1);
}

operation *history_own(void)
{
    operation *own = &shared->operations[HISTORY_WORKERS * HISTORY_TURNS + shared->count++];

    assert_true(own < shared->operations + HISTORY_MAX);
    own->who = HISTORY_WORKERS;
    return own;
}

/* ---- Workers --------------------------------------------------------------------------------- */

static void await_go(uint32_t part)
{
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->go) < part)
        sched_yield();
}

static void await_ready(uint32_t count)
{
    while (atomic_load(&shared->ready) < count)
        sched_yield();
}

/* A worker that is stepped stops first. */
static _Noreturn void work(const plan *plan, int number)
{
    bool stepped = plan->fate != FATE_NONE && number == 0;
    uint64_t seed = plan->seed * HISTORY_WORKERS + (uint64_t)number;

    if (plan->enter)
        plan->enter(plan->arg);
    if (!stepped)
        await_go(1);
    else if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(2);
    else
        raise(SIGSTOP);
    for (int i = 0; i < HISTORY_TURNS; i++) {
        operation *operation = &shared->operations[number * HISTORY_TURNS + i];
        if (i == HISTORY_TURNS / 2 && !stepped)
            await_go(2);
        operation->who = number;
        plan->operate(plan->arg, operation, &seed);
    }
    history_begin(&shared->deaths[number]);
    _exit(0);
}

static void start_workers(const plan *plan, pid_t workers[HISTORY_WORKERS])
{
    for (int i = 0; i < HISTORY_WORKERS; i++) {
        workers[i] = fork();
        assert_true(workers[i] >= 0);
        if (workers[i] == 0)
            work(plan, i);
    }
}

/* Lets a worker run for so many instructions; false when it has ended. */
static bool step(pid_t pid, long steps)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (; steps > 0 && WIFSTOPPED(status); steps--) {
        assert_true(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    return WIFSTOPPED(status);
}

static void reap(int number, pid_t pid)
{
    if (pid > 0)
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    history_end(&shared->deaths[number]);
}

static void end_first(pid_t pid, fate fate)
{
    if (fate == FATE_GOES_ON) {
        assert_true(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
    } else {
        if (!atomic_load(&shared->deaths[0].begin))
            history_begin(&shared->deaths[0]);
        kill(pid, SIGKILL);
    }
    reap(0, pid);
}

/* The other workers do the first half of their operations, the first worker runs for so many instructions, and then the
 * other workers do the second half. */
static void run_stepped(const plan *plan, const pid_t workers[HISTORY_WORKERS])
{
    bool runs;

    atomic_store(&shared->go, 1);
    await_ready(2 * (HISTORY_WORKERS - 1));
    runs = step(workers[0], plan->steps);
    if (!runs)
        reap(0, 0);
    else if (plan->fate == FATE_KILLED_BEFORE)
        end_first(workers[0], plan->fate);
    atomic_store(&shared->go, 2);
    for (int i = 1; i < HISTORY_WORKERS; i++)
        reap(i, workers[i]);
    if (runs && plan->fate != FATE_KILLED_BEFORE)
        end_first(workers[0], plan->fate);
}

void history_run(const plan *plan)
{
    pid_t workers[HISTORY_WORKERS];

    memset(shared, 0, sizeof *shared);
    for (int i = 0; i < HISTORY_WORKERS; i++)
        shared->deaths[i].who = i;
    start_workers(plan, workers);
    if (plan->fate != FATE_NONE) {
        run_stepped(plan, workers);
        return;
    }
    await_ready(HISTORY_WORKERS);
    atomic_store(&shared->go, 2);
    for (int i = 0; i < HISTORY_WORKERS; i++)
        reap(i, workers[i]);
}

/* ---- Judging --------------------------------------------------------------------------------- */

typedef struct search {
    const model *model;
    int count;
    const operation *operations[HISTORY_MAX + HISTORY_WORKERS];
    uint64_t tried[TRIED];
} search;

typedef struct state {
    uint64_t done; /* a bit for each operation */
    uint8_t model[HISTORY_STATE];
} state;

static uint64_t end_of(const operation *operation)
{
    uint64_t end = operation->end;

    if (end == 0 && operation->who < HISTORY_WORKERS)
        end = shared->deaths[operation->who].end;
    return end ? end : UINT64_MAX;
}

bool history_overlap(const operation *one, const operation *other)
{
    return other->begin < end_of(one) && one->begin < end_of(other);
}

bool history_any(bool (*is_one)(const void *arg, const operation *operation), const void *arg)
{
    for (int i = 0; i < HISTORY_MAX; i++)
        if (shared->operations[i].begin && is_one(arg, &shared->operations[i]))
            return true;
    return false;
}

/* Returns whether the search has met the state before; false when there was no room to remember it. */
static bool was_tried(search *search, const state *state)
{
    uint64_t key = (state->done + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at;

    for (int i = 0; i < HISTORY_STATE; i++)
        key = (key ^ state->model[i]) * UINT64_C(0x100000001B3) + (uint64_t)i;
    key ^= key >> 29;
    key += key == 0;
    at = key % TRIED;
    if (search->tried[at] == key)
        return true;
    search->tried[at] = key;
    return false;
}

/* Returns the earliest end of an operation that is not done yet; UINT64_MAX when all that ended are done. */
static uint64_t first_end(const search *search, const state *state)
{
    uint64_t first = UINT64_MAX;

    for (int i = 0; i < search->count; i++)
        if (!(state->done >> i & 1) && search->operations[i]->end && search->operations[i]->end < first)
            first = search->operations[i]->end;
    return first;
}

/* Returns whether the operations that are not done yet have an order. */
static bool find_order(search *search, const state *before)
{
    uint64_t first = first_end(search, before);

    if (was_tried(search, before))
        return false;
    if (first == UINT64_MAX)
        return true;
    for (int i = 0; i < search->count; i++) {
        const operation *next = search->operations[i];
        if (before->done >> i & 1 || next->begin > first)
            continue;
        for (int choice = 0; choice < (next->end ? 1 : 2); choice++) {
            state after = *before;
            after.done |= UINT64_C(1) << i;
            if (search->model->apply(search->model, next, after.model, choice) && find_order(search, &after))
                return true;
        }
    }
    return false;
}

static void print_history(const search *search)
{
    for (int i = 0; i < search->count; i++) {
        const operation *operation = search->operations[i];
        print_message("%3llu to %3llu: %d: %s %llu: %d\n", (unsigned long long)operation->begin,
                      (unsigned long long)operation->end, operation->who, search->model->kinds[operation->kind],
                      (unsigned long long)operation->value, operation->rc);
    }
}

static void collect(search *search, const operation *operations, int count)
{
    for (int i = 0; i < count; i++)
        if (operations[i].begin)
            search->operations[search->count++] = &operations[i];
}

bool history_is_in_order(const model *model, bool loud)
{
    static search search;
    state first = {0};
    bool found;

    memset(&search, 0, sizeof search);
    search.model = model;
    collect(&search, shared->operations, HISTORY_MAX);
    if (model->mortal)
        collect(&search, shared->deaths, HISTORY_WORKERS);
    found = find_order(&search, &first);
    if (!found && loud)
        print_history(&search);
    return found;
}
