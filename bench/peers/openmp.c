/* OpenMP: the time that threads need.  They share all memory: nothing is started or copied, and nothing protects one
 * from another. */
#include "peer.h"

static long count, workers, steps;

static void square(const double *in, double *out)
{
#pragma omp parallel for num_threads(workers)
    for (long i = 0; i < count; i++)
        out[i] = in[i] * in[i];
}

static void square_singly(const double *in, double *out)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers)
    for (long i = 0; i < count; i++)
        out[i] = in[i] * in[i];
}

static void run_squares(void)
{
    double *in, *out;
    long calls = peer_number("calls", 9);

    count = peer_number("count", 1000000);
    in = peer_allocate((size_t)count * sizeof *in);
    out = peer_allocate((size_t)count * sizeof *out);
    for (long i = 0; i < count; i++)
        in[i] = (double)i * 0.5;
    for (long call = -2; call < calls; call++) {
        uint64_t begin = peer_now_ns();
        (peer_is("w2") ? square : square_singly)(in, out);
        peer_note(begin);
        if (call < 0)
            peer_forget();
    }
    for (long i = 0; i < count; i++)
        if (out[i] != in[i] * in[i])
            peer_fail("a square is wrong");
    peer_print("openmp", count, "");
}

static void run_blocks(void)
{
    uint32_t *in[PEER_BLOCKS], *out[PEER_BLOCKS];
    size_t size = (size_t)peer_number("bytes", 16 << 20);
    long calls = peer_number("calls", 3);

    count = peer_number("count", 64);
    for (int i = 0; i < PEER_BLOCKS; i++) {
        in[i] = peer_allocate(size);
        out[i] = peer_allocate(size);
    }
    for (long call = -1; call < calls; call++) {
        uint64_t begin = peer_now_ns();
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers)
        for (long i = 0; i < count; i++)
            peer_flip(out[i % PEER_BLOCKS], in[i % PEER_BLOCKS], size);
        peer_note(begin);
        if (call < 0)
            peer_forget();
    }
    if (out[1][77] != (in[1][77] ^ PEER_MASK))
        peer_fail("a word is wrong");
    peer_print("openmp", count, "");
}

static uint64_t toil_serially(uint32_t *sum)
{
    uint64_t begin = peer_now_ns();

    *sum = 0;
    for (long k = 0; k < count; k++)
        *sum ^= peer_toil(k, steps);
    return peer_now_ns() - begin;
}

static void toil(uint32_t *sum)
{
    uint32_t all = 0;

#pragma omp parallel for schedule(dynamic, 1) num_threads(workers) reduction(^ : all)
    for (long k = 0; k < count; k++)
        all ^= peer_toil(k, steps);
    *sum = all;
}

static void run_toil(void)
{
    uint32_t expected, sum;
    uint64_t serial_ns;
    long calls = peer_number("calls", 3);
    char more[64];

    count = 2000;
    steps = peer_number("steps", 40000);
    serial_ns = toil_serially(&expected);
    peer_forget();
    for (long call = 0; call < calls; call++) {
        uint64_t begin = peer_now_ns();
        toil(&sum);
        peer_note(begin);
        if (sum != expected)
            peer_fail("a number is wrong");
    }
    serial_ns = (serial_ns + toil_serially(&expected)) / 2;
    snprintf(more, sizeof more, ",\"efficiency\":%.4f,\"serial_s\":%.4f",
             (double)serial_ns / (2.0 * (double)peer_quantile(0.5)), (double)serial_ns / 1e9);
    peer_print("openmp", count, more);
}

int main(int argc, char **argv)
{
    peer_begin(argc, argv);
    workers = peer_number("workers", 2);
    if (peer_is("w2") || peer_is("w2c1"))
        run_squares();
    else if (peer_is("w4"))
        run_blocks();
    else if (peer_is("w5"))
        run_toil();
    else
        peer_fail("there is no such workload");
    return 0;
}
