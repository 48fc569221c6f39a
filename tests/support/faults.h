/* Failures on demand: the n-th call that asks the system for something fails.
 *
 *     faults_arm(n);
 *     rc = xf_process_start(&process, &task, NULL, 0, NULL);
 *     fault = faults_disarm();
 *     if (fault)
 *         assert_int_equal(rc, fault->code);
 *
 * The linker leads the calls to wrappers (its option --wrap); which calls those are is said where the wrappers are, by
 * the lines X(name, ...) and __wrap_name(...) of faults.c and its twins posix/faults.c and win32/faults.c, and nowhere
 * else: CMake looks there.  A program gets all that by xf_test_faults in CMakeLists.txt. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

/* A call that was made to fail. */
typedef struct fault {
    const char *name;
    int code; /* the XF_E* code that stands for this failure */
} fault;

/* Makes the n-th call from now on fail, whichever thread of this process makes it, and no other. */
void faults_arm(int n);

/* Ends that; tells what failed, or NULL when there were fewer calls. */
const fault *faults_disarm(void);

/* In a child or another helper: arms the failure that variable=n in the environment asks for, unless this process has
 * armed one.  What fails is told on the standard error stream then. */
void faults_obey(const char *variable);

#define FAULTS_IN_CHILD "XF_TEST_CHILD_FAILS_AT"   /* every child obeys it as soon as it runs the library's child_run */
#define FAULTS_IN_MAIN "XF_TEST_MAIN_FAILS_AT"     /* for a test's own main, before xf_main */
#define FAULTS_IN_SERVER "XF_TEST_SERVER_FAILS_AT" /* the helper process of XF_START_FORKSERVER obeys it */

/* How many blocks of memory the library and the test have and did not free. */
long faults_blocks(void);

/* For calls that are not the library's: while the sum is above 0, nothing fails. */
void faults_pause(int more);

/* Makes this thread's error detail "", so that a test sees whether a failure sets it. */
void faults_forget_detail(void);

/* For wrappers: whether this call is the one. */
bool faults_due(const char *name, int code);

/* FAULTS_WRAPPER(name, type, (parameters), (arguments), failure, code)  defines a wrapper that evaluates failure when
 * the call is due, which stands for code; for tables of X(name, ...). */
#define FAULTS_WRAPPER(name, type, parameters, arguments, failure, code)                                               \
    type REAL(name) parameters;                                                                                        \
    type WRAP(name) parameters;                                                                                        \
    type WRAP(name) parameters                                                                                         \
    {                                                                                                                  \
        if (faults_due(#name, code))                                                                                   \
            return failure;                                                                                            \
        return REAL(name) arguments;                                                                                   \
    }

/* The function that the linker leads calls of name to, and the one that they are led away from: of the library's own,
 * by the name that the linker knows. */
#define WRAP(name) FAULTS_PASTE(__wrap_, name)
#define REAL(name) FAULTS_PASTE(__real_, name)
#define FAULTS_PASTE(prefix, name) prefix##name

#endif
