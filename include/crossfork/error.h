/* Error codes.
 *
 *     int rc = xf_process_start(&process, &square, &x, sizeof x, NULL);
 *     if (rc < 0)
 *         fprintf(stderr, "%s: %s (%s)\n", xf_err_name(rc), xf_strerror(rc), xf_error_detail()); */
#ifndef CROSSFORK_ERROR_H
#define CROSSFORK_ERROR_H

#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* XF_ERRORS(X) calls X(name, value, text) for each code.  The values are the same on every system and never change. */
#define XF_ERRORS(X)                                                                                                   \
    X(XF_EINVAL, -1, "invalid argument")                                                                               \
    X(XF_ENOMEM, -2, "not enough memory")                                                                              \
    X(XF_ETIMEDOUT, -3, "timed out")                                                                                   \
    X(XF_ENOTSUP, -4, "not supported on this system")                                                                  \
    X(XF_EAGAIN, -5, "nothing available now")                                                                          \
    X(XF_EEND, -6, "the other end is closed")                                                                          \
    X(XF_EBUSY, -7, "still in use")                                                                                    \
    X(XF_EDEADLK, -8, "would wait for itself")                                                                         \
    X(XF_EHANDLES, -9, "too many open files or handles")                                                               \
    X(XF_EPROCESSES, -10, "too many processes")                                                                        \
    X(XF_EACCESS, -11, "permission denied")                                                                            \
    X(XF_ENOENT, -12, "no such file or directory")                                                                     \
    X(XF_ENOTDIR, -13, "not a directory")                                                                              \
    X(XF_ENOSPACE, -14, "no space left")                                                                               \
    X(XF_EIO, -15, "input/output error")                                                                               \
    X(XF_ESYSTEM, -16, "the system refused")                                                                           \
    X(XF_EMAIN, -17, "the program does not call xf_main, or a child did not reach it in time")                         \
    X(XF_EBUILD, -18, "parent and child run different builds of the program")                                          \
    X(XF_ENOTASK, -19, "no task of that name is registered")                                                           \
    X(XF_EDUPTASK, -20, "two tasks have the same name")                                                                \
    X(XF_ESIZE, -21, "size differs from what the task declares")                                                       \
    X(XF_EPROTO, -22, "broken or hostile data on the channel")                                                         \
    X(XF_EDEPTH, -23, "processes are nested too deeply")                                                               \
    X(XF_ECODEC, -24, "the task's codec failed")                                                                       \
    X(XF_ELIMIT, -25, "a configured limit was reached")                                                                \
    X(XF_EFAILED, -26, "the task failed")                                                                              \
    X(XF_ESTATE, -27, "not possible in this state")                                                                    \
    X(XF_EOWNERDEAD, -28, "the previous owner exited while holding it")                                                \
    X(XF_EEXIST, -29, "already taken")

/* The codes themselves: XF_EINVAL and so on, and XF_OK. */
typedef enum xf_error {
    XF_OK = 0,
#define XF_ERROR_MEMBER(name, value, text) name = value,
    XF_ERRORS(XF_ERROR_MEMBER)
#undef XF_ERROR_MEMBER
} xf_error;

/* The text of a code, in English, without a full stop; "unknown error" for a number that is no code.  Never NULL. */
XF_API const char *xf_strerror(int code);

/* The name of a code, "XF_EINVAL"; "XF_E?" for a number that is no code.  Never NULL. */
XF_API const char *xf_err_name(int code);

/* Details of the last crossfork call of this thread that failed: the task, the path, the option, and the system's own
 * error where there is one.  Valid until the thread's next crossfork call; "" before the first failure.
 * Not every XF_ETIMEDOUT sets it: after XF_ETIMEDOUT it may be an older text. */
XF_API const char *xf_error_detail(void);

#ifdef __cplusplus
}
#endif

#endif
