/* Two programs that have nothing in common but a name and a key: `pair serve NAME KEYFILE` answers, and `pair ask
 * NAME KEYFILE WORD...` asks.  Whoever can read the key's file may connect; "-" stands for a key that everybody
 * knows.  "stop" ends the server.  Neither leaves anything behind, also when it is killed. */
#include <crossfork.h>

#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 20000, WORD = 200 };

/* Answers the words of one client with their letters in reverse order.  Returns 1 when it is told to stop, 0 when the
 * client has gone, or an error. */
static int answer(xf_pipe *client)
{
    char word[WORD], reversed[WORD];
    size_t size;
    int rc;

    while ((rc = xf_pipe_receive_into(client, word, sizeof word, &size, PATIENCE_MS)) == 0) {
        for (size_t i = 0; i < size; i++)
            reversed[i] = word[size - 1 - i];
        rc = xf_pipe_send(client, reversed, size, PATIENCE_MS);
        if (rc < 0)
            return rc;
        if (size == 4 && memcmp(word, "stop", 4) == 0)
            return 1;
    }
    return rc == XF_EEND ? 0 : rc;
}

/* A client that misbehaves costs itself only. */
static int serve(const char *name, const xf_key *key)
{
    xf_listener *listener;
    xf_pipe *client;
    int rc = xf_listener_create(&listener, name, &(xf_listener_options){.key = *key}), stopped = 0;

    if (rc < 0)
        return rc;
    while (!stopped && (rc = xf_listener_accept(listener, &client, PATIENCE_MS)) == 0) {
        rc = answer(client);
        if (rc < 0)
            fprintf(stderr, "pair: a client: %s\n", xf_error_detail());
        stopped = rc == 1;
        xf_pipe_free(client);
    }
    xf_listener_free(listener);
    return rc < 0 ? rc : 0;
}

/* Connects, and again for a while when nobody has the name yet. */
static int reach(xf_pipe **server, const char *name, const xf_key *key)
{
    const xf_connect_options options = {.key = *key};
    int rc = XF_ENOENT;

    for (int tries = 0; tries < 500 && rc == XF_ENOENT; tries++) {
        xf_event *never; /* a moment's rest, without a function of the system's */
        rc = xf_connect(server, name, &options, PATIENCE_MS);
        if (rc == XF_ENOENT && xf_event_create(&never, NULL) == 0) {
            xf_event_wait(never, 20);
            xf_event_free(never);
        }
    }
    return rc;
}

static int ask(const char *name, const xf_key *key, char **words, int count)
{
    char answer[WORD];
    size_t size;
    xf_pipe *server;
    int rc = reach(&server, name, key);

    if (rc < 0)
        return rc;
    for (int i = 0; i < count && rc == 0; i++) {
        rc = xf_pipe_send(server, words[i], strlen(words[i]), PATIENCE_MS);
        if (rc == 0)
            rc = xf_pipe_receive_into(server, answer, sizeof answer, &size, PATIENCE_MS);
        if (rc == 0)
            printf("%s: %.*s\n", words[i], (int)size, answer);
    }
    xf_pipe_free(server);
    return rc;
}

int main(int argc, char **argv)
{
    xf_key key = {.bytes = "only for show: 16 bytes or more, and never in a source file", .size = 58};
    int rc;

    xf_main(argc, argv);
    if (argc < 4 || (strcmp(argv[1], "serve") != 0 && strcmp(argv[1], "ask") != 0)) {
        fprintf(stderr, "usage: pair serve NAME KEYFILE|- | pair ask NAME KEYFILE|- WORD...\n");
        return 2;
    }
    if (strcmp(argv[3], "-") != 0)
        key = (xf_key){.file = argv[3]}; /* of mode 600 */
    rc = strcmp(argv[1], "serve") == 0 ? serve(argv[2], &key) : ask(argv[2], &key, argv + 4, argc - 4);
    if (rc < 0)
        fprintf(stderr, "pair: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    return rc < 0;
}
