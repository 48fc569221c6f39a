/* Records of a stack on Windows. */
#include "record.h"

#include "unit.h"
#include "win32/os_private.h"

#include <stdlib.h>

os_record *record_new(void)
{
    os_record *record = calloc(1, sizeof *record);

    assert_non_null(record);
    return record;
}

size_t record_size(void)
{
    return sizeof(os_record);
}

void record_take(void *arg)
{
    os_record *record = arg;
    CONTEXT context;

    RtlCaptureContext(&context);
    record_stack(record, &context);
    atomic_store(&record->head.state, 2);
}

void record_truncate(os_record *record)
{
    record->frame_count = record->frame_count > 2 ? 2 : record->frame_count;
}

void record_smash(os_record *record)
{
    for (uint32_t i = 1; i < OS_FRAMES_MAX; i++) {
        record->frames[i] = 0x1234 * (uint64_t)i;
        record->module_of[i] = NO_MODULE;
    }
}

void record_replace(os_record *record)
{
    for (uint32_t i = 0; i < record->module_count; i++)
        record->modules[i].timestamp++;
}
