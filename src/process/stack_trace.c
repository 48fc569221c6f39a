#include "process/stack_trace.h"

#include "process/symbol.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { FRAMES_MAX = 2 * OS_FRAMES_MAX }; /* inlined functions have frames of their own */

struct stack_trace {
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

static void copy_registers(stack_trace *trace)
{
    const os_record_head *head = &trace->record->head;

    trace->fault_address = head->fault_address;
    for (uint32_t i = 0; i < head->register_count && i < OS_REGISTERS_MAX && os.register_names[i]; i++)
        trace->registers[trace->register_count++] = (xf_register){os.register_names[i], head->registers[i]};
}

stack_trace *stack_trace_take(const os_record_head *record)
{
    stack_trace *taken;

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
    copy_registers(taken);
    return taken;
}

stack_trace *stack_trace_share(stack_trace *trace)
{
    if (trace)
        atomic_fetch_add(&trace->owners, 1);
    return trace;
}

/* Frees a text of copy_text, which are literals when they are empty. */
static void free_text(const char *text)
{
    if (*text)
        free((void *)(uintptr_t)text);
}

void stack_trace_free(stack_trace *trace)
{
    if (!trace || atomic_fetch_sub(&trace->owners, 1) > 1)
        return;
    for (size_t i = 0; i < trace->frame_count; i++) {
        free_text(trace->frames[i].module);
        free_text(trace->frames[i].build_id);
        free_text(trace->frames[i].function);
        free_text(trace->frames[i].file);
    }
    uv_mutex_destroy(&trace->lock);
    free(trace->record);
    free(trace);
}

uint64_t stack_trace_fault_address(const stack_trace *trace)
{
    return trace->fault_address;
}

const xf_register *stack_trace_registers(const stack_trace *trace, size_t *count)
{
    *count = trace->register_count;
    return trace->registers;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Copies a text; if there is no memory for that, gives "", and the frame has no name. */
static const char *copy_text(const char *text)
{
    char *copy = *text ? malloc(strlen(text) + 1) : NULL;

    return copy ? strcpy(copy, text) : "";
}

/* The frame that symbol_find is asked about, and the trace that it belongs to. */
typedef struct frame_search {
    stack_trace *trace;
    const os_frame *frame;
} frame_search;

static void add_frame(void *arg, const char *function, const char *file, int line, bool inlined)
{
    const frame_search *frame_search = arg;
    stack_trace *trace = frame_search->trace;

    if (trace->frame_count == FRAMES_MAX)
        return;
    trace->frames[trace->frame_count++] = (xf_frame){.address = frame_search->frame->address,
                                                     .module = copy_text(frame_search->frame->module),
                                                     .build_id = copy_text(frame_search->frame->build_id),
                                                     .offset = frame_search->frame->offset,
                                                     .function = copy_text(function),
                                                     .file = copy_text(file),
                                                     .line = line,
                                                     .inlined = inlined};
}

static void find_frames(stack_trace *trace)
{
    os_frame *frames = malloc(OS_FRAMES_MAX * sizeof *frames);
    size_t count = frames ? os_record_frames((const os_record *)trace->record, frames, OS_FRAMES_MAX) : 0;

    for (size_t i = 0; i < count; i++) {
        frame_search frame_search = {trace, &frames[i]};
        if (!*frames[i].module || symbol_find(frames[i].module, frames[i].offset, add_frame, &frame_search) == 0)
            add_frame(&frame_search, "", "", 0, false);
    }
    free(frames);
    free(trace->record);
    trace->record = NULL;
    trace->is_resolved = true;
}

const xf_frame *stack_trace_frames(stack_trace *trace, size_t *count)
{
    uv_mutex_lock(&trace->lock);
    if (!trace->is_resolved)
        find_frames(trace);
    *count = trace->frame_count;
    uv_mutex_unlock(&trace->lock);
    return trace->frames;
}
