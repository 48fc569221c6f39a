/* The box: a few words of memory that a parent shares with one child. */
#ifndef BOX_H
#define BOX_H

#include "os.h"

typedef struct box {
    os_note note;                   /* the seam's; must come first */
    _Atomic uint32_t stop;          /* set by the parent: the task is asked to stop */
    _Atomic uint32_t wake;          /* changed by the parent before it rings the box's bell */
    _Atomic uint32_t phase;         /* set by the child: an xf_phase */
    _Atomic uint32_t farewell_size; /* set by the child, last of all: how much of the farewell there is */
    uint8_t farewell[4000];         /* the frames that a child would have written last: see child.c */
} box;

_Static_assert(sizeof(box) <= 4096, "the box fits a page");

#endif
