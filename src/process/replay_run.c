#include "process/replay_run.h"

#include "base/aligned.h"
#include "base/error.h"
#include "base/printable.h"
#include "process/call.h"
#include "process/replay_file.h"
#include "process/setting.h"
#include "process/task_boundary.h"
#include "protocol/task_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_REFUSED = 2 };

static struct {
    black_box box;
    xf_call call;
} replayed;

/* ---- The back-end of its task's calls -------------------------------------------------------- */

static int replay_run_output(xf_call *call, size_t size)
{
    call->output = (os_shm){aligned_create(size), size, -1, 0};
    return call->output.address ? 0 : error_detail(XF_ENOMEM, "%zu bytes of output", size);
}

static void replay_run_drop_output(xf_call *call)
{
    aligned_free(call->output.address);
}

/* Writes a line with a text that the task, or the file, has chosen. */
static void tell_text(const char *before, const char *text, const char *after)
{
    fprintf(stderr, "crossfork: %s", before);
    printable_write(stderr, text, strlen(text));
    fprintf(stderr, "%s\n", after);
}

static int replay_run_log(xf_call *call, xf_log_line *line, size_t size)
{
    char before[XF_TASK_NAME_MAX + 3];

    (void)call, (void)size;
    snprintf(before, sizeof before, "%s: ", line->task);
    tell_text(before, line->text, "");
    return 0;
}

static int replay_run_send(xf_call *call, const void *data, size_t size)
{
    (void)data;
    fprintf(stderr, "crossfork: %s sends a message of %zu bytes\n", call->task->name, size);
    return 0;
}

/* There is no parent that could ask the task to stop. */
static bool replay_run_stop_requested(xf_call *call, int timeout_ms)
{
    enum { LONG_MS = 1000 };

    (void)call;
    while (timeout_ms < 0)
        uv_sleep(LONG_MS);
    uv_sleep((unsigned)timeout_ms);
    return false;
}

static const call_backend replay_run_backend = {.output = replay_run_output,
                                                .drop_output = replay_run_drop_output,
                                                .log = replay_run_log,
                                                .send = replay_run_send,
                                                .stop_requested = replay_run_stop_requested};

/* ---- Running --------------------------------------------------------------------------------- */

static _Noreturn void refuse_replay(void)
{
    tell_text("XF_REPLAY: ", xf_error_detail(), "");
    exit(EXIT_REFUSED);
}

static void *copy_replay_input(const void *input, size_t size)
{
    void *copy = aligned_create(size + 1);

    if (!copy) {
        error_detail(XF_ENOMEM, "%zu bytes of input", size);
        refuse_replay();
    }
    if (size > 0)
        memcpy(copy, input, size);
    return copy;
}

/* Runs one task; returns its code. */
static int run_again(const xf_task *task, const void *input, size_t size)
{
    xf_call *call = &replayed.call;
    void *copy = copy_replay_input(input, size);
    int code;

    call->task = task;
    call->input = copy;
    call->input_size = size;
    atomic_store(&call->box->phase, XF_PHASE_LOADING);
    code = call_decode(call);
    if (code == 0)
        code = task_boundary(call, NULL);
    if (call->fail_code != 0)
        code = call->fail_code;
    call_end_object(call);
    if (code == 0 && call_lacks_output(call))
        code = xf_fail(call, XF_ESIZE, "task %s gave no output", task->name);
    call_drop_output(call);
    aligned_free(copy);
    return code;
}

static const xf_task *find_task_to_replay(const char *name)
{
    const xf_task *task = xf_task_find(name);

    if (!task) {
        error_detail(XF_ENOTASK, "task %s is not registered in this program", name);
        refuse_replay();
    }
    return task;
}

static const xf_task *find_saved_task(const replay_case *what)
{
    const xf_task *task = find_task_to_replay(what->task);

    if (task->input_size != what->declared_input || task->output_size != what->declared_output) {
        error_detail(XF_ESIZE, "task %s took %lld bytes and gave %lld when it was saved, and now %lld and %lld",
                     task->name, (long long)what->declared_input, (long long)what->declared_output,
                     (long long)task->input_size, (long long)task->output_size);
        refuse_replay();
    }
    return task;
}

static void set_replay_variable(const char *variable)
{
    const char *end = strchr(variable + (*variable != 0), '=');
    char *name = copy_replay_input(variable, strlen(variable));

    if (end)
        name[end - variable] = 0;
    if (end && *name)
        uv_os_setenv(name, end + 1);
    else if (*name)
        uv_os_unsetenv(name);
    aligned_free(name);
}

static void prepare_replay_run(const replay_file *file)
{
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    if (memcmp(build, file->build, sizeof build) != 0)
        fprintf(stderr, "crossfork: this is another build of the program than the one that saved it\n");
    for (const char *const *variable = file->what.environment; *variable; variable++)
        set_replay_variable(*variable);
    if (*file->what.directory && uv_chdir(file->what.directory) < 0)
        tell_text("it ran in ", file->what.directory, ", which does not exist now");
    call_begin(&replayed.call);
    replayed.call.box = &replayed.box;
    replayed.call.output = OS_SHM_NONE;
    replayed.call.backend = &replay_run_backend;
}

static _Noreturn void print_end(const char *task, int code)
{
    const char *text = replayed.call.fail_text ? replayed.call.fail_text : "";
    char before[XF_TASK_NAME_MAX + 64];

    fflush(stdout);
    if (code == 0)
        snprintf(before, sizeof before, "%s is done", task);
    else
        snprintf(before, sizeof before, "%s failed with code %d%s", task, code, *text ? ": " : "");
    tell_text(before, code == 0 ? "" : text, "");
    free(replayed.call.fail_text);
    exit(code == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static _Noreturn void run_replay_file(const char *path)
{
    replay_file file;
    const xf_task *task, *initializer;
    int code = 0;

    if (replay_file_open(&file, path) < 0)
        refuse_replay();
    task = find_saved_task(&file.what);
    initializer = *file.what.initializer ? find_task_to_replay(file.what.initializer) : NULL;
    prepare_replay_run(&file);
    fprintf(stderr, "crossfork: %s, item %llu, which %s with code %d when it was saved\n", task->name,
            (unsigned long long)file.what.item, xf_end_name(file.status.kind), file.status.code);
    if (initializer)
        code = run_again(initializer, file.what.initializer_input, file.what.initializer_size);
    if (code != 0)
        task = initializer;
    else
        code = run_again(task, file.what.input, file.what.size);
    replay_file_close(&file);
    print_end(task->name, code);
}

/* The variable is removed, so that processes that the task starts do not replay the file too. */
void replay_run_from_environment(void)
{
    char path[4096];
    int rc = setting_get("XF_REPLAY", path, sizeof path);

    if (rc == XF_ENOENT)
        return;
    if (rc < 0)
        refuse_replay();
    uv_os_unsetenv("XF_REPLAY");
    run_replay_file(path);
}
