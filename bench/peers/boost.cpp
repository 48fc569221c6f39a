// Boost.Interprocess: a message_queue for each direction.
#include "peer.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <memory>
#include <string>

namespace ipc = boost::interprocess;

static std::string names[2];
static std::unique_ptr<ipc::message_queue> out, in;

static void open_queues(int side)
{
    std::size_t size = (std::size_t)peer_number("bytes", peer_is("w6big") ? 65536 : 64);
    std::size_t messages = size > 4096 ? 16 : 1024;

    for (int i = 0; i < 2; i++)
        names[i] = "peer-boost-" + std::to_string(peer.parent) + (i ? "-b" : "-a");
    out.reset(new ipc::message_queue(ipc::open_or_create, names[side].c_str(), messages, size));
    in.reset(new ipc::message_queue(ipc::open_or_create, names[!side].c_str(), messages, size));
}

static void send_message(const void *data, size_t size)
{
    out->send(data, size, 0);
}

static void receive_message(void *data, size_t size)
{
    ipc::message_queue::size_type received;
    unsigned priority;

    in->receive(data, in->get_max_msg_size(), received, priority);
    if (received != size)
        peer_fail("a message of another size");
}

static void close_queues()
{
    if (getpid() != peer.parent)
        return;
    ipc::message_queue::remove(names[0].c_str());
    ipc::message_queue::remove(names[1].c_str());
}

int main(int argc, char **argv)
{
    static const peer_channel channel = {"boost", open_queues, send_message, receive_message, close_queues};

    return peer_main(argc, argv, &channel);
}
