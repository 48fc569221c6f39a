/* Goal: any process may be killed at any step; every item of a job still ends exactly once, and the job ends.
 *
 * The claim protocol of docs/design/claim.md for one job: CHUNKS chunks of ITEMS items, WORKERS workers, and the parent, whose
 * steps are serialised by its lock, so it is one process here.  Every access to shared memory is a step of its own, and a
 * worker may be killed between any two.  sleep.pml models how sleepers are woken; here a waiter sees the sum at once.
 *
 *   KILLS       workers killed from outside, at any step
 *   DOOMS       timeouts: the parent dooms whatever item runs
 *   CANCELS     1: the parent cancels the job at some time
 *   ATTEMPTS    how often an item whose worker died is started
 *   ROUNDS      2: when the job has ended, another job takes its place
 *   COUNT_APART workers count ended items in a word of the slot, by a store, not in the claim word, by CAS
 *   NO_EPOCH    the claim word does not say which worker of the slot, the first, second ..., owns the chunk
 *   LENIENT     accepts what COUNT_APART cannot keep: a doomed worker starts no further item; a timeout hits its item
 *   BUG_...     seeded faults: each has to be found */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CHUNKS
#define CHUNKS 2
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef DOOMS
#define DOOMS 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif

/* The claim word: state, owner, epoch of the owner, leading items that have ended. */
#define QUEUED 0
#define CLAIMED 1
#define DOOMED 2
#define DONE 3
#define PARENT WORKERS
#ifdef NO_EPOCH
#define EPOCHS 0
#else
#define EPOCHS 3
#endif
#define WORD(state, owner, epoch, ended) ((state) + ((owner) << 2) + (((epoch) & EPOCHS) << 4) + ((ended) << 6))
#define STATE(word) ((word) & 3)
#define OWNER(word) (((word) >> 2) & 3)
#define EPOCH(word) (((word) >> 4) & 3)
#define ENDED(word) ((word) >> 6)

/* How an item ended. */
#define OPEN 0
#define COMPLETE 1
#define LOST 2
#define TIMED_OUT 3
#define CANCELLED 4

/* The process of a worker. */
#define ALIVE 0
#define KILLED 1 /* it takes no more steps */
#define DEAD 2   /* the parent may notice it */

/* Shared memory. */
byte word[CHUNKS];
byte intent[WORKERS];
byte progress[WORKERS];
byte finished[WORKERS + 1];

/* The parent's own words; process belongs to the system. */
byte epoch[WORKERS];
byte process[WORKERS];
byte blamed[WORKERS]; /* the item for which the worker was doomed; ITEMS: none */
byte attempts[CHUNKS * ITEMS];
bool cancelled;
byte outcome[CHUNKS * ITEMS];

/* For assertions, and to bound the search. */
byte doomed_at[WORKERS]; /* the item that the worker ran when it was doomed: no later one may start */
bool running[CHUNKS * ITEMS];
byte completions[CHUNKS * ITEMS];
byte generation;
bool reuse;
byte kills = KILLS;
byte dooms = DOOMS;
byte cancels = CANCELS;

#define ITEM(chunk, item) ((chunk) * ITEMS + (item))
#if WORKERS == 1
#define SUM (finished[0] + finished[1])
#elif WORKERS == 2
#define SUM (finished[0] + finished[1] + finished[2])
#else
#define SUM (finished[0] + finished[1] + finished[2] + finished[3])
#endif

inline finish_item(i, what)
{
    assert(outcome[i] == OPEN);
    outcome[i] = what;
}

inline assert_all_ended()
{
    i = 0;
    do
    :: i < CHUNKS * ITEMS ->
        assert(outcome[i] != OPEN && !running[i]);
        assert(STATE(word[i / ITEMS]) == DONE);
        i++
    :: else -> break
    od;
    i = 0
}

/* A compare-and-swap of word[chunk] from seen to next; done = 1 when it succeeds. */
inline compare_and_swap(chunk, seen, next, done)
{
    atomic {
        if
        :: word[chunk] == (seen) -> word[chunk] = next; done = 1
        :: else -> done = 0
        fi
    }
}

/* ---- worker ---------------------------------------------------------------------------------------------------------- */

inline run_item()
{
    atomic {
        i = ITEM(c, k);
        assert(job == generation);
        assert(outcome[i] == OPEN && !running[i]);
#ifndef LENIENT
        assert(STATE(word[c]) != DOOMED || k == doomed_at[me]);
#endif
        running[i] = 1
    };
    atomic {
        assert(outcome[i] == OPEN && STATE(word[c]) != QUEUED && OWNER(word[c]) == me);
        running[i] = 0;
        completions[i]++;
        assert(completions[i] <= ATTEMPTS);
        i = 0
    }
}

/* ok = 0 when the chunk is doomed. */
inline count_item()
{
    atomic {
#ifdef COUNT_APART
        progress[me] = k + 1;
        finish_item(ITEM(c, k), COMPLETE);
        ok = 1;
#else
#ifdef BUG_COUNT_BY_STORE
        word[c] = WORD(CLAIMED, me, e, k + 1);
        finish_item(ITEM(c, k), COMPLETE);
        ok = 1;
#else
        if
        :: word[c] == WORD(CLAIMED, me, e, k) ->
            word[c] = WORD(CLAIMED, me, e, k + 1);
            finish_item(ITEM(c, k), COMPLETE);
            ok = 1
        :: else -> ok = 0
        fi;
#endif
#endif
        k++
    }
}

#ifdef COUNT_APART
#define COUNTED s
#else
#define COUNTED ITEMS
#endif

inline mark_done()
{
#ifdef BUG_DONE_BY_STORE
    word[c] = WORD(DONE, me, e, ITEMS);
    ok = 1
#else
    compare_and_swap(c, WORD(CLAIMED, me, e, COUNTED), WORD(DONE, me, e, ITEMS), ok)
#endif
}

inline claim()
{
#ifndef BUG_INTENT_AFTER_CLAIM
    intent[me] = c;
#endif
#if defined(COUNT_APART) && !defined(BUG_RESET_AFTER_CLAIM)
    progress[me] = s;
#endif
#ifdef BUG_CLAIM_BY_STORE
    word[c] = WORD(CLAIMED, me, e, s);
    ok = 1;
#else
    compare_and_swap(c, WORD(QUEUED, 0, 0, s), WORD(CLAIMED, me, e, s), ok);
#endif
#ifdef BUG_INTENT_AFTER_CLAIM
    if
    :: ok -> intent[me] = c
    :: else
    fi;
#endif
#if defined(COUNT_APART) && defined(BUG_RESET_AFTER_CLAIM)
    if
    :: ok -> progress[me] = s
    :: else
    fi;
#endif
#ifndef BUG_JOB_READ_BEFORE_CLAIM
    if
    :: ok -> job = generation
    :: else
    fi;
#endif
    k = s
}

/* Counters are read one by one.  A sum of CHUNKS is never wrong, unless the job was replaced meanwhile. */
inline look_for_the_end()
{
    atomic { i = 0; s = 0; gen = (reuse -> ROUNDS : generation) };
    do
    :: i <= WORKERS -> atomic { s = s + finished[i]; i++ }
    :: else -> break
    od;
    atomic {
        i = 0;
        if
        :: s == CHUNKS && gen == generation ->
            assert(SUM == CHUNKS);
            assert_all_ended()
        :: else
        fi;
        s = 0;
        c = 0;
        k = 0;
        gen = 0;
        job = 0
    }
}

proctype worker(byte me)
{
    byte e, c, s, k, i, f, job, gen;
    bool ok;

born:
    {
        e = epoch[me];
        do
        :: true ->
            /* The worker may pick any chunk that reads QUEUED at some time, so the order of the scan does not matter. */
end_idle:
            if
            :: atomic { STATE(word[0]) == QUEUED -> c = 0; s = ENDED(word[0]); job = generation }
#if CHUNKS > 1
            :: atomic { STATE(word[1]) == QUEUED -> c = 1; s = ENDED(word[1]); job = generation }
#endif
#if CHUNKS > 2
            :: atomic { STATE(word[2]) == QUEUED -> c = 2; s = ENDED(word[2]); job = generation }
#endif
            fi;
            claim();
            if
            :: ok ->
                do
                :: ok && k < ITEMS -> run_item(); count_item()
                :: else -> break
                od;
                if
                :: ok -> mark_done()
                :: else
                fi;
                if
                :: !ok -> false /* doomed: it waits to be killed */
                :: else
                fi;
                f = finished[me];
                atomic { finished[me] = f + 1; f = 0; assert(SUM <= CHUNKS) };
                look_for_the_end()
            :: else -> atomic { c = 0; s = 0; k = 0; job = 0 }
            fi
        od
    } unless {
        atomic {
            process[me] == KILLED -> process[me] = DEAD;
            e = 0; c = 0; s = 0; k = 0; i = 0; f = 0; job = 0; gen = 0; ok = 0
        }
    };
    process[me] != DEAD;
    goto born
}

/* ---- parent ---------------------------------------------------------------------------------------------------------- */

inline finish_for_parent()
{
    f = finished[PARENT];
    atomic { finished[PARENT] = f + 1; f = 0; assert(SUM <= CHUNKS) }
}

/* Items k to the last of chunk c never ran and never will. */
inline cancel_items()
{
    do
    :: k < ITEMS -> atomic { finish_item(ITEM(c, k), CANCELLED); k++ }
    :: else -> break
    od
}

inline recover_item()
{
    atomic {
        i = ITEM(c, k);
        running[i] = 0;
        attempts[i]++;
        if
        :: STATE(v) == DOOMED && blamed[w] < ITEMS ->
#ifndef LENIENT
            assert(blamed[w] == k);
#endif
            finish_item(i, TIMED_OUT);
            k++
        :: STATE(v) == DOOMED && blamed[w] == ITEMS -> finish_item(i, CANCELLED); k++
#ifdef BUG_SKIP_NOT_ADVANCED
        :: STATE(v) == CLAIMED -> finish_item(i, LOST)
#else
        :: STATE(v) == CLAIMED && (cancelled || attempts[i] >= ATTEMPTS) -> finish_item(i, LOST); k++
        :: STATE(v) == CLAIMED && !cancelled && attempts[i] < ATTEMPTS
#endif
        fi;
        i = 0
    }
}

inline recover_chunk()
{
#ifdef COUNT_APART
    k = progress[w];
#else
    k = ENDED(v);
#endif
    if
    :: k < ITEMS -> recover_item()
    :: else
    fi;
    if
    :: cancelled -> cancel_items()
    :: else
    fi;
    if
    :: k < ITEMS -> word[c] = WORD(QUEUED, 0, 0, k)
    :: else ->
        word[c] = WORD(DONE, PARENT, 0, ITEMS);
        finish_for_parent()
    fi
}

inline recount()
{
    atomic { c = 0; f = 0 };
    do
    :: c < CHUNKS ->
        v = word[c];
        atomic {
            f = f + (STATE(v) == DONE && OWNER(v) == w);
            c++
        }
    :: else -> break
    od;
    atomic {
        assert(f >= finished[w]);
        finished[w] = f;
        assert(SUM <= CHUNKS);
        f = 0
    }
}

inline attend_death()
{
    c = intent[w];
    v = word[c];
    if
    :: (STATE(v) == CLAIMED || STATE(v) == DOOMED) && OWNER(v) == w && EPOCH(v) == (epoch[w] & EPOCHS) ->
        recover_chunk()
    :: else
    fi;
#ifndef BUG_NO_RECOUNT
    recount();
#endif
    atomic { epoch[w]++; process[w] = ALIVE; doomed_at[w] = 0; blamed[w] = 0; v = 0; c = 0; k = 0; ok = 0; w = 0 }
}

#ifdef COUNT_APART
#define REACHED progress[w]
#else
#define REACHED ENDED(word[c])
#endif

/* Until it is killed, the worker can still run the current item to its end; it may even have to start it first. */
inline doom_chunk()
{
    atomic {
        if
        :: word[c] == v -> word[c] = WORD(DOOMED, w, epoch[w], ENDED(v)); doomed_at[w] = REACHED; ok = 1
        :: else -> ok = 0
        fi
    }
}

/* The parent kills a worker only while its chunk is doomed, so it never kills one that has finished in time. */
inline kill_doomed()
{
    atomic {
        assert(word[c] == WORD(DOOMED, w, epoch[w], ENDED(v)));
        if
        :: process[w] == ALIVE -> process[w] = KILLED
        :: else
        fi
    }
}

inline doom()
{
    c = intent[w];
    v = word[c];
    if
    :: STATE(v) == CLAIMED && OWNER(v) == w && EPOCH(v) == (epoch[w] & EPOCHS) ->
#ifdef COUNT_APART
        k = progress[w];
#else
        k = ENDED(v);
#endif
        if
        :: k < ITEMS ->
#ifdef BUG_KILL_WITHOUT_DOOM
            ok = 1;
#else
            doom_chunk();
#endif
            if
            :: ok -> blamed[w] = k; kill_doomed()
            :: else
            fi
        :: else
        fi
    :: else
    fi;
    atomic { v = 0; c = 0; k = 0; ok = 0; w = 0 }
}

inline cancel()
{
    cancelled = 1;
    do
    :: c < CHUNKS ->
        v = word[c];
        if
        :: STATE(v) == QUEUED ->
#ifdef BUG_CANCEL_BY_STORE
            word[c] = WORD(DONE, PARENT, 0, ITEMS);
            ok = 1;
#else
            compare_and_swap(c, v, WORD(DONE, PARENT, 0, ITEMS), ok);
#endif
            if
            :: ok -> k = ENDED(v); cancel_items(); finish_for_parent(); c++
            :: else
            fi
        :: STATE(v) == CLAIMED ->
            w = OWNER(v);
            doom_chunk();
            if
            :: ok -> blamed[w] = ITEMS; kill_doomed(); c++
            :: else
            fi
        :: else -> c++
        fi
    :: else -> break
    od;
    atomic { v = 0; c = 0; k = 0; ok = 0; w = 0 }
}

inline zero_counters()
{
    do
    :: i <= WORKERS -> finished[i] = 0; i++
    :: else -> break
    od;
    i = 0
}

inline queue_chunks()
{
    do
    :: c < CHUNKS -> word[c] = WORD(QUEUED, 0, 0, 0); c++
    :: else -> break
    od;
    c = 0
}

/* Another job in the same place.  A worker that is late may claim a chunk as soon as its word reads QUEUED. */
inline replace_job()
{
    d_step {
        i = 0;
        do
        :: i < CHUNKS * ITEMS ->
            outcome[i] = OPEN;
            completions[i] = 0;
            attempts[i] = 0;
            i++
        :: else -> break
        od;
        i = 0;
        cancelled = 0;
        generation++
    };
#ifdef BUG_QUEUED_BEFORE_COUNTERS
    queue_chunks();
    zero_counters();
#else
    zero_counters();
    queue_chunks();
#endif
    reuse = 0
}

proctype parent()
{
    byte w, c, v, k, i, f;
    bool ok;

end_watch:
    do
    :: atomic { process[0] == DEAD -> w = 0 }; attend_death()
    :: atomic { dooms > 0 -> dooms--; w = 0 }; doom()
#if WORKERS > 1
    :: atomic { process[1] == DEAD -> w = 1 }; attend_death()
    :: atomic { dooms > 0 -> dooms--; w = 1 }; doom()
#endif
#if WORKERS > 2
    :: atomic { process[2] == DEAD -> w = 2 }; attend_death()
    :: atomic { dooms > 0 -> dooms--; w = 2 }; doom()
#endif
    :: atomic { cancels > 0 -> cancels-- }; cancel()
    :: reuse -> replace_job()
    od
}

/* ---- the killer, and the waiter -------------------------------------------------------------------------------------- */

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

/* There is no end label before the sum is CHUNKS: a job that never ends is an invalid end state. */
proctype waiter()
{
    byte i, round;

    do
    :: round < ROUNDS ->
        atomic { !reuse && SUM == CHUNKS -> assert_all_ended(); round++ };
        if
        :: round < ROUNDS -> reuse = 1
        :: else
        fi
    :: else -> break
    od
}

init
{
    byte i;

    atomic {
        do
        :: i < WORKERS -> run worker(i); i++
        :: else -> break
        od;
        run parent();
        run waiter();
        run killer()
    }
}
