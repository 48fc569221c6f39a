/* A server on a libuv loop that computes in a pool and keeps serving meanwhile.  It prints the port that it listens on;
 * a client sends lines and gets a line for each, as soon as it is there:
 *     primes N    how many primes there are up to N, counted by the pool
 *     ping        pong, at once, whatever the pool has to do
 *     quit        ends the server, once its clients have disconnected
 * `serve MS` gives each part of a request so many milliseconds; a request of which a part takes longer is "too late".
 * Everything here happens on the loop's thread, the ends of the pool's work too: options.loop sees to that. */
#include <crossfork.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { ITEMS = 64, LINE_MAX_BYTES = 256, NUMBER_MAX = 100000000 };

/* ---- The task -------------------------------------------------------------------------------- */

typedef struct range {
    uint32_t first, last;
} range;

static bool is_prime(uint32_t number)
{
    for (uint32_t i = 2; (uint64_t)i * i <= number; i++)
        if (number % i == 0)
            return false;
    return number >= 2;
}

XF_TASK(count_primes, const range *in, uint32_t *out)
{
    for (uint32_t number = in->first; number <= in->last; number++) {
        *out += is_prime(number);
        if (number % 1024 == 0 && xf_stop_requested(call, 0)) /* too late: so the worker need not be killed */
            return xf_fail(call, 1, "stopped");
    }
    return 0;
}

/* ---- Clients --------------------------------------------------------------------------------- */

typedef struct server {
    uv_loop_t loop;
    uv_tcp_t listener;
    xf_pool *pool;
    int clients;
    int deadline_ms; /* 0: none */
    bool quit;
} server;

typedef struct client {
    uv_tcp_t stream;
    server *server;
    char line[LINE_MAX_BYTES];
    size_t length;
    int waits; /* for so many answers of the pool */
    bool ended;
} client;

typedef struct reply {
    uv_write_t request;
    char text[LINE_MAX_BYTES];
} reply;

static void on_client_closed(uv_handle_t *handle)
{
    client *client = handle->data;
    server *server = client->server;

    free(client);
    if (--server->clients == 0 && server->quit)
        uv_close((uv_handle_t *)&server->listener, NULL); /* nothing is left to do: uv_run returns */
}

/* A client goes when it has said all that it wanted to say, and has been answered. */
static void close_if_done(client *client)
{
    if (client->ended && client->waits == 0 && !uv_is_closing((uv_handle_t *)&client->stream))
        uv_close((uv_handle_t *)&client->stream, on_client_closed);
}

static void on_written(uv_write_t *request, int status)
{
    client *client = request->handle->data;

    free(request->data);
    (void)status; /* a client that does not take its answer has disconnected, and reading from it fails */
    client->waits--;
    close_if_done(client);
}

static void answer(client *client, const char *text)
{
    reply *reply = malloc(sizeof *reply);
    uv_buf_t buffer;

    if (!reply)
        return;
    snprintf(reply->text, sizeof reply->text, "%s\n", text);
    reply->request.data = reply;
    buffer = uv_buf_init(reply->text, (unsigned)strlen(reply->text));
    client->waits++;
    if (uv_write(&reply->request, (uv_stream_t *)&client->stream, &buffer, 1, on_written) < 0) {
        client->waits--;
        free(reply);
    }
}

/* ---- Requests -------------------------------------------------------------------------------- */

typedef struct request {
    client *client;
    uint32_t limit;
    range in[ITEMS];
    uint32_t out[ITEMS];
} request;

/* Whether a part took too long: then the others were cancelled. */
static bool is_late(xf_future *future)
{
    for (size_t i = 0; i < xf_future_failures(future); i++)
        if (xf_future_status(future, xf_future_failure(future, i)).kind == XF_END_TIMED_OUT)
            return true;
    return false;
}

/* The pool has done all of a request, or cannot. */
static void on_counted(xf_future *future, void *arg)
{
    request *request = arg;
    client *client = request->client;
    char text[LINE_MAX_BYTES];
    uint64_t count = 0;

    if (xf_future_wait(future, 0) == 0) { /* waits for nothing here: it fills in the outputs */
        for (int i = 0; i < ITEMS; i++)
            count += request->out[i];
        snprintf(text, sizeof text, "%" PRIu64 " primes up to %" PRIu32, count, request->limit);
    } else if (is_late(future)) {
        snprintf(text, sizeof text, "too late");
    } else {
        snprintf(text, sizeof text, "%zu parts of the work were lost", xf_future_failures(future));
    }
    answer(client, text);
    client->waits--;
    close_if_done(client);
    xf_future_free(future);
    free(request);
}

static void count_up_to(client *client, uint32_t limit)
{
    request *request = calloc(1, sizeof *request);
    xf_map map = {.task = &count_primes,
                  .count = ITEMS,
                  .on_done = on_counted,
                  .arg = request,
                  .timeout_ms = client->server->deadline_ms,
                  .stop_at_failure = true}; /* the other parts of a request that is late anyway */
    xf_future *future;
    int rc = XF_ENOMEM;

    if (request) {
        request->client = client;
        request->limit = limit;
        for (uint32_t i = 0; i < ITEMS; i++)
            request->in[i] =
                (range){(uint32_t)((uint64_t)limit * i / ITEMS) + 1, (uint32_t)((uint64_t)limit * (i + 1) / ITEMS)};
        map.in = request->in;
        map.out = request->out;
        rc = xf_pool_map_async(&future, client->server->pool, &map);
    }
    if (rc < 0) {
        answer(client, xf_strerror(rc));
        free(request);
    } else {
        client->waits++;
    }
}

static void on_line(client *client, const char *line)
{
    long number;

    if (strcmp(line, "ping") == 0) {
        answer(client, "pong");
    } else if (strcmp(line, "quit") == 0) {
        client->server->quit = true;
        answer(client, "goodbye");
    } else if (strncmp(line, "primes ", 7) == 0) {
        number = strtol(line + 7, NULL, 10);
        if (number >= 1 && number <= NUMBER_MAX)
            count_up_to(client, (uint32_t)number);
        else
            answer(client, "a number from 1 to 100000000, please");
    } else {
        answer(client, "primes N, ping or quit");
    }
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void give_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    client *client = handle->data;

    (void)wanted;
    *buffer = uv_buf_init(client->line + client->length, (unsigned)(LINE_MAX_BYTES - client->length));
}

/* Takes the whole lines out of what has come, and leaves what is begun.  A line that does not fit ends the client, as
 * does the end of the connection: then libuv has no room to read into, or nothing to read. */
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    client *client = stream->data;
    char *end;

    (void)buffer;
    if (count < 0) {
        uv_read_stop(stream);
        client->ended = true;
        close_if_done(client);
        return;
    }
    client->length += (size_t)count;
    while ((end = memchr(client->line, '\n', client->length))) {
        size_t size = (size_t)(end - client->line) + 1;
        *end = 0;
        client->line[strcspn(client->line, "\r")] = 0;
        on_line(client, client->line);
        memmove(client->line, end + 1, client->length - size);
        client->length -= size;
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    server *server = listener->data;
    client *client = status == 0 ? calloc(1, sizeof *client) : NULL;

    if (!client)
        return;
    client->server = server;
    uv_tcp_init(&server->loop, &client->stream);
    client->stream.data = client;
    server->clients++;
    if (uv_accept(listener, (uv_stream_t *)&client->stream) < 0 ||
        uv_read_start((uv_stream_t *)&client->stream, give_room, on_read) < 0)
        uv_close((uv_handle_t *)&client->stream, on_client_closed);
}

/* Listens on a port that the system chooses.  Returns it, or libuv's error. */
static int listen_somewhere(server *server)
{
    struct sockaddr_in address;
    int rc, size = sizeof address;

    uv_tcp_init(&server->loop, &server->listener);
    server->listener.data = server;
    uv_ip4_addr("127.0.0.1", 0, &address);
    rc = uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&server->listener, 16, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &size);
    if (rc < 0) {
        uv_close((uv_handle_t *)&server->listener, NULL);
        return rc;
    }
    return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
    static server server;
    int port, rc;

    xf_main(argc, argv);
    server.deadline_ms = argc > 1 ? atoi(argv[1]) : 0;
    uv_loop_init(&server.loop);
    rc = xf_pool_create(&server.pool, &(xf_pool_options){.loop = &server.loop});
    if (rc < 0) {
        fprintf(stderr, "serve: %s (%s)\n", xf_strerror(rc), xf_error_detail());
        return 1;
    }
    port = listen_somewhere(&server);
    if (port < 0) {
        fprintf(stderr, "serve: %s\n", uv_strerror(port));
    } else {
        printf("%d\n", port);
        fflush(stdout);
        uv_run(&server.loop, UV_RUN_DEFAULT);
    }
    xf_pool_free(server.pool);
    uv_run(&server.loop, UV_RUN_DEFAULT); /* lets the pool's handle go */
    uv_loop_close(&server.loop);
    return port < 0;
}
