/* Failures on demand: the n-th call that asks the system for something fails.
 *
 *     faults_arm(n);
 *     rc = xf_process_start(&process, &task, NULL, 0, NULL);
 *     fault = faults_disarm();
 *     if (fault)
 *         assert_int_equal(rc, fault->code);
 *
 * The linker leads the calls to wrappers (its option --wrap).  The lines X(name, ...) and __wrap_name(...) of faults.c
 * and of its twins posix/faults.c and win32/faults.c say which calls those are, and CMake reads these lines.  A program
 * gets the wrappers by xf_test_faults (Testing.cmake). */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

/* A call that was made to fail. */
typedef struct fault {
    const char *name;
    int code; /* the XF_E* code that stands for this failure */
} fault;

/* Makes the n-th call from now on fail, in any thread of this process, and no other call. */
void faults_arm(int n);

/* Ends that.  Returns the call that failed, or NULL when there were fewer calls. */
const fault *faults_disarm(void);

/* In a child or another helper: arms the failure that variable=n in the environment asks for, unless this process has
 * armed one already.  The failure is then printed on standard error. */
void faults_obey(const char *variable);

#define FAULTS_IN_CHILD "XF_TEST_CHILD_FAILS_AT"   /* every child obeys it as soon as it runs the library's child_run */
#define FAULTS_IN_MAIN "XF_TEST_MAIN_FAILS_AT"     /* for a test's own main, before xf_main */
#define FAULTS_IN_SERVER "XF_TEST_SERVER_FAILS_AT" /* the helper process of XF_START_FORKSERVER obeys it */

/* Returns how many blocks of memory the library and the test have allocated and not freed. */
long faults_blocks(void);

/* Around calls that are not the library's: no call fails while the sum of `more` is above 0. */
void faults_pause(int more);

/* Makes this thread's error detail "", so that a test can check whether a failure sets it. */
void faults_forget_detail(void);

/* For wrappers: returns whether this call has to fail. */
bool faults_due(const char *name, int code);

/* FAULTS_WRAPPER(name, type, (parameters), (arguments), failure, code) defines a wrapper, for tables of X(name, ...).
 * When the call is due, it returns failure, which stands for code. */
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
