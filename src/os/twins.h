/* What both twins need, so that it is written once. */
#ifndef OS_TWINS_H
#define OS_TWINS_H

#include "os/crash.h"

#include <errno.h>
#include <string.h>

/* Whether output and error of a child go to the same file, which is opened once then. */
static inline bool twins_share_output(const os_start *start)
{
    return start->stdio[1] == XF_STDIO_FILE && start->stdio[2] == XF_STDIO_FILE &&
           strcmp(start->stdio_path[1], start->stdio_path[2]) == 0;
}

/* What a child that ends under limits.memory must still be able to allocate; otherwise it is short of memory.  Errno
 * alone is no sign of that, as it stays after a failure that was handled; with it more is demanded, because what was
 * refused may have been large.  Async-signal-safe. */
static inline size_t twins_memory_of_sign(const os_status *status, int error)
{
    return status->limits.memory / (error == ENOMEM ? 4 : 16) + 1;
}

/* Takes an unused record, or a stale one, for the calling thread to write.  Async-signal-safe. */
static inline bool twins_claim_record(os_record_head *head)
{
    uint32_t none = OS_RECORD_NONE, stale = OS_RECORD_STALE;

    return atomic_compare_exchange_strong(&head->state, &none, OS_RECORD_BEGUN) ||
           atomic_compare_exchange_strong(&head->state, &stale, OS_RECORD_BEGUN);
}

#endif
