/* The box: a few words of memory that a parent shares with one child. */
#ifndef BOX_H
#define BOX_H

#include "os.h"

typedef struct box {
    os_note note;           /* the seam's; must come first */
    _Atomic uint32_t stop;  /* set by the parent: the task is asked to stop */
    _Atomic uint32_t phase; /* set by the child: an xf_phase */
} box;

#endif
