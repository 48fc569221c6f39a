/* Goal: one process at a time has the lock; after the death of an owner the next process gets it, and one learns of the death; no
 * process sleeps for ever.
 *
 * The lock of src/shmem/lock.c: USERS processes acquire and release it ROUNDS times each.  Every access to shared memory is a
 * step, a futex call is two, and a process may be killed between any two.  While no process has been killed, a sleeper sleeps
 * until it is woken: that no wake-up is lost depends only on the order of the steps.  After a kill, sleepers may wake up by
 * themselves, as those of the library do now and then, and check whether the owner lives.
 *
 *   KILLS    processes killed, at any step
 *   GIVE_UPS waits that time out
 *   BUG_...  seeded faults: each has to be found */

#ifndef USERS
#define USERS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef GIVE_UPS
#define GIVE_UPS 0
#endif

#define NOBODY USERS

/* Shared memory. */
byte owner = NOBODY;
byte count;    /* of wake-ups: processes sleep on it */
byte sleepers; /* a killed sleeper counts for ever */

/* The system: which processes live, and which sleep in the kernel. */
bool dead[USERS];
bool asleep[USERS];
byte killed;

byte give_ups = GIVE_UPS;

/* For assertions. */
bool inside[USERS]; /* between acquiring and releasing */
bool unreported;        /* an owner has died, and no process has learned of it */

inline enter(reported)
{
    assert(reported == unreported);
    unreported = 0;
    assert(!inside[0] && !inside[1]);
#if USERS > 2
    assert(!inside[2]);
#endif
    inside[me] = 1
}

inline wake_one()
{
    atomic {
        if
        :: asleep[0] -> asleep[0] = 0
        :: asleep[1] -> asleep[1] = 0
#if USERS > 2
        :: asleep[2] -> asleep[2] = 0
#endif
        :: else
        fi
    }
}

inline look_at_sleepers()
{
    atomic { rings = sleepers > 0 }
}

proctype user(byte me)
{
    byte seen, who, rounds = ROUNDS;
    bool rings, expired;

    {
        do
        :: rounds > 0 ->
            atomic {
                rounds--;
                if
                :: owner == NOBODY -> owner = me; enter(0); goto inside_it
                :: else
                fi
            };

look:
            seen = count;
            who = owner;
            if
            :: who == NOBODY ->
                atomic {
                    if
                    :: owner == NOBODY -> owner = me; enter(0); goto inside_it
                    :: else -> goto look
                    fi
                }
#if KILLS > 0
            :: who != NOBODY && dead[who] ->
#ifdef BUG_TAKE_BY_STORE
                atomic { owner = me; enter(1); goto inside_it }
#else
                atomic {
                    if
                    :: owner == who -> owner = me; enter(1); goto inside_it
                    :: else -> goto look
                    fi
                }
#endif
#endif
            :: else
            fi;
#if GIVE_UPS > 0
            atomic {
                if
                :: expired -> expired = 0; goto next
                :: else
                fi
            };
#endif
            sleepers++;
#ifndef BUG_NO_SECOND_LOOK
            who = owner;
            atomic {
                if
                :: who == NOBODY -> goto rested
                :: else
                fi
            };
#endif
#ifdef BUG_SEEN_LATE
            seen = count;
#endif
            atomic {
                if
                :: count == seen -> asleep[me] = 1
                :: else
                fi
            };
            if
            :: asleep[me] == 0
            :: atomic { killed > 0 -> asleep[me] = 0 } /* it checks whether the owner lives */
#if GIVE_UPS > 0
            :: atomic { give_ups > 0 -> give_ups--; asleep[me] = 0; expired = 1 }
#endif
            fi;
rested:
            sleepers--;
#ifdef BUG_GIVE_UP_FIRST
            atomic {
                if
                :: expired -> expired = 0; goto next
                :: else
                fi
            };
#endif
            goto look;

inside_it:
            skip;
#ifdef BUG_LOOK_BEFORE_RELEASE
            look_at_sleepers();
            atomic { inside[me] = 0; owner = NOBODY };
#else
            atomic { inside[me] = 0; owner = NOBODY };
            look_at_sleepers();
#endif
            if
            :: rings ->
#ifndef BUG_NO_COUNT
                count++;
#endif
                wake_one()
            :: else
            fi;
next:
            atomic { rings = 0; seen = 0; who = 0 }
        :: else -> break
        od
    }
#if KILLS > 0
    unless {
        atomic {
            dead[me] -> asleep[me] = 0; rings = 0; seen = 0; who = 0; rounds = 0; expired = 0
        }
    }
#endif
}

#if KILLS > 0
/* All processes see a kill at once: by the contract of os_thread_lives the system never calls a dead thread living. */
active proctype killer()
{
    byte victim;

    do
    :: atomic {
            killed < KILLS ->
            if
            :: !dead[0] -> victim = 0
            :: !dead[1] -> victim = 1
#if USERS > 2
            :: !dead[2] -> victim = 2
#endif
            fi;
            dead[victim] = 1;
            killed++;
            if
            :: inside[victim] -> inside[victim] = 0; unreported = 1
            :: else
            fi;
            victim = 0
        }
    :: break
    od;
end:
    skip
}
#endif

init {
    atomic {
        run user(0);
        run user(1)
#if USERS > 2
        ;
        run user(2)
#endif
    }
}
