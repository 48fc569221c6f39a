/* Histories: what several processes did to one object at the same time, also when one of them is stopped or killed at a
 * random instruction, and whether it could have come of processes that do it one after the other (Linux).
 *
 * Each operation is noted with when it began and ended, and what it gave.  Then all orders of them that keep "ended
 * before began" are tried, until one is found that a model of the object would have answered in the same way (Wing and
 * Gong's search, with a memory of what was tried).  What was under way in a process that was killed may have happened
 * or not. */
#ifndef LINEARIZABILITY_H
#define LINEARIZABILITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HISTORY_WORKERS = 3,
    HISTORY_TURNS = 5, /* operations of each */
    HISTORY_MAX = 31,  /* operations, with those of the test itself */
    HISTORY_STATE = 32 /* bytes of a model's state */
};

typedef struct operation {
    int kind; /* the model's, from 1 on */
    int who;  /* a worker; HISTORY_WORKERS: the test itself */
    uint64_t value;
    int rc;
    _Atomic uint64_t begin; /* 0: it did not begin */
    _Atomic uint64_t end;   /* 0: nor end */
} operation;

/* Shared with the workers. */
typedef struct history {
    _Atomic uint64_t clock;
    _Atomic uint32_t go;    /* up to which part of their operations they may come */
    _Atomic uint32_t ready; /* workers that have come there */
    int count;              /* of the test's own */
    operation operations[HISTORY_MAX];
    operation deaths[HISTORY_WORKERS]; /* kind 0 */
} history;

extern history *shared;

void history_open(void);

/* ---- Doing ----------------------------------------------------------------------------------- */

uint64_t history_random(uint64_t *seed);

/* Note when an operation begins, and that it has ended. */
void history_begin(operation *operation);
void history_end(operation *operation);

/* The next operation of the test itself. */
operation *history_own(void);

/* What becomes of the first worker, which is stopped while the others do the second half of what they do. */
typedef enum fate { FATE_NONE, FATE_KILLED_BEFORE, FATE_KILLED_AFTER, FATE_GOES_ON, FATES } fate;

typedef struct plan {
    void (*enter)(void *arg); /* in each worker, before it begins; NULL: nothing */
    /* does one operation in a worker: sets its kind, begins and ends it */
    void (*operate)(void *arg, operation *operation, uint64_t *seed);
    void *arg;
    uint64_t seed;
    long steps; /* instructions after which the first is stopped */
    fate fate;
} plan;

/* Forgets what was there, and lets workers run to their end. */
void history_run(const plan *plan);

extern const bool history_can_step;

/* ---- Judging --------------------------------------------------------------------------------- */

typedef struct model model;

struct model {
    /* Does what the object would; false when it would not give what the operation gave.  One that did not end may have
     * given anything, and if it may have done one of two things, each is a choice.  state is zero at first. */
    bool (*apply)(const model *model, const operation *operation, uint8_t *state, int choice);
    const char *const *kinds; /* names, for messages; of deaths first */
    uint64_t bound;
    bool recursive;
    bool mortal; /* apply is told of deaths */
};

/* Whether two operations may have been under way at the same time.  One that did not end is taken to have ended with
 * its process. */
bool history_overlap(const operation *one, const operation *other);

/* Calls is_one for each operation until that is true. */
bool history_any(bool (*is_one)(const void *arg, const operation *operation), const void *arg);

/* Whether there is an order; prints the history if there is none and loud. */
bool history_is_in_order(const model *model, bool loud);

/* How many runs: of XF_HISTORIES in the environment. */
long history_turns(long otherwise);

#endif
