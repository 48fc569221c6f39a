#include "process/stack_helper.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/per_process.h"
#include "os/identity.h"
#include "os/machine.h"
#include "process/child.h"
#include "process/stack_answer.h"
#include "process/start_method.h"
#include "process/supervisor.h"
#include "protocol/task_table.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { KEPT_MS = 1000, END_MS = 1000, AGAIN_MS = 100, REQUEST_SIZE = FRAME_HEADER + OS_BUILD_ID_SIZE };

#define MEMORY_FOR_FILES ((size_t)1 << 30)

typedef struct stack_helper {
    supervised supervised; /* while there is a child */
    bool usable;           /* there is a lock */
    uv_mutex_t lock;       /* of the rest */
    os_child *child;       /* NULL: there is none */
    bool ending;           /* it was killed, and the system has not ended it yet */
    os_shm box;
    xf_limits limits;
    frame_decoder in;
    uint8_t bytes[FRAME_BUFFER];
} stack_helper;

static stack_helper helper;
static stack_helper parents_helper; /* in a forked child: see supervisor.c */

/* ---- Its end --------------------------------------------------------------------------------- */

static void forget_helper(void)
{
    os_child_close(helper.child);
    os_shm_close(&helper.box);
    helper.child = NULL;
    helper.ending = false;
    supervisor_remove(&helper.supervised);
}

/* Whether the helper has ended by then.  What it still sends is dropped. */
static bool helper_ends_by(uint64_t deadline)
{
    os_end end;
    size_t count;

    while (os_child_end(helper.child, &end) == XF_EAGAIN) {
        if (uv_hrtime() >= deadline)
            return false;
        (void)os_channel_read(os_child_channel(helper.child, OS_CHANNEL), helper.bytes, sizeof helper.bytes, &count, 0);
        (void)os_child_wait(helper.child, clock_left_ms(deadline));
    }
    return true;
}

/* A process that waits for a file in the kernel may stay for a while: the supervisor looks after it then. */
static void end_helper(int timeout_ms)
{
    if (!helper.child)
        return;
    os_child_kill(helper.child);
    helper.ending = !helper_ends_by(clock_deadline(timeout_ms));
    if (helper.ending)
        supervisor_set_deadline(&helper.supervised, clock_deadline(AGAIN_MS));
    else
        forget_helper();
}

/* A thread that has the lock is using the helper, and sets the deadline anew when it is done. */
static void helper_is_due(supervised *supervised)
{
    (void)supervised;
    if (uv_mutex_trylock(&helper.lock) != 0)
        return;
    end_helper(helper.ending ? 0 : END_MS);
    uv_mutex_unlock(&helper.lock);
}

static void end_helper_at_exit(void);

static void initialize_helper(void)
{
    parents_helper = helper;
    memset(&helper, 0, sizeof helper);
    helper.supervised.on_due = helper_is_due;
    helper.box = OS_SHM_NONE;
    helper.usable = uv_mutex_init(&helper.lock) == 0;
    (void)supervisor_runs();          /* so that the supervisor's own handler is registered first, and called last */
    (void)atexit(end_helper_at_exit); /* without it, the helper ends as any child of a process that has ended */
}

/* Returns whether there can be a helper. */
static bool set_up_helper(void)
{
    static _Atomic int64_t ready_in;

    per_process_set_up(&ready_in, initialize_helper);
    return helper.usable;
}

static void end_helper_at_exit(void)
{
    if (!set_up_helper() || uv_mutex_trylock(&helper.lock) != 0)
        return;
    end_helper(END_MS);
    uv_mutex_unlock(&helper.lock);
}

void stack_helper_end(void)
{
    if (!set_up_helper())
        return;
    uv_mutex_lock(&helper.lock);
    end_helper(END_MS);
    uv_mutex_unlock(&helper.lock);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static void build_request(uint8_t request[REQUEST_SIZE])
{
    frame_put_header(request, &(frame){.type = FRAME_NAMES, .size = OS_BUILD_ID_SIZE});
    os_self_build(request + FRAME_HEADER);
}

static void put_record(const void *record)
{
    memcpy(black_box_record(helper.box.address), record, OS_RECORD_SIZE);
}

static int start_with_record(const void *record)
{
    uint8_t request[REQUEST_SIZE];
    os_start start = {.entry = child_run,
                      .limits = &helper.limits,
                      .stdio = {XF_STDIO_NULL, XF_STDIO_NULL, XF_STDIO_NULL},
                      .box = &helper.box,
                      .first = request,
                      .first_size = sizeof request};
    int rc = start_method_choose(XF_START_DEFAULT, NULL, &start.method);

    if (rc == 0)
        rc = black_box_create(&helper.box, start.method);
    if (rc < 0)
        return rc;
    build_request(request);
    put_record(record);
    helper.limits = (xf_limits){.memory = os_self_memory() + MEMORY_FOR_FILES};
    frame_decoder_open_in(&helper.in, helper.bytes);
    rc = supervisor_start_child(&helper.child, &start);
    if (rc < 0)
        os_shm_close(&helper.box);
    return rc;
}

/* A child would run the whole program again where main does not come to xf_main. */
static int start_helper(const void *record)
{
    int rc = task_table_is_closed() ? supervisor_add(&helper.supervised) : XF_EMAIN;

    if (rc < 0)
        return rc;
    rc = start_with_record(record);
    if (rc < 0)
        supervisor_remove(&helper.supervised);
    return rc;
}

/* Puts the question to the helper, which is started if there is none. */
static bool put_question(const void *record, uint64_t deadline)
{
    uint8_t request[REQUEST_SIZE];

    if (helper.child && helper_ends_by(0))
        forget_helper();
    if (!helper.child)
        return start_helper(record) == 0;
    if (helper.ending)
        return false;
    build_request(request);
    put_record(record);
    return os_channel_write(os_child_channel(helper.child, OS_CHANNEL), request, sizeof request, -1,
                            clock_left_ms(deadline)) == 0;
}

static int next_answer(frame *answer, uint64_t deadline)
{
    size_t room, count;
    int rc;

    while ((rc = frame_decoder_next(&helper.in, answer)) == XF_EAGAIN) {
        uint8_t *space = frame_decoder_space(&helper.in, &room);
        rc = os_channel_read(os_child_channel(helper.child, OS_CHANNEL), space, room, &count, clock_left_ms(deadline));
        if (rc < 0)
            return rc;
        frame_decoder_filled(&helper.in, count);
    }
    return rc == 0 && uv_hrtime() >= deadline ? XF_ETIMEDOUT : rc;
}

/* Takes answers up to the frame that says that there are no more. */
static bool take_answers(stack_helper_found found, void *arg, uint64_t deadline)
{
    xf_frame named;
    frame answer;

    for (int count = 0; count <= STACK_ANSWERS_MAX && next_answer(&answer, deadline) == 0;) {
        if (answer.type == FRAME_PROGRESS)
            return true;
        if (answer.type == FRAME_HELLO)
            continue; /* its first */
        if (answer.type != FRAME_MESSAGE || !stack_answer_read(&answer, &named))
            return false;
        found(arg, &named);
        count++;
    }
    return false;
}

bool stack_helper_ask(const void *record, stack_helper_found found, void *arg)
{
    uint64_t deadline = clock_deadline(STACK_HELPER_MS);
    bool answered;

    if (!set_up_helper())
        return false;
    uv_mutex_lock(&helper.lock);
    answered = put_question(record, deadline) && take_answers(found, arg, deadline);
    if (answered)
        supervisor_set_deadline(&helper.supervised, clock_deadline(KEPT_MS));
    else
        end_helper(helper.ending ? 0 : END_MS);
    uv_mutex_unlock(&helper.lock);
    return answered;
}
