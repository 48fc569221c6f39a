/* ZeroMQ: a pair of sockets over ipc. */
#include "peer.h"

#include <zmq.h>

static void *context, *messages;
static char address[64];

static void open_socket(int side)
{
    snprintf(address, sizeof address, "ipc:///tmp/peer-zeromq-%d", (int)peer.parent);
    context = zmq_ctx_new();
    messages = zmq_socket(context, ZMQ_PAIR);
    if (!messages || (side == 0 ? zmq_bind(messages, address) : zmq_connect(messages, address)))
        peer_fail("zmq_socket");
}

static void send_message(const void *data, size_t size)
{
    if (zmq_send(messages, data, size, 0) < 0)
        peer_fail("zmq_send");
}

static void receive_message(void *data, size_t size)
{
    if (zmq_recv(messages, data, size, 0) != (int)size)
        peer_fail("zmq_recv");
}

static void close_socket(void)
{
    zmq_close(messages);
    zmq_ctx_term(context);
    if (getpid() == peer.parent)
        unlink(address + strlen("ipc://"));
}

int main(int argc, char **argv)
{
    static const peer_channel channel = {"zeromq", open_socket, send_message, receive_message, close_socket};

    return peer_main(argc, argv, &channel);
}
