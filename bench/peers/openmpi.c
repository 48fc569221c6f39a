/* Open MPI: rank 0 sends work to the other ranks and receives the results; and two ranks send each other messages. */
#include "peer.h"

#include <mpi.h>

enum { MESSAGE = 1, EAGER = 2048 /* a send of so many bytes does not wait for the receiver */ };

static int rank, ranks;

/* ---- A master and its workers ---------------------------------------------------------------- */

/* The work, chunk by chunk: items of in_size bytes become items of out_size bytes. */
typedef struct farm {
    char *in, *out;
    size_t in_size, out_size;
    long count, chunk;
    void (*work)(void *out, const void *in, long count);
} farm;

static long items_of(const farm *farm, long at)
{
    long left = farm->count - at * farm->chunk;

    return left < farm->chunk ? left : farm->chunk;
}

/* The tag is the chunk's number; 0 ends the worker. */
static void serve(const farm *farm)
{
    char *in = peer_allocate(farm->in_size * (size_t)farm->chunk);
    char *out = peer_allocate(farm->out_size * (size_t)farm->chunk);
    MPI_Status status;

    for (;;) {
        long items;
        MPI_Recv(in, (int)(farm->in_size * (size_t)farm->chunk), MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
        if (status.MPI_TAG == 0)
            return;
        items = items_of(farm, status.MPI_TAG - 1);
        farm->work(out, in, items);
        MPI_Send(out, (int)(farm->out_size * (size_t)items), MPI_BYTE, 0, status.MPI_TAG, MPI_COMM_WORLD);
    }
}

static void hand_out(const farm *farm, long at, int worker)
{
    MPI_Send(farm->in + (size_t)(at * farm->chunk) * farm->in_size, (int)((size_t)items_of(farm, at) * farm->in_size),
             MPI_BYTE, worker, (int)at + 1, MPI_COMM_WORLD);
}

/* Receives a result, and returns the rank that sent it. */
static int take_back(const farm *farm)
{
    MPI_Status status;
    long at;

    MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
    at = status.MPI_TAG - 1;
    MPI_Recv(farm->out + (size_t)(at * farm->chunk) * farm->out_size,
             (int)((size_t)items_of(farm, at) * farm->out_size), MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG,
             MPI_COMM_WORLD, &status);
    return status.MPI_SOURCE;
}

/* A worker has its next chunk before it returns this one, unless chunks are so large that both sides would wait. */
static void run(const farm *farm)
{
    long chunks = (farm->count + farm->chunk - 1) / farm->chunk, next = 0;
    int depth = farm->in_size * (size_t)farm->chunk <= EAGER ? 2 : 1;

    while (next < chunks && next < depth * (ranks - 1)) {
        hand_out(farm, next, (int)(next % (ranks - 1)) + 1);
        next++;
    }
    for (long done = 0; done < chunks; done++) {
        int worker = take_back(farm);
        if (next < chunks)
            hand_out(farm, next++, worker);
    }
}

static void run_farm(const farm *farm, int warm_ups, long calls)
{
    if (rank != 0) {
        serve(farm);
        return;
    }
    for (long call = -warm_ups; call < calls; call++) {
        uint64_t begin = peer_now_ns();
        run(farm);
        peer_note(begin);
        if (call < 0)
            peer_forget();
    }
    for (int i = 1; i < ranks; i++)
        MPI_Send(NULL, 0, MPI_BYTE, i, 0, MPI_COMM_WORLD);
}

/* ---- The workloads --------------------------------------------------------------------------- */

static void square(void *out, const void *in, long count)
{
    const double *from = in;
    double *to = out;

    for (long i = 0; i < count; i++)
        to[i] = from[i] * from[i];
}

static void run_squares(void)
{
    long count = peer_is("w3") ? 1 : peer_number("count", 1000000);
    farm farm = {.in_size = sizeof(double), .out_size = sizeof(double), .count = count, .work = square};
    double *in = peer_allocate((size_t)count * sizeof *in), *out = peer_allocate((size_t)count * sizeof *out);

    farm.in = (char *)in;
    farm.out = (char *)out;
    farm.chunk = peer_is("w2") ? (count + 7) / 8 : 1;
    for (long i = 0; i < count; i++)
        in[i] = (double)i * 0.5;
    run_farm(&farm, peer_is("w3") ? 500 : 2, peer_number("calls", peer_is("w3") ? 20000 : 3));
    for (long i = 0; rank == 0 && i < count; i++)
        if (out[i] != in[i] * in[i])
            peer_fail("a square is wrong");
    if (rank == 0)
        peer_print("openmpi", count, "");
}

static size_t block_size;

static void flip(void *out, const void *in, long count)
{
    (void)count;
    peer_flip(out, in, block_size);
}

/* The blocks are contiguous, so that one farm covers all of them. */
static void run_blocks(void)
{
    farm farm = {.count = PEER_BLOCKS, .chunk = 1, .work = flip};

    block_size = (size_t)peer_number("bytes", 16 << 20);
    farm.in_size = farm.out_size = block_size;
    farm.in = peer_allocate(PEER_BLOCKS * block_size);
    farm.out = peer_allocate(PEER_BLOCKS * block_size);
    run_farm(&farm, 1, peer_number("calls", 8));
    if (rank == 0 && *(uint32_t *)farm.out != (*(uint32_t *)farm.in ^ PEER_MASK))
        peer_fail("a word is wrong");
    if (rank == 0)
        peer_print("openmpi", PEER_BLOCKS, "");
}

static long steps;

static void toil(void *out, const void *in, long count)
{
    const uint32_t *k = in;
    uint32_t *to = out;

    for (long i = 0; i < count; i++)
        to[i] = peer_toil(k[i], steps);
}

static uint64_t toil_serially(uint32_t *numbers, long count)
{
    uint64_t begin = peer_now_ns();

    for (long k = 0; k < count; k++)
        numbers[k] = peer_toil(k, steps);
    return peer_now_ns() - begin;
}

/* A rank that waits in MPI keeps a core busy, which would slow down the measurement of one process alone. */
static void sleep_until_there_is_work(void)
{
    int found = 0;

    while (!found) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        MPI_Iprobe(0, MPI_ANY_TAG, MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE);
    }
}

static void run_toil(void)
{
    enum { TASKS = 2000 };
    static uint32_t in[TASKS], out[TASKS], expected[TASKS];
    farm farm = {(char *)in, (char *)out, sizeof *in, sizeof *out, TASKS, 1, toil};
    uint64_t serial_ns = 0;
    char more[64];

    steps = peer_number("steps", 40000);
    for (uint32_t k = 0; k < TASKS; k++)
        in[k] = k;
    if (rank == 0)
        serial_ns = toil_serially(expected, TASKS);
    else
        sleep_until_there_is_work();
    run_farm(&farm, 0, peer_number("calls", 3));
    if (rank != 0)
        return;
    if (memcmp(out, expected, sizeof out) != 0)
        peer_fail("a number is wrong");
    snprintf(more, sizeof more, ",\"efficiency\":%.4f,\"serial_s\":%.4f",
             (double)serial_ns / (2.0 * (double)peer_quantile(0.5)), (double)serial_ns / 1e9);
    peer_print("openmpi", TASKS, more);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void open_nothing(int side)
{
    (void)side;
}

static void send_message(const void *data, size_t size)
{
    MPI_Send(data, (int)size, MPI_BYTE, !rank, MESSAGE, MPI_COMM_WORLD);
}

static void receive_message(void *data, size_t size)
{
    MPI_Recv(data, (int)size, MPI_BYTE, !rank, MESSAGE, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void close_nothing(void)
{
}

static void run_messages(void)
{
    static const peer_channel channel = {"openmpi", open_nothing, send_message, receive_message, close_nothing};
    long count = peer_talk(&channel, rank);

    if (rank == 0)
        peer_print(channel.name, count, "");
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    peer_begin(argc, argv);
    if (peer_is("w4"))
        run_blocks();
    else if (peer_is("w5"))
        run_toil();
    else if (peer_is("w6") || peer_is("w6big") || peer_is("w7"))
        run_messages();
    else
        run_squares();
    MPI_Finalize();
    return 0;
}
