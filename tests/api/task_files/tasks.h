/* Tasks of other files and libraries, as a program's header declares them. */
#ifndef TASK_FILES_TASKS_H
#define TASK_FILES_TASKS_H

#include "crossfork.h"

typedef struct range {
    int from, to;
} range;

/* Of a static library. */
XF_DECLARE(length);    /* of a range */
XF_DECLARE(check);     /* a range fails that ends before it begins; no output */
XF_DECLARE(next_call); /* how often it has run in its process; no input */
XF_DECLARE(note);      /* runs without input and output, and adds to what next_call gives */
XF_DECLARE(copy);      /* bytes */

/* Of a shared library. */
XF_DECLARE(halve);

/* Of a shared library that has a crossfork of its own. */
XF_DECLARE(of_another_copy);

/* In the program, and in the shared library once more. */
XF_DECLARE(in_both);

#endif
