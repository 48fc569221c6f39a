#include "process/stack_trace.h"

#include "base/copy_once.h"
#include "process/stack_answer.h"
#include "process/stack_helper.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct stack_trace {
    _Atomic int owners;
    uv_mutex_t lock; /* of the frames */
    bool is_resolved;
    size_t frame_count, register_count;
    uint64_t fault_address;
    xf_register registers[OS_REGISTERS_MAX];
    xf_frame frames[STACK_ANSWERS_MAX];
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
    copy_once(taken->record, record, sizeof *taken->record);
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

static void drop_frames(stack_trace *trace)
{
    for (size_t i = 0; i < trace->frame_count; i++) {
        free_text(trace->frames[i].module);
        free_text(trace->frames[i].build_id);
        free_text(trace->frames[i].function);
        free_text(trace->frames[i].file);
    }
    trace->frame_count = 0;
}

void stack_trace_free(stack_trace *trace)
{
    if (!trace || atomic_fetch_sub(&trace->owners, 1) > 1)
        return;
    drop_frames(trace);
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

static void add_frame(void *arg, const xf_frame *frame)
{
    stack_trace *trace = arg;
    xf_frame *added = &trace->frames[trace->frame_count];

    if (trace->frame_count == STACK_ANSWERS_MAX)
        return;
    *added = *frame;
    added->module = copy_text(frame->module);
    added->build_id = copy_text(frame->build_id);
    added->function = copy_text(frame->function);
    added->file = copy_text(frame->file);
    trace->frame_count++;
}

/* By the record alone: no file is looked at. */
static void find_plain_frames(stack_trace *trace)
{
    os_frame *frames = malloc(OS_FRAMES_MAX * sizeof *frames);
    size_t count = frames ? os_record_frames((const os_record *)trace->record, frames, OS_FRAMES_MAX, false) : 0;

    for (size_t i = 0; i < count; i++)
        add_frame(trace, &(xf_frame){.address = frames[i].address,
                                     .module = frames[i].module,
                                     .build_id = "",
                                     .offset = frames[i].offset,
                                     .function = "",
                                     .file = ""});
    free(frames);
}

static void find_frames(stack_trace *trace)
{
    if (!stack_helper_ask(trace->record, add_frame, trace)) {
        drop_frames(trace);
        find_plain_frames(trace);
    }
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
