/* What both twins need, so that it is written once. */
#ifndef OS_TWINS_H
#define OS_TWINS_H

#include "os/crash.h"

#include <string.h>

/* Whether output and error of a child go to the same file, which is opened once then. */
static inline bool twins_share_output(const os_start *start)
{
    return start->stdio[1] == XF_STDIO_FILE && start->stdio[2] == XF_STDIO_FILE &&
           strcmp(start->stdio_path[1], start->stdio_path[2]) == 0;
}

/* Takes an unused record, or a stale one, for the calling thread to write.  Async-signal-safe. */
static inline bool twins_claim_record(os_record_head *head)
{
    uint32_t none = OS_RECORD_NONE, stale = OS_RECORD_STALE;

    return atomic_compare_exchange_strong(&head->state, &none, OS_RECORD_BEGUN) ||
           atomic_compare_exchange_strong(&head->state, &stale, OS_RECORD_BEGUN);
}

#endif
