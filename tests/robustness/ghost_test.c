/* Goal: a child reaches no other child.  It has no memory of those that run, and what it leaves behind does not reach
 * the next one: a descendant that lives on, and writes to all that it shared with the parent, changes nothing. */
#include "os/identity.h"
#include "process/call.h"
#include "tasks.h"

enum { LATER_CHILDREN = 200, FALSE_RESULT = 666 };

static void put_frame(uint8_t *bytes, size_t *size, frame_type type, const frame_fields *fields)
{
    frame_put_header(bytes + *size, &(frame){.type = type, .size = fields->size});
    memcpy(bytes + *size + FRAME_HEADER, fields->bytes, fields->size);
    *size += FRAME_HEADER + fields->size;
}

/* What a child leaves in its box whose task gave the false result. */
static size_t put_false_end(uint8_t *bytes)
{
    frame_fields hello = {.size = 0}, result = {.size = 0}, bye = {.size = 0};
    uint8_t build[OS_BUILD_ID_SIZE];
    size_t size = 0;

    os_self_build(build);
    frame_put_u32(&hello, FRAME_VERSION);
    frame_put(&hello, build, sizeof build);
    frame_put_u64(&hello, 1);
    frame_put_u64(&hello, 2);
    frame_put_u32(&result, FALSE_RESULT);
    frame_put_u32(&bye, FRAME_OUTCOME_DONE);
    frame_put_u32(&bye, 0);
    put_frame(bytes, &size, FRAME_HELLO, &hello);
    put_frame(bytes, &size, FRAME_RESULT, &result);
    put_frame(bytes, &size, FRAME_BYE, &bye);
    return size;
}

static void haunt(void *arg)
{
    black_box *box = arg;
    uint8_t bytes[BLACK_BOX_LAST_FRAMES];
    size_t size = put_false_end(bytes);

    for (;;) {
        memcpy(box->last_frames, bytes, size);
        atomic_store(&box->last_frames_size, (uint32_t)size);
    }
}

/* Leaves a descendant behind, and ends in good order. */
XF_ENTRY(leave_a_ghost)
{
    int64_t ghost = support_escape(haunt, call->box);

    send_number(call, ghost);
    return 0;
}

XF_TASK(give_seven, const int *in, int *out)
{
    (void)call;
    *out = *in == 1 ? 7 : -1;
    return 0;
}

static bool gives_seven(void)
{
    const int one = 1;
    xf_process *process = start(&give_seven, &one, sizeof one, NULL);
    bool right = join(process).kind == XF_END_DONE && *(const int *)xf_process_result(process, NULL) == 7;

    xf_process_free(process);
    return right;
}

static void a_ghost_does_not_reach_later_children(void **state)
{
    xf_process *process = start(&leave_a_ghost, NULL, 0, NULL);
    int64_t ghost = receive_number(process);
    int wrong = 0;

    (void)state;
    join(process);
    xf_process_free(process);
    for (int i = 0; ghost && i < LATER_CHILDREN; i++)
        wrong += !gives_seven();
    if (!ghost)
        skip(); /* nobody leaves the job of a child */
    support_kill(ghost);
    assert_int_equal(wrong, 0);
}

/* Sends how much shared memory it has, and waits, so that its siblings live at the same time. */
XF_ENTRY(count_mappings)
{
    send_number(call, (int64_t)support_mappings());
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

/* A large input is shared memory, too. */
static void siblings_share_nothing(void **state)
{
    enum { SIBLINGS = 4, INPUT = 100000 };
    xf_process *siblings[SIBLINGS];
    char *input = calloc(1, INPUT);
    int64_t first = 0;

    (void)state;
    for (int i = 0; i < SIBLINGS; i++) {
        int64_t count;
        siblings[i] = start(&count_mappings, input, INPUT, NULL);
        count = receive_number(siblings[i]);
        if (i == 0)
            first = count;
        assert_int_equal(count, first);
    }
    for (int i = 0; i < SIBLINGS; i++) {
        xf_process_terminate(siblings[i]);
        expect_end(siblings[i], XF_END_DONE, 0);
    }
    free(input);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siblings_share_nothing),
        cmocka_unit_test(a_ghost_does_not_reach_later_children),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
