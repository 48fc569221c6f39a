/* Goal: any process may be killed at any step; still no message is delivered twice, only a message that a dead consumer had
 * claimed is lost, messages come in order, and no process is blocked.
 *
 * The protocol of docs/design/ring.md: a buffer of CELLS cells, and when it GROWS a second one after it.  Every access to
 * shared memory is a step of its own, and a process may be killed between any two.  A process of its own recovers the claims of
 * dead processes here; it stands for any process that finds such a claim in its way, and may be killed too.
 *
 *   PRODUCERS, CONSUMERS
 *   MESSAGES    of each producer; the last one to have put all of its own ends the queue
 *   TAKES       how often each consumer gets; it ends early when the queue has ended
 *   KILLS       processes killed from outside, at any step, the recovering one included
 *   GROWS       1: a full buffer is followed by another, once
 *   BUG_...     seeded faults: each has to be found */

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef MESSAGES
#define MESSAGES 1
#endif
#ifndef TAKES
#define TAKES (PRODUCERS * MESSAGES + 1)
#endif
#ifndef CELLS
#define CELLS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef GROWS
#define GROWS 0
#endif

#define PROCESSES (PRODUCERS + CONSUMERS)
#define RECOVERER PROCESSES
#define RINGS (1 + GROWS)
#define ALL (PRODUCERS * MESSAGES)

/* A claim: its lap, counted from 1, and its process. */
#define NOBODY 0
#define NEXT 7 /* the buffer ends here, and another one follows */
#define END 6  /* the queue ends here */
#define CLAIM(lap, who) (((lap) + 1) * 8 + (who))
#define LAP(claim) ((claim) / 8)
#define WHO(claim) ((claim) % 8)
#define ME (me + 1)

/* Positions: buffers of CELLS cells, one after the other. */
#define CELL(ring, at) ((ring) * CELLS + (at) % CELLS)
#define EMPTY(at) (2 * ((at) / CELLS))
#define FULL(at) (EMPTY(at) + 1)
#define PASSED(at) (EMPTY(at) + 2)

/* An unclaimed position is free, or still full in the lap before, or still being filled in the lap before. */
#define FREE 1
#define FULL_BEFORE 3
#define BUSY_BEFORE 0
#ifdef BUG_FULL_NOT_SEEN
#define UNCLAIMED FREE
#elif defined(BUG_CLOSED_EARLY)
#define UNCLAIMED (t == EMPTY(p) -> FREE : FULL_BEFORE)
#else
#define UNCLAIMED (t == EMPTY(p) -> FREE : (t + 1 >= EMPTY(p) -> FULL_BEFORE : BUSY_BEFORE))
#endif

/* A full cell was claimed, whatever the claim says: the claim may be one that closes the buffer in the next lap. */
#ifdef BUG_CLOSED_IS_UNCLAIMED
#define IS_CLAIMED 0
#else
#define IS_CLAIMED (t == FULL(p))
#endif

/* Shared memory. */
byte turn[RINGS * CELLS];
byte putter[RINGS * CELLS];
byte getter[RINGS * CELLS];
byte cell[RINGS * CELLS]; /* the message + 1 */
byte put_ring, put_at, get_ring, get_at;
byte pending_cell; /* of the recovering process: + 1; the loss that it is about to count */
byte pending_turn;
byte pending_losses;
byte losses;
bool hungry, stuck; /* a process sleeps until there is a message; until there is room */

/* The system. */
bool killed[PROCESSES + 1];
bool dead[PROCESSES + 1];
bool asleep[PROCESSES];
bool recovered[PROCESSES];
byte events; /* deaths, and their recoveries */
byte kills = KILLS;

/* For assertions. */
byte fate[ALL]; /* of each message */
#define UNPUT 0
#define PUT 1    /* committed */
#define TAKEN 2  /* claimed by a consumer */
#define LOST 3   /* the consumer died before it freed the cell */
byte before[ALL]; /* messages whose put had ended when this one's began, a bit each */
byte ended_puts;  /* a bit each */
byte put_count; /* messages that are put, or will not be put because their producer is dead */

/* A compare-and-swap of word from seen to next; done = 1 when it succeeds. */
inline compare_and_swap(word, seen, next, done)
{
    atomic {
        if
        :: word == (seen) -> word = next; done = 1
        :: else -> done = 0
        fi
    }
}

inline wake(flag, first, last)
{
    if
    :: flag ->
        flag = 0;
        atomic {
            j = first;
            do
            :: j <= last -> asleep[j] = 0; j++
            :: else -> break
            od;
            j = 0
        }
    :: else
    fi
}

/* A sleeper checks now and then whether a process died.  So it checks after the last death, and after the claims of that
 * process were recovered. */
inline sleep(flag)
{
    atomic { asleep[me] = flag };
end_asleep:
    atomic { !asleep[me] || events != seen -> asleep[me] = 0; seen = 0 }
}

/* ---- producers ------------------------------------------------------------------------------------------------------- */

/* Finds the position after the last claimed one: found = FREE, FULL_BEFORE, BUSY_BEFORE, or 2 when the queue has
 * ended. */
inline find_place()
{
    atomic { r = put_ring; p = put_at; found = 9 };
    do
    :: found == 9 ->
        atomic {
            t = turn[CELL(r, p)];
            if
            :: t > FULL(p) || IS_CLAIMED -> p++; t = 0
            :: else
            fi
        };
        atomic {
            if
            :: t <= FULL(p) ->
                by = putter[CELL(r, p)];
                if
                :: LAP(by) == p / CELLS + 1 && WHO(by) == NEXT -> r++; p = 0
                :: LAP(by) == p / CELLS + 1 && WHO(by) == END -> found = 2
                :: LAP(by) == p / CELLS + 1 && WHO(by) < END -> p++
                :: LAP(by) != p / CELLS + 1 && turn[CELL(r, p)] == t -> found = UNCLAIMED
                :: LAP(by) != p / CELLS + 1 && turn[CELL(r, p)] != t /* the claim is read again, and so is the position */
                fi;
                t = 0
            :: else
            fi
        }
    :: else -> break
    od
}

inline claim_place(who)
{
    compare_and_swap(putter[CELL(r, p)], by, CLAIM(p / CELLS, who), ok);
    if
    :: ok && who != NEXT -> atomic { put_ring = r; put_at = p + 1 }
    :: else
    fi
}

/* Announces its sleep, checks for room once more, and sleeps until there may be room. */
inline await_room()
{
    seen = events;
    stuck = 1;
    find_place();
    if
    :: found == FULL_BEFORE || found == BUSY_BEFORE -> sleep(stuck)
    :: else -> seen = 0
    fi
}

inline put_message()
{
    atomic { m = me * MESSAGES + n; before[m] = ended_puts };
    do
    :: find_place();
        if
        :: found == FREE ->
            claim_place(ME);
            if
            :: ok -> break
            :: else
            fi
        :: found == FULL_BEFORE && r < RINGS - 1 -> claim_place(NEXT)
        :: found == BUSY_BEFORE && r < RINGS - 1 /* that put ends soon */
        :: found != FREE && r == RINGS - 1 -> await_room()
        fi
    od;
#ifdef BUG_COMMIT_BEFORE_WRITE
    atomic { turn[CELL(r, p)] = FULL(p); fate[m] = PUT };
    cell[CELL(r, p)] = m + 1;
#else
    cell[CELL(r, p)] = m + 1;
    atomic { turn[CELL(r, p)] = FULL(p); fate[m] = PUT };
#endif
    wake(hungry, PRODUCERS, PROCESSES - 1);
    atomic { ended_puts = ended_puts | (1 << m); n++; m = 0; r = 0; p = 0; found = 0; ok = 0 }
}

/* The process that puts last ends the queue. */
inline end_queue()
{
    do
    :: find_place();
        if
        :: found == 2 -> break
        :: found == BUSY_BEFORE /* that put ends soon */
        :: found == FREE || found == FULL_BEFORE ->
            claim_place(END);
            if
            :: ok -> break
            :: else
            fi
        fi
    od;
    wake(hungry, PRODUCERS, PROCESSES - 1)
}

proctype producer(byte me)
{
    byte r, p, t, by, n, m, found, j, seen;
    bool ok;

    {
        do
        :: n < MESSAGES -> put_message()
        :: else -> break
        od;
        atomic {
            put_count = put_count + 1;
            ok = put_count == PRODUCERS
        };
        if
        :: ok -> end_queue()
        :: else
        fi;
end_live:
        false /* it lives, and may be killed */
    } unless {
        atomic {
            killed[me] -> dead[me] = 1;
            events++;
            asleep[me] = 0;
            r = 0; p = 0; t = 0; by = 0; n = 0; m = 0; found = 0; j = 0; seen = 0; ok = 0
        }
    }
}

/* ---- consumers ------------------------------------------------------------------------------------------------------- */

/* Finds the first full cell that is not claimed: found = 1; 0: there is none; 2: there will be none. */
inline scan()
{
    atomic { r = get_ring; p = get_at; found = 9; skipped = 0 };
    do
    :: found == 9 ->
        atomic {
            t = turn[CELL(r, p)];
            if
            :: t >= PASSED(p) -> p++; t = 9
            :: else
            fi
        };
        atomic {
            if
            :: t == 9
            :: t == FULL(p) && t != 9 -> /* the turn is read again after the claim, which is a step of its own */
                by = getter[CELL(r, p)];
                if
#ifndef BUG_CLAIM_OF_ANOTHER_LAP
                :: turn[CELL(r, p)] != t -> by = 0
#endif
                :: turn[CELL(r, p)] == t && LAP(by) == p / CELLS + 1 -> p++; by = 0
                :: turn[CELL(r, p)] == t && LAP(by) != p / CELLS + 1 -> found = 1
#ifdef BUG_CLAIM_OF_ANOTHER_LAP
                :: turn[CELL(r, p)] != t -> found = 1
#endif
                fi
            :: t < FULL(p) ->
                by = putter[CELL(r, p)];
                if
                :: LAP(by) != p / CELLS + 1 -> found = 0
                :: LAP(by) == p / CELLS + 1 && WHO(by) == NEXT -> r++; p = 0
                :: LAP(by) == p / CELLS + 1 && WHO(by) == END -> found = (skipped -> 0 : 2)
                :: LAP(by) == p / CELLS + 1 && WHO(by) < END ->
                    if
                    :: !skipped -> skipped = 1; first_ring = r; first = p
                    :: else
                    fi;
                    p++
                fi;
                by = 0
            fi;
            t = 0
        }
    :: else -> break
    od
}

/* A cell that was skipped may have become full before this one. */
inline scan_again()
{
#ifndef BUG_NO_SECOND_SCAN
    do
    :: found == 1 && skipped && (first_ring < r || first < p) ->
        atomic {
            t = turn[CELL(first_ring, first)];
            if
            :: t >= PASSED(first) -> first++; t = 9
            :: else
            fi
        };
        atomic {
            if
            :: t == 9
            :: t == FULL(first) && t != 9 && LAP(getter[CELL(first_ring, first)]) != first / CELLS + 1 ->
                r = first_ring; /* the first one now */
                p = first;
                by = getter[CELL(r, p)]
            :: t == FULL(first) && t != 9 && LAP(getter[CELL(first_ring, first)]) == first / CELLS + 1 -> first++
            :: t < FULL(first) ->
                if
                :: putter[CELL(first_ring, first)] == CLAIM(first / CELLS, NEXT) -> first_ring++; first = 0
                :: else -> first++
                fi
            fi;
            t = 0
        }
    :: else -> break
    od;
#endif
    atomic { first = 0; first_ring = 0 }
}

/* A message that was put before must have been got before. */
inline assert_order()
{
    atomic {
        j = 0;
        do
        :: j < ALL ->
            assert(!(before[m] & (1 << j)) || fate[j] >= TAKEN);
            j++
        :: else -> break
        od;
        j = 0
    }
}

/* Gets a message if there is one. */
inline claim_message()
{
    atomic {
        if
#ifdef BUG_CLAIM_BY_STORE
        :: true ->
#else
        :: getter[CELL(r, p)] == by ->
#endif
            getter[CELL(r, p)] = CLAIM(p / CELLS, ME);
            m = cell[CELL(r, p)] - 1;
            assert(m < ALL && fate[m] == PUT);
            fate[m] = TAKEN;
            ok = 1
        :: else -> ok = 0
        fi;
        by = 0
    }
}

inline take_message()
{
    claim_message();
    if
    :: ok ->
        if
#ifdef BUG_HEAD_PASSES_SKIPPED
        :: true ->
#else
        :: !skipped ->
#endif
            atomic { get_ring = r; get_at = p + 1 }
        :: else
        fi;
        atomic { assert(cell[CELL(r, p)] == m + 1); assert_order() };
        turn[CELL(r, p)] = PASSED(p);
        atomic { n++; m = 0; r = 0; p = 0; ok = 0; found = 0; skipped = 0 };
        wake(stuck, 0, PRODUCERS - 1)
    :: else
    fi
}

inline await_message()
{
    seen = events;
#ifndef BUG_ASKS_AFTER_LOOKING
    hungry = 1;
#endif
    scan();
#ifdef BUG_ASKS_AFTER_LOOKING
    hungry = 1;
#endif
    if
    :: found == 0 -> sleep(hungry)
    :: else -> seen = 0
    fi
}

proctype consumer(byte me)
{
    byte r, p, t, by, n, m, found, j, seen, first, first_ring;
    bool ok, skipped;

    {
        do
        :: n < TAKES ->
            scan();
            scan_again();
            if
            :: found == 1 -> take_message()
            :: found == 0 -> await_message()
            :: found == 2 -> break
            fi
        :: else -> break
        od;
end_live:
        false
    } unless {
        atomic {
            killed[me] -> dead[me] = 1;
            events++;
            asleep[me] = 0;
            r = 0; p = 0; t = 0; by = 0; n = 0; m = 0; found = 0; j = 0; seen = 0; ok = 0; first = 0; first_ring = 0;
            skipped = 0
        }
    }
}

/* ---- the recovering process ------------------------------------------------------------------------------------------ */

/* From here on the message is lost, whichever process is killed. */
inline count_loss()
{
#ifdef BUG_COUNT_APART
    compare_and_swap(turn[c], t, t + 1, ok);
    losses = losses + 1;
#else
    pending_losses = losses;
    pending_turn = t;
    pending_cell = c + 1;
    compare_and_swap(turn[c], t, t + 1, ok);
    losses = pending_losses + 1;
    pending_cell = 0;
#endif
    skip
}

inline resume()
{
    if
    :: pending_cell != 0 ->
        compare_and_swap(turn[pending_cell - 1], pending_turn, pending_turn + 1, ok);
        losses = pending_losses + 1;
        pending_cell = 0
    :: else
    fi
}

inline mark_lost()
{
    atomic {
        m = cell[c] - 1;
        assert(fate[m] == TAKEN || fate[m] == LOST);
        fate[m] = LOST
    }
}

inline recover()
{
    c = 0;
    do
    :: c < RINGS * CELLS ->
        t = turn[c];
        by = putter[c];
        if
        :: t % 2 == 0 && by == CLAIM(t / 2, w + 1) ->
#ifndef BUG_UNCOMMITTED_STAYS
            compare_and_swap(turn[c], t, t + 2, ok)
#else
            skip
#endif
        :: else ->
            by = getter[c];
            if
            :: t % 2 == 1 && by == CLAIM(t / 2, w + 1) -> mark_lost(); count_loss()
            :: else
            fi
        fi;
        c++
    :: else -> break
    od;
    atomic { c = 0; t = 0; by = 0; m = 0 }
}

inline recover_all()
{
    resume();
    recover();
    atomic { recovered[w] = 1; events++; w = 0 }
}

#define UNRECOVERED(w) (dead[w] && !recovered[w])

proctype recoverer()
{
    byte c, t, by, m, w;
    bool ok;

born:
    {
        ok = 0;
end_recovered:
        do
        :: atomic { UNRECOVERED(0) -> w = 0 }; recover_all()
        :: atomic { UNRECOVERED(1) -> w = 1 }; recover_all()
#if PROCESSES > 2
        :: atomic { UNRECOVERED(2) -> w = 2 }; recover_all()
#endif
#if PROCESSES > 3
        :: atomic { UNRECOVERED(3) -> w = 3 }; recover_all()
#endif
        od
    } unless {
        atomic { killed[RECOVERER] -> killed[RECOVERER] = 0; c = 0; t = 0; by = 0; m = 0; w = 0; ok = 0 }
    };
    goto born
}

/* ---- the killer, and the judge --------------------------------------------------------------------------------------- */

proctype killer()
{
    byte w;

end_enough:
    do
    :: kills > 0 ->
        atomic {
            kills--;
            select(w : 0 .. PROCESSES);
            killed[w] = 1;
            w = 0
        }
    od
}

inline count(what, number)
{
    number = 0;
    j = 0;
    do
    :: j < ALL -> number = number + (fate[j] == (what)); j++
    :: else -> break
    od;
    j = 0
}

/* When no process can take a step. */
proctype judge()
{
    byte w, j, put, lost;

    timeout;
    atomic {
        count(PUT, put);
        count(LOST, lost);
        assert(losses == lost);
        do
        :: w < PROCESSES ->
            assert(!asleep[w] || dead[w] || (w < PRODUCERS -> put >= CELLS : put == 0));
            w++
        :: else -> break
        od;
        w = 0
    }
}

init
{
    byte i;

    atomic {
        do
        :: i < PRODUCERS -> run producer(i); i++
        :: else -> break
        od;
        do
        :: i < PROCESSES -> run consumer(i); i++
        :: else -> break
        od;
        run recoverer();
        run killer();
        run judge();
        i = 0
    }
}
