/* Histories: several processes operate on one object at the same time, one of them is perhaps stopped or killed at a
 * random instruction, and a search decides whether one process after the other could have got the same results (Linux).
 *
 * Each operation is recorded with its begin, its end and its result.  The search tries the orders in which an operation
 * that ended before another began comes first, until a model of the object gives the same results in one of them (Wing
 * and Gong's search, with a memory of the states that were tried).  The operation of a process that was killed may have
 * taken effect or not. */
#ifndef LINEARIZABILITY_H
#define LINEARIZABILITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HISTORY_WORKERS = 3,
    HISTORY_TURNS = 5, /* operations of each worker */
    HISTORY_MAX = 31,  /* operations of all, and of the test itself */
    HISTORY_STATE = 32 /* bytes of a model's state */
};

typedef struct operation {
    int kind; /* the model's, from 1 on */
    int who;  /* a worker; HISTORY_WORKERS: the test itself */
    uint64_t value;
    int rc;
    _Atomic uint64_t begin; /* 0: it did not begin */
    _Atomic uint64_t end;   /* 0: it did not end */
} operation;

/* Shared with the workers. */
typedef struct history {
    _Atomic uint64_t clock;
    _Atomic uint32_t go;    /* the part of their operations that the workers may do */
    _Atomic uint32_t ready; /* workers that have done that part */
    int count;              /* of the test's own operations */
    operation operations[HISTORY_MAX];
    operation deaths[HISTORY_WORKERS]; /* kind 0 */
} history;

extern history *shared;

void history_open(void);

/* ---- Doing ----------------------------------------------------------------------------------- */

uint64_t history_random(uint64_t *seed);

/* Record the begin and the end of an operation. */
void history_begin(operation *operation);
void history_end(operation *operation);

/* Returns the next operation of the test itself. */
operation *history_own(void);

/* The fate of the first worker, which is stopped while the others do the second half of their operations. */
typedef enum fate { FATE_NONE, FATE_KILLED_BEFORE, FATE_KILLED_AFTER, FATE_GOES_ON, FATES } fate;

typedef struct plan {
    void (*enter)(void *arg); /* called in each worker before it begins; NULL: nothing */
    /* does one operation in a worker: sets its kind, and calls history_begin and history_end */
    void (*operate)(void *arg, operation *operation, uint64_t *seed);
    void *arg;
    uint64_t seed;
    long steps; /* instructions after which the first worker is stopped */
    fate fate;
} plan;

/* Clears the history, and lets workers run until they end. */
void history_run(const plan *plan);

extern const bool history_can_step;

/* ---- Judging --------------------------------------------------------------------------------- */

typedef struct model model;

struct model {
    /* Applies the operation to the state, which is zero at first; false when the object would not have given that
     * result.  An operation that did not end may have any result.  If it may have had one of two effects, choice says
     * which. */
    bool (*apply)(const model *model, const operation *operation, uint8_t *state, int choice);
    const char *const *kinds; /* names for messages; the first is that of deaths */
    uint64_t bound;
    bool recursive;
    bool mortal; /* apply gets deaths too */
};

/* Returns whether two operations may have been under way at the same time.  An operation that did not end lasts until
 * its process ends. */
bool history_overlap(const operation *one, const operation *other);

/* Returns whether is_one is true of an operation. */
bool history_any(bool (*is_one)(const void *arg, const operation *operation), const void *arg);

/* Returns whether the history has an order; if it has none and loud is set, prints the history. */
bool history_is_in_order(const model *model, bool loud);

/* Returns the number of runs: XF_HISTORIES of the environment, or else otherwise. */
long history_turns(long otherwise);

#endif
