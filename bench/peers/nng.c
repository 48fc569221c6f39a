/* nng: a pair of sockets over ipc. */
#include "peer.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

enum { BUFFERED = 128 /* messages; without a buffer, nng's default, it takes twice as long */ };

static nng_socket messages;
static char address[64];

static void check(const char *what, int rc)
{
    if (rc != 0) {
        fprintf(stderr, "nng: %s: %s\n", what, nng_strerror(rc));
        exit(1);
    }
}

static void open_socket(int side)
{
    snprintf(address, sizeof address, "ipc:///tmp/peer-nng-%d", (int)peer.parent);
    check("nng_pair0_open", nng_pair0_open(&messages));
    check("nng_socket_set_int", nng_socket_set_int(messages, NNG_OPT_SENDBUF, BUFFERED));
    check("nng_socket_set_int", nng_socket_set_int(messages, NNG_OPT_RECVBUF, BUFFERED));
    check("nng_socket_set_size", nng_socket_set_size(messages, NNG_OPT_RECVMAXSZ, 0)); /* no limit */
    if (side == 0)
        check("nng_listen", nng_listen(messages, address, NULL, 0));
    else
        check("nng_dial", nng_dial(messages, address, NULL, NNG_FLAG_NONBLOCK));
}

static void send_message(const void *data, size_t size)
{
    check("nng_send", nng_send(messages, (void *)(uintptr_t)data, size, 0));
}

static void receive_message(void *data, size_t size)
{
    size_t received = size;

    check("nng_recv", nng_recv(messages, data, &received, 0));
    if (received != size)
        peer_fail("a message of another size");
}

/* nng does not wait until the other side has its last message; that is certain only when the other side closes too. */
static void close_socket(void)
{
    static char none[8];
    size_t size = sizeof none;

    nng_socket_set_ms(messages, NNG_OPT_RECVTIMEO, 200);
    nng_recv(messages, none, &size, 0);
    nng_close(messages);
}

int main(int argc, char **argv)
{
    static const peer_channel channel = {"nng", open_socket, send_message, receive_message, close_socket};

    return peer_main(argc, argv, &channel);
}
