/* Checks that a test that makes calls fail leaves nothing behind. */
#ifndef LEAK_CHECK_H
#define LEAK_CHECK_H

#include "faults.h"
#include "support.h"
#include "unit.h"

typedef struct counts {
    size_t handles;
    size_t mappings;
    long blocks;
} counts;

static inline counts count(void)
{
    return (counts){support_handles(), support_mappings(), faults_blocks()};
}

/* n, failed: which call failed, for the message. */
static inline void expect_nothing_left(const counts *before, int n, const char *failed)
{
    counts after = count();

    if (after.handles != before->handles || after.mappings != before->mappings || after.blocks != before->blocks)
        fail_msg("call %d, %s: %u handles, %u mappings, %ld blocks; before %u, %u, %ld", n, failed,
                 (unsigned)after.handles, (unsigned)after.mappings, after.blocks, (unsigned)before->handles,
                 (unsigned)before->mappings, before->blocks);
}

#endif
