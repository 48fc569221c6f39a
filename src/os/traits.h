/* THE SEAM: what crossfork needs of a system beyond the C library and libuv.
 *
 * Everything in src/ above this folder is the same on every system.  src/posix and src/win32 hold the twins that keep
 * these contracts: the same files, the same functions, in the same order.  tests/seam asserts the contracts sentence by
 * sentence.
 *
 *   memory.h channel.h child.h server.h identity.h cancel.h
 *                                                    The core port: processes, pools, queues and locks need no more.
 *   machine.h endpoint.h crash.h                     A new system may leave these out: each function says what it
 *                                                    returns then.
 *
 * Rules for all functions.  They return 0 or a negative XF_E* code and write outputs only on success.  On failure they
 * hold nothing, and have stored the system's own text with error_detail (base/error.h).  Several threads may call them
 * at the same time for different objects, and for one object only where the contract says so.  No process but the one
 * that a handle is made for inherits it, also when several threads start children at the same time. */
#ifndef OS_TRAITS_H
#define OS_TRAITS_H

#include "crossfork/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Differences between systems, as data. */
typedef struct os_traits {
    bool has_fork;         /* OS_FORK works */
    bool has_server;       /* OS_SERVER differs from OS_SPAWN */
    bool attach_needs_ack; /* a handle in a channel is lost if its sender ends before the receiver has taken it */
    const char *const *register_names;  /* of an os_record_head (crash.h), and a NULL */
    const char *const *runtime_modules; /* how files of the C and C++ libraries begin, in lower case, and a NULL */
} os_traits;

extern const os_traits os;

#endif
