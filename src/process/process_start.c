#include "process/process_start.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/monitor.h"
#include "base/writer.h"
#include "os/cancel.h"
#include "process/child.h"
#include "process/process_lead.h"
#include "process/process_log.h"
#include "process/start_method.h"
#include "protocol/task_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_TIMEOUT_MS = 30000, GRACE_MS = 2000, CAPTURE_LIMIT = 1 << 20 };

#define MESSAGE_LIMIT (UINT64_C(4) << 30)

/* The input that the child gets: the caller's bytes, or encoded ones. */
typedef struct payload {
    const void *data;
    size_t size;
    xf_writer encoded;
} payload;

static bool is_stdio_in_range(xf_stdio stdio, xf_stdio last)
{
    return stdio >= XF_STDIO_DEFAULT && stdio <= last;
}

static int check_stdio(const xf_process_options *options)
{
    if (!is_stdio_in_range(options->stdin_from, XF_STDIO_FILE) || options->stdin_from == XF_STDIO_CAPTURE ||
        options->stdin_from == XF_STDIO_LOG)
        return error_detail(XF_EINVAL, "option stdin_from is %d", (int)options->stdin_from);
    if (!is_stdio_in_range(options->stdout_to, XF_STDIO_FILE) || !is_stdio_in_range(options->stderr_to, XF_STDIO_FILE))
        return error_detail(XF_EINVAL, "option stdout_to or stderr_to is out of range");
    if ((options->stdin_from == XF_STDIO_FILE && !options->stdin_path) ||
        (options->stdout_to == XF_STDIO_FILE && !options->stdout_path) ||
        (options->stderr_to == XF_STDIO_FILE && !options->stderr_path))
        return error_detail(XF_EINVAL, "XF_STDIO_FILE needs option stdin_path, stdout_path or stderr_path");
    return 0;
}

int process_start_check_options(const xf_process_options *options)
{
    int rc;

    if (options->start < XF_START_DEFAULT || options->start > XF_START_FORKSERVER)
        return error_detail(XF_EINVAL, "option start is %d", (int)options->start);
    rc = check_stdio(options);
    if (rc < 0)
        return rc;
    if (options->start_timeout_ms < 0 || options->grace_ms < -1)
        return error_detail(XF_EINVAL, "option start_timeout_ms is %d, grace_ms %d", options->start_timeout_ms,
                            options->grace_ms);
    if (options->limits.cpu_ms < 0 || options->limits.wall_ms < 0)
        return error_detail(XF_EINVAL, "option limits.cpu_ms is %d, wall_ms %d", options->limits.cpu_ms,
                            options->limits.wall_ms);
    if (options->limits.files < 0 || options->limits.processes < 0)
        return error_detail(XF_EINVAL, "option limits.files is %d, processes %d", options->limits.files,
                            options->limits.processes);
    if (options->log_rate < 0)
        return error_detail(XF_EINVAL, "option log_rate is %d", options->log_rate);
    if (options->capture_limit > SIZE_MAX / 4)
        return error_detail(XF_EINVAL, "option capture_limit is %zu", options->capture_limit);
    for (const char *const *change = options->environment; change && *change; change++)
        if (!**change || **change == '=')
            return error_detail(XF_EINVAL, "option environment holds \"%s\", which is neither NAME=value nor NAME",
                                *change);
    return 0;
}

int process_start_check_task(const xf_task *task, size_t size)
{
    int rc = task_table_check(task);

    if (rc < 0)
        return rc;
    if (!task->input_codec && task->input_size != XF_ANY_SIZE && size != task->input_size)
        return error_detail(XF_ESIZE, "task %s takes %zu bytes, not %zu", task->name, task->input_size, size);
    if (child_depth() >= child_depth_limit())
        return error_detail(XF_EDEPTH, "task %s would run at depth %d", task->name, child_depth() + 1);
    if (!task_table_is_closed())
        return error_detail(XF_EMAIN, "call xf_main at the top of main");
    return 0;
}

static int encode_payload(const xf_task *task, payload *payload)
{
    int rc;

    if (!task->input_codec)
        return 0;
    rc = codec_encode_for(task, task->input_codec, payload->data, &payload->encoded);
    payload->data = payload->encoded.data;
    payload->size = payload->encoded.size;
    return rc;
}

/* Builds the task frame, the first that the child reads. */
static size_t build_task_frame(uint8_t *task_frame, const xf_task *task, const payload *payload)
{
    frame_fields fields = {.size = 0};
    uint8_t build[OS_BUILD_ID_SIZE];
    size_t inside = payload->size > FRAME_INLINE_MAX ? 0 : payload->size;

    os_self_build(build);
    frame_put_u32(&fields, FRAME_VERSION);
    frame_put(&fields, build, sizeof build);
    frame_put_u32(&fields, (uint32_t)child_depth() + 1);
    frame_put_u32(&fields, (uint32_t)child_depth_limit());
    frame_put_u64(&fields, task->input_size);
    frame_put_u64(&fields, task->output_size);
    frame_put_u64(&fields, payload->size);
    frame_put_text(&fields, task->name);
    frame_put_header(task_frame, &(frame){.type = FRAME_TASK, .size = fields.size + inside});
    memcpy(task_frame + FRAME_HEADER, fields.bytes, fields.size);
    if (inside > 0)
        memcpy(task_frame + FRAME_HEADER + fields.size, payload->data, inside);
    return FRAME_HEADER + fields.size + inside;
}

int process_start_grace_ms(const xf_process_options *options)
{
    return options->grace_ms < 0 ? 0 : options->grace_ms ? options->grace_ms : GRACE_MS;
}

static bool is_captured(xf_stdio stdio)
{
    return stdio == XF_STDIO_CAPTURE || stdio == XF_STDIO_LOG;
}

static void set_process_options(xf_process *process, const xf_process_options *options)
{
    size_t limit = options->capture_limit ? options->capture_limit : CAPTURE_LIMIT;

    process->on_log = options->on_log;
    process->on_log_arg = options->on_log_arg;
    process->start_timeout_ms = options->start_timeout_ms ? options->start_timeout_ms : START_TIMEOUT_MS;
    process->grace_ms = process_start_grace_ms(options);
    process->captured[0].limit = is_captured(options->stdout_to) ? limit : 0;
    process->captured[1].limit = is_captured(options->stderr_to) ? limit : 0;
    process->start_deadline = clock_deadline(process->start_timeout_ms);
    process->grace_deadline = CLOCK_NEVER;
    process->limits = options->limits;
    process->wall_deadline = options->limits.wall_ms ? clock_deadline(options->limits.wall_ms) : CLOCK_NEVER;
    inbox_open(&process->inbox, options->message_limit ? options->message_limit : MESSAGE_LIMIT);
    process->report.started = clock_now();
}

/* Keeps the whole path, because the program may have changed its directory by the time that there is a dump. */
static int find_dumps(xf_process *process, const xf_process_options *options)
{
    uv_fs_t request;
    int rc;

    if (!options->dumps)
        return 0;
    rc = uv_fs_realpath(NULL, &request, options->dumps, NULL);
    if (rc < 0)
        rc = error_from_uv(rc, "option dumps is \"%s\"", options->dumps);
    else if (strlen(request.ptr) > 800)
        rc = error_detail(XF_EINVAL, "option dumps is a path of %zu bytes", strlen(request.ptr));
    else if (!(process->dumps = malloc(strlen(request.ptr) + 1)))
        rc = error_detail(XF_ENOMEM, "option dumps");
    else
        strcpy(process->dumps, request.ptr);
    uv_fs_req_cleanup(&request);
    return rc < 0 ? rc : 0;
}

static int create_xf_process(xf_process **out, const xf_task *task, const xf_process_options *options)
{
    const char *name = options->name ? options->name : task->name;
    xf_process *process = calloc(1, sizeof *process + strlen(name) + 1);
    int rc;

    if (!process)
        return error_detail(XF_ENOMEM, "process %s", name);
    process->supervised.on_due = process_lead_on_due;
    process->log_calls.call = process_lead_on_log_turn;
    process->generation = os_self_generation();
    process->task = task;
    process->box.handle = process->input.handle = -1;
    process->name = strcpy((char *)(process + 1), name);
    rc = frame_decoder_open(&process->in);
    if (rc < 0)
        goto free_process;
    rc = find_dumps(process, options);
    if (rc < 0)
        goto close_wire;
    rc = monitor_open(&process->lock, &process->changed, "a process");
    if (rc < 0)
        goto free_dumps;
    set_process_options(process, options);
    *out = process;
    return 0;

free_dumps:
    free(process->dumps);
close_wire:
    frame_decoder_close(&process->in);
free_process:
    free(process);
    return rc;
}

static int share_input(xf_process *process, const payload *payload)
{
    int rc;

    if (payload->size <= FRAME_INLINE_MAX)
        return 0;
    rc = os_shm_create(&process->input, payload->size, OS_SHM_PRIVATE);
    if (rc == 0)
        memcpy(process->input.address, payload->data, payload->size);
    return rc;
}

/* Sets what the child has to know before its first instruction. */
static void prepare_black_box(black_box *box, const xf_process *process, const xf_process_options *options)
{
    box->status.record_at = options->no_crash_record ? 0 : offsetof(black_box, record);
    box->log_wanted = options->on_log != NULL;
    box->log_rate = options->log_rate;
    box->marked = (options->on_log && options->stdout_to == XF_STDIO_LOG) << 1 |
                  (options->on_log && options->stderr_to == XF_STDIO_LOG) << 2;
    if (process->dumps) {
        snprintf(box->dumps, sizeof box->dumps, "%s/crossfork-%llx-%llx", process->dumps,
                 (unsigned long long)uv_os_getpid(), (unsigned long long)uv_hrtime());
        box->status.dump_at = offsetof(black_box, dumps);
    }
}

/* What the seam does with a stream.  XF_STDIO_LOG concerns only the parent: the seam captures the stream. */
static xf_stdio plain_stdio(xf_stdio wanted, xf_stdio otherwise)
{
    return wanted == XF_STDIO_LOG ? XF_STDIO_CAPTURE : wanted ? wanted : otherwise;
}

/* The nonce of the streams is known once the child is started. */
static int open_printed_lines(xf_process *process)
{
    const black_box *box = process->box.address;
    int rc = 0;

    for (int i = 0; i < 2 && rc == 0; i++)
        if (box->marked & 2U << i)
            rc = line_splitter_open(&process->printed[i], 0);
    return rc;
}

/* Encodes the file now, because the options and the input belong to the caller. */
static int prepare_replay(xf_process *process, const payload *payload, const xf_process_options *options)
{
    const replay_case what = {.task = process->task->name,
                              .declared_input = process->task->input_size,
                              .declared_output = process->task->output_size,
                              .input = payload->data,
                              .size = payload->size,
                              .initializer = "",
                              .environment = options->environment,
                              .directory = options->directory};

    if (!options->save_failures || process->owner.ended) /* a pool saves its items, and not its workers */
        return 0;
    process->save_to = malloc(strlen(options->save_failures) + 1);
    if (!process->save_to)
        return error_detail(XF_ENOMEM, "option save_failures");
    strcpy(process->save_to, options->save_failures);
    return replay_file_encode(&process->replay, &what);
}

static int start_process_child(xf_process *process, const process_plan *plan, const payload *payload,
                               const xf_process_options *options)
{
    size_t room;
    int rc;
    uint8_t *task_frame = frame_decoder_space(&process->in, &room); /* nothing is read before there is a child */
    os_start start = {
        .method = plan->method,
        .entry = child_run,
        .environment = options->environment,
        .directory = options->directory,
        .limits = &process->limits,
        .stdio = {plain_stdio(options->stdin_from, XF_STDIO_NULL), plain_stdio(options->stdout_to, XF_STDIO_INHERIT),
                  plain_stdio(options->stderr_to, XF_STDIO_INHERIT)},
        .stdio_path = {options->stdin_path, options->stdout_path, options->stderr_path},
        .box = &process->box,
        .inputs = {process->input.address ? &process->input : plan->segments[0], plan->segments[1]},
        .first = task_frame,
    };

    prepare_black_box(process->box.address, process, options);
    rc = open_printed_lines(process);
    if (rc < 0)
        return rc;
    start.first_size = build_task_frame(task_frame, process->task, payload);
    rc = supervisor_start_child(&process->child, &start);
    for (int i = 0; i < 2; i++)
        process->printed[i].nonce = ((black_box *)process->box.address)->status.nonce;
    return rc;
}

/* Starts the child of a process that was created.  Everything that can fail is done before that, except for watching
 * it. */
static int start_created(xf_process *process, const process_plan *plan, const payload *payload,
                         const xf_process_options *options)
{
    int rc = prepare_replay(process, payload, options);

    if (rc == 0)
        rc = share_input(process, payload);
    if (rc == 0)
        rc = supervisor_add(&process->supervised);
    if (rc < 0)
        return rc;
    rc = process_log_open(process);
    if (rc == 0)
        rc = black_box_create(&process->box, plan->method);
    if (rc == 0)
        rc = start_process_child(process, plan, payload, options);
    if (rc < 0) {
        process_log_close(process);
        supervisor_remove(&process->supervised);
        return rc;
    }
    os_shm_forget(&process->input);
    process_lead_begin(process);
    return 0;
}

int process_start(xf_process **out, const process_plan *plan, const xf_process_options *options)
{
    payload payload = {plan->input, plan->size, {0}};
    xf_process *process = NULL;
    int rc = encode_payload(plan->task, &payload);

    if (rc < 0)
        goto free_payload;
    rc = create_xf_process(&process, plan->task, options);
    if (rc < 0)
        goto free_payload;
    process->owner = plan->owner;
    rc = start_created(process, plan, &payload, options);
    if (rc == 0)
        *out = process;
    else
        process_lead_discard(process);

free_payload:
    writer_free(&payload.encoded);
    return rc;
}

int xf_process_start(xf_process **out, xf_task *task, const void *input, size_t size, const xf_process_options *options)
{
    OS_HOLD_CANCEL;
    static const xf_process_options defaults;
    process_plan plan = {.task = task, .input = input, .size = size};
    int rc;

    if (!options)
        options = &defaults;
    rc = process_start_check_options(options);
    if (rc == 0)
        rc = process_start_check_task(task, size);
    if (rc == 0 && !task->input_codec)
        rc = error_check_data(input, size, "input");
    if (rc == 0)
        rc = start_method_choose(options->start, NULL, &plan.method);
    return rc < 0 ? rc : process_start(out, &plan, options);
}
