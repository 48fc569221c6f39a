/* The client of serve: `serve | ask REQUEST...` reads the port from its standard input, sends the requests, all at
 * once, and prints the answers as they come. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { TEXT_MAX = 4096 };

typedef struct asker {
    uv_tcp_t stream;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_shutdown_t ending;
    char text[TEXT_MAX];
    char room[TEXT_MAX];
    int error;
} asker;

static void fail(asker *self, int error)
{
    self->error = error;
    uv_close((uv_handle_t *)&self->stream, NULL);
}

static void give_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    asker *self = handle->data;

    (void)wanted;
    *buffer = uv_buf_init(self->room, sizeof self->room);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    if (count < 0)
        fail(stream->data, count == UV_EOF ? 0 : (int)count);
    else
        fwrite(buffer->base, 1, (size_t)count, stdout);
}

static void on_connected(uv_connect_t *request, int status)
{
    asker *self = request->handle->data;
    uv_stream_t *stream = (uv_stream_t *)&self->stream;
    uv_buf_t buffer = uv_buf_init(self->text, (unsigned)strlen(self->text));

    if (status == 0)
        status = uv_write(&self->writing, stream, &buffer, 1, NULL);
    if (status == 0)
        status =
            uv_shutdown(&self->ending, stream, NULL); /* no more requests: the server closes after its last answer */
    if (status == 0)
        status = uv_read_start(stream, give_room, on_read);
    if (status < 0)
        fail(self, status);
}

int main(int argc, char **argv)
{
    static asker self;
    struct sockaddr_in address;
    int port, rc;

    if (argc < 2 || scanf("%d", &port) != 1) {
        fprintf(stderr, "usage: serve | ask REQUEST...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        snprintf(self.text + strlen(self.text), sizeof self.text - strlen(self.text), "%s\n", argv[i]);
    uv_tcp_init(uv_default_loop(), &self.stream);
    self.stream.data = &self;
    uv_ip4_addr("127.0.0.1", port, &address);
    rc = uv_tcp_connect(&self.connecting, &self.stream, (struct sockaddr *)&address, on_connected);
    if (rc == 0)
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    rc = rc ? rc : self.error;
    if (rc < 0)
        fprintf(stderr, "ask: %s\n", uv_strerror(rc));
    return rc < 0;
}
