#include "pool/pool_books.h"

#include <string.h>

void pool_books_open(xf_pool *pool)
{
    pool->sealed = os_shm_is_sealed(&pool->segment.books);
    pool->fixed = *pool->segment.head;
}

static void restore_head(xf_pool *pool)
{
    books_head *head = pool->segment.head;

    head->magic = pool->fixed.magic;
    head->slot_count = pool->fixed.slot_count;
    head->memory_limit = pool->fixed.memory_limit;
    head->tasks_per_worker = pool->fixed.tasks_per_worker;
    head->initializer = pool->fixed.initializer;
    head->finalizer = pool->fixed.finalizer;
    head->depth_limit = pool->fixed.depth_limit;
    head->idle_ms = pool->fixed.idle_ms;
    atomic_store(&head->shutdown, pool->shutdown);
    atomic_store(&head->spin_us, atomic_load(&pool->spin_us));
    atomic_store(&head->slots_used, pool->slots_used);
    atomic_store(&head->pages_taken, atomic_load(&pool->pages.taken));
    for (int i = 0; i < SEGMENT_PRIORITIES; i++)
        atomic_store(&head->rings[i].tail, pool->ring_tails[i]);
}

static void restore_orders(const xf_pool *pool)
{
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        const worker_handle *worker = &pool->workers[i];
        worker_order *order = pool_state_order(worker);
        atomic_store(&order->stop_serial, worker->stop_serial);
        atomic_store(&order->stop_intent, worker->stop_intent);
        atomic_store(&order->retire, worker->retiring);
    }
}

static void restore_tasks(const xf_pool *pool)
{
    for (uint32_t i = 0; i < pool->task_count; i++)
        strcpy(pool->segment.tasks[i].name, pool->tasks[i]->name);
}

/* Entries that workers may come to name jobs that there are. */
static void restore_entries(const xf_pool *pool, int priority)
{
    uint64_t head = atomic_load(&pool->segment.shared->rings[priority].head), end = pool->ring_ends[priority];
    uint64_t from = head > pool->ring_heads[priority] && head <= end ? head : pool->ring_heads[priority];

    for (uint64_t at = from; at < end; at++) {
        _Atomic uint32_t *entry = &pool->segment.ring_entries[priority][at % SEGMENT_RING];
        if (atomic_load(entry) >= pool->job_count)
            atomic_store(entry, 0);
    }
}

/* The last entry of each open job in the ring, and its plan; a job that no future is for is not active. */
static void restore_jobs(const xf_pool *pool)
{
    for (uint32_t i = 0; i < pool->job_count; i++) {
        const xf_future *future = pool->futures[i];
        job *job = &pool->segment.jobs[i];
        atomic_store(&job->progress, future ? JOB_ACTIVE | (future->closing ? JOB_CLOSING : 0) : 0);
        if (!future)
            continue;
        job->plan = future->plan;
        atomic_store(&pool->segment.ring_entries[future->priority][future->ring_entry % SEGMENT_RING], i);
    }
}

void pool_books_restore(xf_pool *pool)
{
    if (pool->sealed || pool->inline_worker)
        return;
    restore_head(pool);
    restore_orders(pool);
    restore_tasks(pool);
    for (int i = 0; i < SEGMENT_PRIORITIES; i++)
        restore_entries(pool, i);
    restore_jobs(pool);
}
