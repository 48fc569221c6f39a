/* Whether the program called xf_main. */
#ifndef MAIN_H
#define MAIN_H

#include <stdbool.h>

bool main_called(void);

#endif
