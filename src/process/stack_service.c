#include "process/stack_service.h"

#include "os/identity.h"
#include "process/stack_answer.h"
#include "process/symbol.h"

#include <string.h>

/* The stack that is being named. */
static struct {
    channel *channel;
    const os_frame *frame;
    int sent;
    os_frame frames[OS_FRAMES_MAX];
} stack;

static void send_named(void *arg, const char *function, const char *file, int line, bool inlined)
{
    (void)arg;
    if (stack.sent++ < STACK_ANSWERS_MAX)
        (void)stack_answer_send(stack.channel, &(xf_frame){.address = stack.frame->address,
                                                           .module = stack.frame->module,
                                                           .build_id = stack.frame->build_id,
                                                           .offset = stack.frame->offset,
                                                           .function = function,
                                                           .file = file,
                                                           .line = line,
                                                           .inlined = inlined});
}

/* A frame without an answer of its own says that there are no more. */
static int name_stack(const os_record *record)
{
    size_t count = os_record_frames(record, stack.frames, OS_FRAMES_MAX, true);

    stack.sent = 0;
    for (size_t i = 0; i < count; i++) {
        stack.frame = &stack.frames[i];
        if (!*stack.frame->module || symbol_find(stack.frame->module, stack.frame->offset, send_named, NULL) == 0)
            send_named(NULL, "", "", 0, false);
    }
    return channel_send(stack.channel, FRAME_PROGRESS, NULL, NULL, 0, true);
}

static bool is_of_this_build(const frame *request)
{
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    return request->size == sizeof build && memcmp(request->payload, build, sizeof build) == 0;
}

_Noreturn void stack_service_run(channel *channel, black_box *box, const frame *first)
{
    const os_record *record = (const os_record *)black_box_record(box);
    frame next = *first;
    int rc = 0;

    stack.channel = channel;
    while (rc == 0 && next.type == FRAME_NAMES && is_of_this_build(&next)) {
        rc = name_stack(record);
        if (rc == 0)
            rc = channel_receive(channel, &next);
    }
    os_self_exit(0);
}
