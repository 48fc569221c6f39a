/* Functions that call each other, for tests of stacks: in the program itself without and with frame pointers, in a
 * shared library, in one whose debug data is in a file beside it, and in one that has none. */
#ifndef STACK_FIXTURE_H
#define STACK_FIXTURE_H

/* Calls end(arg) from innermost, which is inlined into inner, which middle calls, which it calls itself.  Returns how
 * far down it went. */
typedef int chain(void (*end)(void *arg), void *arg);

chain plain_outer, framed_outer, shared_outer, linked_outer, bare_outer;

enum {
    CHAIN_INNERMOST_LINE = 8,
    CHAIN_INNER_LINE = 15,
    CHAIN_MIDDLE_LINE = 20,
    CHAIN_OUTER_LINE = 25
}; /* of the calls */

#endif
