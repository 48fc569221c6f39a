/* Functions that call each other, for tests of stacks: in the program itself without and with frame pointers, in a
 * shared library, in one whose debug data is in a file beside it, and in one without debug data. */
#ifndef STACK_FIXTURE_H
#define STACK_FIXTURE_H

/* Calls middle, which calls inner, which calls end(arg) in innermost, which is inlined.  Returns the depth. */
typedef int stack_fixture(void (*end)(void *arg), void *arg);

stack_fixture plain_outer, framed_outer, shared_outer, linked_outer, bare_outer;

enum {
    STACK_FIXTURE_INNERMOST_LINE = 8,
    STACK_FIXTURE_INNER_LINE = 15,
    STACK_FIXTURE_MIDDLE_LINE = 20,
    STACK_FIXTURE_OUTER_LINE = 25
}; /* of the calls in stack_fixture.c */

#endif
