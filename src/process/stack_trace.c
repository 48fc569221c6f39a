#include "process/stack_trace.h"

#include "process/symbol.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { FRAMES_MAX = 2 * OS_FRAMES_MAX }; /* with those that were inlined */

struct trace {
    _Atomic int owners;
    uv_mutex_t lock; /* of the frames */
    bool is_resolved;
    size_t frame_count, register_count;
    uint64_t fault_address;
    xf_register registers[OS_REGISTERS_MAX];
    xf_frame frames[FRAMES_MAX];
    union {
        os_record_head head;
        max_align_t bytes[OS_RECORD_SIZE / sizeof(max_align_t)];
    } *record; /* until it is resolved */
};

static void take_registers(trace *trace)
{
    const os_record_head *head = &trace->record->head;

    trace->fault_address = head->fault_address;
    for (uint32_t i = 0; i < head->register_count && i < OS_REGISTERS_MAX && os.register_names[i]; i++)
        trace->registers[trace->register_count++] = (xf_register){os.register_names[i], head->registers[i]};
}

trace *stack_trace_take(const os_record_head *record)
{
    trace *taken;

    if (atomic_load(&record->state) == OS_RECORD_NONE)
        return NULL;
    taken = calloc(1, sizeof *taken);
    if (!taken)
        return NULL;
    taken->record = malloc(sizeof *taken->record);
    if (!taken->record || uv_mutex_init(&taken->lock)) {
        free(taken->record);
        free(taken);
        return NULL;
    }
    memcpy(taken->record, record, sizeof *taken->record);
    atomic_store(&taken->owners, 1);
    take_registers(taken);
    return taken;
}

trace *stack_trace_share(trace *trace)
{
    if (trace)
        atomic_fetch_add(&trace->owners, 1);
    return trace;
}

/* Texts that are empty are nobody's. */
static void drop(const char *text)
{
    if (*text)
        free((void *)(uintptr_t)text);
}

void stack_trace_free(trace *trace)
{
    if (!trace || atomic_fetch_sub(&trace->owners, 1) > 1)
        return;
    for (size_t i = 0; i < trace->frame_count; i++) {
        drop(trace->frames[i].module);
        drop(trace->frames[i].build_id);
        drop(trace->frames[i].function);
        drop(trace->frames[i].file);
    }
    uv_mutex_destroy(&trace->lock);
    free(trace->record);
    free(trace);
}

uint64_t stack_trace_fault_address(const trace *trace)
{
    return trace->fault_address;
}

const xf_register *stack_trace_registers(const trace *trace, size_t *count)
{
    *count = trace->register_count;
    return trace->registers;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* A copy, or "" where there is no memory for one: a name less. */
static const char *keep(const char *text)
{
    char *copy = *text ? malloc(strlen(text) + 1) : NULL;

    return copy ? strcpy(copy, text) : "";
}

/* What symbol_find is asked about, and for whom. */
typedef struct place {
    trace *trace;
    const os_frame *frame;
} place;

static void add_frame(void *arg, const char *function, const char *file, int line, bool inlined)
{
    const place *place = arg;
    trace *trace = place->trace;

    if (trace->frame_count == FRAMES_MAX)
        return;
    trace->frames[trace->frame_count++] = (xf_frame){.address = place->frame->address,
                                                     .module = keep(place->frame->module),
                                                     .build_id = keep(place->frame->build_id),
                                                     .offset = place->frame->offset,
                                                     .function = keep(function),
                                                     .file = keep(file),
                                                     .line = line,
                                                     .inlined = inlined};
}

static void resolve(trace *trace)
{
    os_frame *frames = malloc(OS_FRAMES_MAX * sizeof *frames);
    size_t count = frames ? os_record_frames((const os_record *)trace->record, frames, OS_FRAMES_MAX) : 0;

    for (size_t i = 0; i < count; i++) {
        place place = {trace, &frames[i]};
        if (!*frames[i].module || symbol_find(frames[i].module, frames[i].offset, add_frame, &place) == 0)
            add_frame(&place, "", "", 0, false);
    }
    free(frames);
    free(trace->record);
    trace->record = NULL;
    trace->is_resolved = true;
}

const xf_frame *stack_trace_frames(trace *trace, size_t *count)
{
    uv_mutex_lock(&trace->lock);
    if (!trace->is_resolved)
        resolve(trace);
    *count = trace->frame_count;
    uv_mutex_unlock(&trace->lock);
    return trace->frames;
}
