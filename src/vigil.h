/* What somebody sleeps on until a thing may have become ready. */
#ifndef VIGIL_H
#define VIGIL_H

#include "os.h"

typedef struct vigil {
    os_word word; /* of NULL: it will never be ready */
    int most_ms;  /* then look again, whatever the word says; -1: no need */
} vigil;

#endif
