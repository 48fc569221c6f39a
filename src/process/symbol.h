/* Names for places in programs. */
#ifndef SYMBOL_H
#define SYMBOL_H

#include <stdbool.h>
#include <stdint.h>

/* Takes one function at a place.
 *   function  "" when it is not known.
 *   file      Its source; "" when it is not known, and line is 0 then.
 *   inlined   Into the function that is passed next.
 * The strings stay as they are for as long as this process lives. */
typedef void (*symbol_found)(void *arg, const char *function, const char *file, int line, bool inlined);

/* Calls found for each function at a place in a program or shared library, the innermost first.
 *   module  The path of its file, UTF-8.
 *   offset  As addr2line -e module takes it: an address as it was linked.
 * If there is no debug data, neither in the file nor where the system keeps such data, its table of symbols still
 * gives the function.
 * Returns how many; 0 when nothing is known, or crossfork was built without libbacktrace.
 * Threads: any. */
int symbol_find(const char *module, uint64_t offset, symbol_found found, void *arg);

#endif
