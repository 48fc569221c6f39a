/* Goal: no process sleeps for ever: neither one that waits for a job, nor a worker while a chunk is queued.
 *
 * The ring, the idle workers and the done words of docs/design/claim.md: JOBS jobs of CHUNKS chunks of one item, WORKERS
 * workers, the parent (its steps are serialised by its lock), and threads of the parent that wait for the jobs.  Claims are as
 * in claim.pml, without the steps inside of a chunk.  Every access to shared memory is a step, a futex call is two, and a
 * worker may be killed between any two.
 *
 *   KILLS    workers killed, at any step
 *   CANCELS  jobs of which the parent cancels the queued chunks
 *   WAITERS  that wait for each job; with 0 the judge checks at the end whether all is done
 *   HANGS    items that never end: the only claim then is that no worker sleeps beside a queued chunk
 *   NOT_REFILLED  no new worker takes the place of a dead one
 *   RESTLESS idle workers do not sleep but see at once that something was pushed
 *   BUG_...  seeded faults: each has to be found */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef JOBS
#define JOBS 1
#endif
#ifndef CHUNKS
#define CHUNKS 2
#endif
#ifndef WAITERS
#define WAITERS 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef HANGS
#define HANGS 0
#endif

/* The claim word; claim.pml has the epoch of an owner and the ended items. */
#define QUEUED 0
#define CLAIMED(slot) (1 + (slot))
#define DONE(slot) (8 + (slot))
#define PARENT WORKERS

#define CELL(job, chunk) ((job) * CHUNKS + (chunk))
#define COUNTER(job, slot) ((job) * (WORKERS + 1) + (slot))
#define RING (JOBS + KILLS)

#define ALIVE 0
#define KILLED 1
#define DEAD 2
#define GONE 3

/* Shared memory. */
byte word[JOBS * CHUNKS];
byte finished[JOBS * (WORKERS + 1)];
byte intent[WORKERS]; /* a cell */
byte ring[RING];      /* never full here: each job is pushed once, and once more for each death */
byte head;
byte tail;
byte idle;          /* a bit for each worker that is about to sleep */
byte wake_word[WORKERS]; /* an idle worker sleeps on it */
byte done[JOBS];    /* waiters sleep on it.  Bit 0: one sleeps; above: generation */

/* The system: which processes live, and which sleep in the kernel. */
byte process[WORKERS];
bool worker_asleep[WORKERS];
bool waiter_asleep[JOBS * WAITERS + 1];

byte submitted;
byte kills = KILLS;
byte cancels = CANCELS;
byte hangs = HANGS;

/* A futex call: this, and then waiting for asleep == 0. */
inline fall_asleep(asleep, address, value)
{
    atomic {
        if
        :: address == (value) -> asleep = 1
        :: else
        fi
    }
}

inline wake_waiters(j)
{
    d_step {
        i = 0;
        do
        :: i < WAITERS -> waiter_asleep[j * WAITERS + i] = 0; i++
        :: else -> break
        od;
        i = 0
    }
}

/* total = the finished chunks of job j, each counter read by itself. */
inline sum(j)
{
    total = finished[COUNTER(j, 0)];
#if WORKERS > 1
    total = total + finished[COUNTER(j, 1)];
#endif
#if WORKERS > 2
    total = total + finished[COUNTER(j, 2)];
#endif
    atomic { total = total + finished[COUNTER(j, PARENT)]; assert(total <= CHUNKS) }
}

/* The process that finishes the last chunk wakes the waiters; without waiters it makes no call.  If another process has cleared
 * the bit meanwhile, that process wakes them, or it dies and the parent wakes them. */
inline end_job(j)
{
    seen = done[j];
    if
    :: seen & 1 ->
        atomic {
            if
            :: done[j] == seen -> done[j] = seen + 1; ok = 1
            :: else
            fi;
            seen = 0
        };
        if
        :: ok -> wake_waiters(j)
        :: else
        fi
    :: else
    fi
}

/* ---- worker ---------------------------------------------------------------------------------------------------------- */

/* c = a chunk of job j that is queued, or CHUNKS. */
inline scan(j)
{
    do
    :: atomic { word[CELL(j, c)] != QUEUED -> c++; if :: c == CHUNKS -> break :: else fi }
    :: atomic { word[CELL(j, c)] == QUEUED -> break }
    od
}

#define RESET atomic { h = 0; j = 0; c = 0; i = 0; seen = 0; total = 0; ok = 0 }

/* Locals are reset as soon as they are not needed any more, in the same step, to have fewer states. */
proctype worker(byte me)
{
    byte h, j, c, i, seen, total;
    bool ok;

born:
    {
        h = 0;
look:
        h = head;
        atomic {
            if
            :: h == tail -> h = 0; goto rest
            :: else
            fi
        };
        j = ring[h % RING];
        scan(j);
        if
        :: c < CHUNKS -> h = 0; goto claim
        :: else
        fi;
        atomic {
            if
            :: head == h -> head = h + 1
            :: else
            fi;
            RESET;
            goto look
        };

claim:
        intent[me] = CELL(j, c);
        atomic {
            if
            :: word[CELL(j, c)] == QUEUED -> word[CELL(j, c)] = CLAIMED(me)
            :: else -> RESET; goto look
            fi
        };
#if HANGS > 0
        if
        :: true
        :: atomic { hangs > 0 -> hangs-- };
end_hang:
            false
        fi;
#endif
        atomic { assert(word[CELL(j, c)] == CLAIMED(me)); word[CELL(j, c)] = DONE(me); c = 0 };
        seen = finished[COUNTER(j, me)];
        atomic { finished[COUNTER(j, me)] = seen + 1; seen = 0 };
#if WAITERS > 0
        scan(j);
        if
        :: c == CHUNKS ->
            c = 0;
            sum(j);
            if
            :: total == CHUNKS -> total = 0; end_job(j)
            :: else
            fi
        :: else
        fi;
#endif
        RESET;
        goto look;

rest:
#ifdef RESTLESS
end_asleep:
        head != tail;
        goto look
#else
#ifndef BUG_WAKE_WORD_READ_LATE
        seen = wake_word[me];
#endif
#ifndef BUG_IDLE_AFTER_CHECK
        idle = idle | (1 << me);
#endif
#ifndef BUG_NO_SECOND_CHECK
        h = head;
        atomic {
            if
            :: h == tail -> h = 0
            :: else -> h = 0; goto rested
            fi
        };
#endif
#ifdef BUG_IDLE_AFTER_CHECK
        idle = idle | (1 << me);
#endif
#ifdef BUG_WAKE_WORD_READ_LATE
        seen = wake_word[me];
#endif
        atomic { fall_asleep(worker_asleep[me], wake_word[me], seen); seen = 0 };
end_asleep:
        worker_asleep[me] == 0;
rested:
        atomic { idle = idle & ~(1 << me); RESET };
        goto look
#endif
    }
#if KILLS > 0
    unless {
        atomic { process[me] == KILLED -> process[me] = DEAD; worker_asleep[me] = 0; RESET }
    };
#ifdef NOT_REFILLED
end_gone:
    false
#else
    process[me] != DEAD;
    goto born
#endif
#endif
}

/* ---- parent ---------------------------------------------------------------------------------------------------------- */

inline wake_worker(w)
{
    wake_word[w]++;
    worker_asleep[w] = 0 /* the futex call */
}

/* Wakes up to n idle workers. */
inline wake_some(n)
{
#ifndef RESTLESS
    do
    :: n > 0 ->
        if
        :: atomic { idle & 1 -> idle = idle & ~1; w = 0 }
#if WORKERS > 1
        :: atomic { idle & 2 -> idle = idle & ~2; w = 1 }
#endif
#if WORKERS > 2
        :: atomic { idle & 4 -> idle = idle & ~4; w = 2 }
#endif
        :: atomic { idle == 0 -> break }
        fi;
        wake_worker(w);
        n--
    :: else -> break
    od;
#endif
    atomic { n = 0; w = 0 }
}

inline wake_all()
{
#ifdef RESTLESS
    skip
#else
    idle = 0;
    do
    :: w < WORKERS -> wake_worker(w); w++
    :: else -> break
    od;
    w = 0
#endif
}

inline push(j)
{
    atomic { assert(tail - head < RING); ring[tail % RING] = j };
    tail++
}

inline submit()
{
    j = submitted;
    submitted++; /* from here on a thread can wait for it */
#ifdef BUG_WAKE_BEFORE_PUSH
    n = CHUNKS;
    wake_some(n);
    push(j);
#else
    push(j);
#ifdef BUG_WAKE_ONE
    n = 1;
#else
    n = CHUNKS;
#endif
    wake_some(n);
#endif
    j = 0
}

/* After a death no process knows which sleepers the dead one had woken, so the parent wakes all. */
inline wake_for_death(j)
{
#if WAITERS == 0
    skip
#elif defined(BUG_DEATH_WAKES_IF_ASKED)
    sum(j);
    if
    :: total == CHUNKS -> end_job(j)
    :: else
    fi;
    total = 0
#else
    atomic { done[j] = (done[j] | 1) + 1 };
    wake_waiters(j)
#endif
}

inline recount(slot)
{
    atomic { c = 0; n = 0 };
    do
    :: c < CHUNKS -> atomic { n = n + (word[CELL(j, c)] == DONE(slot)); c++ }
    :: else -> break
    od;
    atomic { finished[COUNTER(j, slot)] = n; n = 0; c = 0 }
}

/* The item of the dead worker is tried again, or lost. */
inline recover_chunk(slot)
{
    if
    :: word[CELL(j, c)] == CLAIMED(slot) ->
        if
        :: word[CELL(j, c)] = QUEUED; requeued = 1
        :: word[CELL(j, c)] = DONE(PARENT); finished[COUNTER(j, PARENT)]++
        fi
    :: else
    fi
}

inline attend_death(slot)
{
    atomic { j = intent[slot] / CHUNKS; c = intent[slot] % CHUNKS };
#ifdef BUG_PUSH_BEFORE_QUEUED
    if
    :: word[CELL(j, c)] == CLAIMED(slot) -> push(j)
    :: else
    fi;
#endif
    recover_chunk(slot);
    recount(slot);
    if
#ifdef BUG_NO_PUSH_WHEN_LISTED
    :: requeued && (head == tail || ring[head % RING] != j) -> push(j)
#endif
#if !defined(BUG_NO_PUSH_WHEN_LISTED) && !defined(BUG_PUSH_BEFORE_QUEUED)
    :: requeued -> push(j)
#endif
    :: else
    fi;
#ifdef NOT_REFILLED
    atomic { process[slot] = GONE; requeued = 0; j = 0 };
#else
    atomic { process[slot] = ALIVE; requeued = 0; j = 0 };
#endif
#ifndef BUG_DEATH_WAKES_NO_WORKER
    wake_all();
#endif
#ifndef BUG_DEATH_WAKES_NO_WAITER
    do
    :: j < JOBS -> wake_for_death(j); j++
    :: else -> break
    od;
#endif
    atomic { j = 0; seen = 0; ok = 0 }
}

inline cancel()
{
    do
    :: c < CHUNKS ->
        atomic {
            if
            :: word[CELL(j, c)] == QUEUED -> word[CELL(j, c)] = DONE(PARENT); ok = 1
            :: else -> ok = 0
            fi
        };
        if
        :: ok -> finished[COUNTER(j, PARENT)]++
        :: else
        fi;
        c++
    :: else -> break
    od;
    c = 0;
#ifndef BUG_CANCEL_WAKES_NOBODY
    sum(j);
    if
    :: total == CHUNKS -> end_job(j)
    :: else
    fi;
#endif
    atomic { j = 0; total = 0; seen = 0; ok = 0 }
}

proctype parent()
{
    byte w, j, c, n, i, seen, total;
    bool ok, requeued;

end_watch:
    do
    :: submitted < JOBS -> submit()
    :: process[0] == DEAD -> attend_death(0)
#if WORKERS > 1
    :: process[1] == DEAD -> attend_death(1)
#endif
#if WORKERS > 2
    :: process[2] == DEAD -> attend_death(2)
#endif
    :: atomic { cancels > 0 && submitted > 0 -> cancels--; j = submitted - 1 }; cancel()
    od
}

/* ---- the killer, and the waiter -------------------------------------------------------------------------------------- */

#if KILLS > 0
proctype killer()
{
end_enough:
    do
    :: atomic { kills > 0 && process[0] == ALIVE -> kills--; process[0] = KILLED }
#if WORKERS > 1
    :: atomic { kills > 0 && process[1] == ALIVE -> kills--; process[1] = KILLED }
#endif
#if WORKERS > 2
    :: atomic { kills > 0 && process[2] == ALIVE -> kills--; process[2] = KILLED }
#endif
    od
}
#endif

/* There is no end label, except for items that hang: a waiter that never returns is an invalid end state. */
proctype waiter(byte j; byte me)
{
    byte i, seen, total;

    submitted > j;
look:
    sum(j);
    if
    :: total == CHUNKS -> goto over
    :: else -> total = 0
    fi;
    atomic { done[j] = done[j] | 1; seen = done[j] };
#ifndef BUG_NO_SECOND_CHECK_BY_WAITER
    sum(j);
    if
    :: total == CHUNKS -> goto over
    :: else -> total = 0
    fi;
#endif
    atomic { fall_asleep(waiter_asleep[j * WAITERS + me], done[j], seen); seen = 0 };
#if HANGS > 0
end_hang:
#endif
    waiter_asleep[j * WAITERS + me] == 0;
    goto look;

over:
    atomic { total = 0; seen = 0 }
}

#if HANGS > 0 || WAITERS == 0
#if WORKERS == 2
#define SLEEPER (worker_asleep[0] || worker_asleep[1])
#else
#define SLEEPER (worker_asleep[0] || worker_asleep[1] || worker_asleep[2])
#endif
/* No process can take a step any more. */
proctype judge()
{
    byte i;

end_watch:
    timeout;
    do
    :: i < JOBS * CHUNKS ->
#if HANGS > 0
        assert(word[i] != QUEUED || !SLEEPER);
#else
        assert(word[i] >= DONE(0));
#endif
        i++
    :: else -> break
    od
}
#endif

init
{
    byte i, j;

    atomic {
        do
        :: i < WORKERS -> run worker(i); i++
        :: else -> break
        od;
        run parent();
        j = 0;
        do
        :: j < JOBS ->
            i = 0;
            do
            :: i < WAITERS -> run waiter(j, i); i++
            :: else -> break
            od;
            j++
        :: else -> break
        od;
#if HANGS > 0 || WAITERS == 0
        run judge();
#endif
#if KILLS > 0
        run killer();
#endif
        i = 0;
        j = 0
    }
}
