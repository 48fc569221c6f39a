/* Programs that tests start: mostly their own executable again, in another role. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stddef.h>
#include <stdint.h>

typedef struct program program;

/* Starts a program.  program_line reads its standard output; its standard input stays open until program_end.
 *   path       NULL: this test's own executable.
 *   arguments  Up to a NULL, without argv[0]; NULL: none.
 *   setting    "NAME=value" for its environment; NULL: nothing.
 * Fails the test when it cannot be started. */
program *program_start(const char *path, const char *const *arguments, const char *setting);

int64_t program_pid(const program *program);

/* Returns the next line that it prints, without the line end; "" at the end.  Valid until the next call. */
const char *program_line(program *program);

/* Returns the next line as a number. */
int64_t program_number(program *program);

/* Waits for it to end, and frees everything.
 *   output  Set to the rest of what it printed, freed by the caller with free; may be NULL.
 * Returns its exit code; on POSIX 128 + the signal that killed it. */
int64_t program_end(program *program, char **output);

#endif
