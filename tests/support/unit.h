/* cmocka, with the headers that it wants before it. */
#ifndef UNIT_H
#define UNIT_H

#include <cmocka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#endif
