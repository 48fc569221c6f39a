#include "process/replay_run.h"

#include "base/error.h"
#include "process/call.h"
#include "process/replay_file.h"
#include "protocol/task_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_REFUSED = 2 };

static struct {
    box box;
    xf_call call;
} again;

static void on_log(void *arg, const xf_log_line *line)
{
    (void)arg;
    fprintf(stderr, "crossfork: %s: %s\n", line->task, line->text);
}

static _Noreturn void refuse(void)
{
    fprintf(stderr, "crossfork: XF_REPLAY: %s\n", xf_error_detail());
    exit(EXIT_REFUSED);
}

/* Aligned for any type, as a task's input is. */
static void *copy_input(const void *input, size_t size)
{
    void *copy = malloc(size + 1);

    if (!copy) {
        error_detail(XF_ENOMEM, "%zu bytes of input", size);
        refuse();
    }
    if (size > 0)
        memcpy(copy, input, size);
    return copy;
}

/* Runs one task; returns its code. */
static int run(const xf_task *task, const void *input, size_t size)
{
    xf_call *call = &again.call;
    void *copy = copy_input(input, size);
    int code;

    call->task = task;
    call->input = copy;
    call->input_size = size;
    atomic_store(&call->box->phase, XF_PHASE_LOADING);
    code = call_decode(call);
    atomic_store(&call->box->phase, XF_PHASE_RUNNING);
    if (code == 0)
        code = task->entry(call);
    if (call->fail_code != 0)
        code = call->fail_code;
    call_end_object(call);
    if (code == 0 && !call->has_output && task->output_size != XF_ANY_SIZE)
        code = xf_fail(call, XF_ESIZE, "task %s gave no output", task->name);
    call_drop_output(call);
    free(copy);
    return code;
}

static const xf_task *find(const char *name)
{
    const xf_task *task = xf_task_find(name);

    if (!task) {
        error_detail(XF_ENOTASK, "task %s is not registered in this program", name);
        refuse();
    }
    return task;
}

static const xf_task *find_saved(const replay_case *what)
{
    const xf_task *task = find(what->task);

    if (task->input_size != what->declared_input || task->output_size != what->declared_output) {
        error_detail(XF_ESIZE, "task %s took %lld bytes and gave %lld when it was saved, and now %lld and %lld",
                     task->name, (long long)what->declared_input, (long long)what->declared_output,
                     (long long)task->input_size, (long long)task->output_size);
        refuse();
    }
    return task;
}

static void set_variable(const char *variable)
{
    const char *end = strchr(variable + (*variable != 0), '=');
    char *name = copy_input(variable, strlen(variable));

    name[end ? end - variable : 0] = 0;
    if (*name)
        uv_os_setenv(name, end + 1);
    free(name);
}

static void prepare(const replay_file *file)
{
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    if (memcmp(build, file->build, sizeof build) != 0)
        fprintf(stderr, "crossfork: this is another build of the program than the one that saved it\n");
    for (const char *const *variable = file->what.environment; *variable; variable++)
        set_variable(*variable);
    if (*file->what.directory && uv_chdir(file->what.directory) < 0)
        fprintf(stderr, "crossfork: it ran in %s, which is not there now\n", file->what.directory);
    again.call.box = &again.box;
    again.call.output = OS_SHM_NONE;
    again.call.sink = on_log;
}

static _Noreturn void say_end(const char *task, int code)
{
    const char *text = again.call.fail_text ? again.call.fail_text : "";

    fflush(stdout);
    if (code == 0)
        fprintf(stderr, "crossfork: %s is done\n", task);
    else
        fprintf(stderr, "crossfork: %s failed with code %d%s%s\n", task, code, *text ? ": " : "", text);
    free(again.call.fail_text);
    exit(code == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static _Noreturn void run_file(const char *path)
{
    replay_file file;
    const xf_task *task, *initializer;
    int code = 0;

    if (replay_file_open(&file, path) < 0)
        refuse();
    task = find_saved(&file.what);
    initializer = *file.what.initializer ? find(file.what.initializer) : NULL;
    prepare(&file);
    fprintf(stderr, "crossfork: %s, item %llu, which %s with code %d when it was saved\n", task->name,
            (unsigned long long)file.what.item, xf_end_name(file.status.kind), file.status.code);
    if (initializer)
        code = run(initializer, file.what.initializer_input, file.what.initializer_size);
    if (code != 0)
        task = initializer;
    else
        code = run(task, file.what.input, file.what.size);
    replay_file_close(&file);
    say_end(task->name, code);
}

/* What the task starts by itself is not to replay anything. */
void replay_run_from_environment(void)
{
    char path[4096];
    size_t size = sizeof path;
    int rc = uv_os_getenv("XF_REPLAY", path, &size);

    if (rc == UV_ENOENT || (rc == 0 && !*path))
        return;
    if (rc < 0) {
        error_detail(XF_EINVAL, "%s", uv_strerror(rc));
        refuse();
    }
    uv_os_unsetenv("XF_REPLAY");
    run_file(path);
}
