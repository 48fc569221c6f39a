#include "program.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct program {
    uv_loop_t loop;
    uv_process_t process;
    uv_pipe_t input, output;
    char *text;
    size_t size, room, taken;
    char line[4096];
    bool ended, closed;
    int64_t status;
    int signal;
};

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    program *self = process->data;

    self->ended = true;
    self->status = status;
    self->signal = signal;
}

static void give_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    program *self = handle->data;

    if (self->size + wanted + 1 > self->room) {
        self->room = 2 * (self->size + wanted + 1);
        self->text = realloc(self->text, self->room);
        assert_non_null(self->text);
    }
    *buffer = uv_buf_init(self->text + self->size, (unsigned)wanted);
}

static void on_output(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    program *self = stream->data;

    (void)buffer;
    if (count < 0) {
        self->closed = true;
        uv_read_stop(stream);
    } else {
        self->size += (size_t)count;
    }
}

/* Returns this process's environment and the setting; freed with uv_os_free_environ and free. */
static char **environment_with(const char *setting, uv_env_item_t **items, int *count)
{
    char **strings;

    assert_int_equal(uv_os_environ(items, count), 0);
    strings = calloc((size_t)*count + 2, sizeof *strings);
    for (int i = 0; i < *count; i++) {
        size_t size = strlen((*items)[i].name) + strlen((*items)[i].value) + 2;
        strings[i] = malloc(size);
        snprintf(strings[i], size, "%s=%s", (*items)[i].name, (*items)[i].value);
    }
    if (setting) {
        strings[*count] = malloc(strlen(setting) + 1);
        strcpy(strings[*count], setting);
    }
    return strings;
}

static void spawn(program *self, char *path, char **arguments, char **environment)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&self->input},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&self->output},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .file = path,
        .args = arguments,
        .env = environment,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit_of,
    };

    self->process.data = self->output.data = self->input.data = self;
    assert_int_equal(uv_pipe_init(&self->loop, &self->input, 0), 0);
    assert_int_equal(uv_pipe_init(&self->loop, &self->output, 0), 0);
    self->output.data = self->input.data = self;
    assert_int_equal(uv_spawn(&self->loop, &self->process, &options), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&self->output, give_room, on_output), 0);
}

program *program_start(const char *path, const char *const *arguments, const char *setting)
{
    enum { ARGUMENTS = 16 };
    char own[4096], *all[ARGUMENTS + 2] = {own}, **environment;
    size_t size = sizeof own;
    uv_env_item_t *items;
    int count;
    program *self = calloc(1, sizeof *self);

    assert_int_equal(uv_loop_init(&self->loop), 0);
    if (path)
        snprintf(own, sizeof own, "%s", path);
    else
        assert_int_equal(uv_exepath(own, &size), 0);
    for (int i = 0; i < ARGUMENTS && arguments && arguments[i]; i++)
        all[i + 1] = (char *)arguments[i];
    environment = environment_with(setting, &items, &count);
    spawn(self, own, all, environment);
    for (int i = 0; i <= count; i++)
        free(environment[i]);
    free(environment);
    uv_os_free_environ(items, count);
    return self;
}

int64_t program_pid(const program *self)
{
    return self->process.pid;
}

const char *program_line(program *self)
{
    char *end = NULL;

    while (!end) {
        end = self->text ? memchr(self->text + self->taken, '\n', self->size - self->taken) : NULL;
        if (!end && self->closed)
            return "";
        if (!end)
            uv_run(&self->loop, UV_RUN_ONCE);
    }
    snprintf(self->line, sizeof self->line, "%.*s", (int)(end - self->text - (long)self->taken),
             self->text + self->taken);
    self->taken = (size_t)(end - self->text) + 1;
    self->line[strcspn(self->line, "\r")] = 0;
    return self->line;
}

int64_t program_number(program *self)
{
    return strtoll(program_line(self), NULL, 10);
}

int64_t program_end(program *self, char **output)
{
    int64_t status;

    uv_close((uv_handle_t *)&self->input, NULL);
    while (!self->ended || !self->closed)
        uv_run(&self->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&self->process, NULL);
    uv_close((uv_handle_t *)&self->output, NULL);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
    status = self->signal ? 128 + self->signal : self->status;
    if (output) {
        size_t rest = self->size - self->taken;
        *output = calloc(1, rest + 1);
        if (rest)
            memcpy(*output, self->text + self->taken, rest);
    }
    free(self->text);
    free(self);
    return status;
}
