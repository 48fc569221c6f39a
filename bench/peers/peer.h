/* Shared by the peers in C and C++.
 *
 *     PEER WORKLOAD [NAME=NUMBER ...]
 *
 * prints one line with the members that xf_bench prints.  Names are count (items, or messages of a call), bytes (of a
 * message or block), workers, steps (of the shortest task of w5) and calls (that are timed). */
#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PEER_CALLS = 100000 };

static struct {
    int argc;
    char **argv;
    pid_t parent;
    long calls;
    uint64_t call_ns[PEER_CALLS];
    double cpu_s; /* used before the first timed call */
} peer;

static inline void peer_fail(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", peer.argv[0], what, strerror(errno));
    exit(1);
}

/* Returns the number of the command line, or else the usual one. */
static inline long peer_number(const char *name, long usual)
{
    size_t length = strlen(name);

    for (int i = 2; i < peer.argc; i++)
        if (strncmp(peer.argv[i], name, length) == 0 && peer.argv[i][length] == '=')
            return atol(peer.argv[i] + length + 1);
    return usual;
}

static inline int peer_is(const char *workload)
{
    return strcmp(peer.argv[1], workload) == 0;
}

static inline void peer_begin(int argc, char **argv)
{
    peer.argc = argc;
    peer.argv = argv;
    peer.parent = getpid();
    if (argc < 2) {
        fprintf(stderr, "usage: %s WORKLOAD [NAME=NUMBER ...]\n", argv[0]);
        exit(2);
    }
}

static inline void *peer_allocate(size_t size)
{
    void *memory = malloc(size);

    if (!memory)
        peer_fail("malloc");
    memset(memory, 0xFF, size); /* maps its pages */
    return memory;
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static inline uint64_t peer_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline double peer_cpu_s(void)
{
    struct rusage own, children;

    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
           (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec + children.ru_utime.tv_usec +
                    children.ru_stime.tv_usec) /
               1e6;
}

static inline void peer_note(uint64_t begin_ns)
{
    if (peer.calls < PEER_CALLS)
        peer.call_ns[peer.calls++] = peer_now_ns() - begin_ns;
}

/* Drops the calls so far, which warmed up. */
static inline void peer_forget(void)
{
    peer.calls = 0;
    peer.cpu_s = peer_cpu_s();
}

static inline int peer_compare(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

    return (a > b) - (a < b);
}

static inline uint64_t peer_quantile(double share)
{
    qsort(peer.call_ns, (size_t)peer.calls, sizeof *peer.call_ns, peer_compare);
    return peer.call_ns[(size_t)((double)peer.calls * share)];
}

static inline void peer_print(const char *name, long items, const char *more)
{
    struct rusage own;
    double wall_s = 0;

    for (long i = 0; i < peer.calls; i++)
        wall_s += (double)peer.call_ns[i] / 1e9;
    getrusage(RUSAGE_SELF, &own);
    printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"n\":%ld,\"seconds\":%.9f,\"per_item_ns\":%.2f,\"cpu_seconds\":%.4f,"
           "\"peak_rss_kb\":%ld,\"p50_ns\":%llu,\"p99_ns\":%llu%s}\n",
           name, peer.argv[1], items * peer.calls, wall_s, (double)peer_quantile(0.5) / (double)items,
           peer_cpu_s() - peer.cpu_s, own.ru_maxrss, (unsigned long long)peer_quantile(0.5),
           (unsigned long long)peer_quantile(0.99), more);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

enum { PEER_MASK = 0x5A5A5A5A, PEER_BLOCKS = 8 };

static inline double peer_weight(long k)
{
    if (k >= 1700 && k < 1800 && k % 25 == 0)
        return 300;
    if (k >= 1200 && k < 1260)
        return 30;
    return 1 + 3.0 * (double)k / 2000;
}

static inline uint32_t peer_toil(long k, long steps)
{
    uint64_t x = (uint64_t)k + 1;

    for (long left = (long)(peer_weight(k) * (double)steps); left > 0; left--)
        x = x * 16807 % 2147483647;
    return (uint32_t)x;
}

static inline void peer_flip(uint32_t *to, const uint32_t *from, size_t size)
{
    for (size_t i = 0; i < size / sizeof *to; i++)
        to[i] = from[i] ^ PEER_MASK;
}

/* ---- Messages: w6, w6big and w7 -------------------------------------------------------------- */

/* Carries messages between two processes, both ways. */
typedef struct peer_channel {
    const char *name;
    void (*open)(int side); /* called in each process; 0 is the parent */
    void (*send)(const void *data, size_t size);
    void (*receive)(void *data, size_t size);
    void (*close)(void);
} peer_channel;

static inline uint64_t peer_receive_sum(const peer_channel *channel, char *data, long count, size_t size)
{
    uint64_t number, sum = 0;

    for (long i = 0; i < count; i++) {
        channel->receive(data, size);
        memcpy(&number, data, sizeof number);
        sum += number;
    }
    return sum;
}

/* Streams from side 1 to side 0.  The last message goes the other way, so that nothing is closed before all has
 * arrived. */
static inline void peer_stream(const peer_channel *channel, int side, long count, size_t size)
{
    long calls = peer_number("calls", 3);
    char *data = (char *)peer_allocate(size);

    for (long call = -1; call < calls; call++) {
        uint64_t begin = peer_now_ns();
        if (side == 1)
            for (uint64_t i = 0; i < (uint64_t)count; i++) {
                memcpy(data, &i, sizeof i);
                channel->send(data, size);
            }
        else if (peer_receive_sum(channel, data, count, size) != (uint64_t)count * (uint64_t)(count - 1) / 2)
            peer_fail("messages are missing");
        if (call < 0)
            peer_forget();
        else
            peer_note(begin);
    }
    if (side == 1)
        channel->receive(data, 8);
    else
        channel->send(data, 8);
    free(data);
}

static inline void peer_ping_pong(const peer_channel *channel, int side)
{
    long calls = peer_number("calls", 5000);
    uint64_t question, answer;

    for (long call = -calls / 10; call < calls; call++) {
        uint64_t begin = peer_now_ns();
        if (side == 1) {
            channel->receive(&question, sizeof question);
            answer = 3 * question;
            channel->send(&answer, sizeof answer);
            continue;
        }
        question = (uint64_t)(call + calls);
        channel->send(&question, sizeof question);
        channel->receive(&answer, sizeof answer);
        if (answer != 3 * question)
            peer_fail("an answer is wrong");
        if (call <= 0)
            peer_forget();
        else
            peer_note(begin);
    }
    if (side == 1)
        channel->receive(&question, sizeof question);
    else
        channel->send(&question, sizeof question);
}

static inline long peer_talk(const peer_channel *channel, int side)
{
    long count = peer_is("w7") ? 1 : peer_number("count", peer_is("w6") ? 100000 : 2000);

    channel->open(side);
    if (peer_is("w7"))
        peer_ping_pong(channel, side);
    else
        peer_stream(channel, side, count, (size_t)peer_number("bytes", peer_is("w6") ? 64 : 65536));
    channel->close();
    return count;
}

/* A main function for two processes that fork makes. */
static inline int peer_main(int argc, char **argv, const peer_channel *channel)
{
    long count;
    int status;
    pid_t pid;

    peer_begin(argc, argv);
    pid = fork();
    if (pid < 0)
        peer_fail("fork");
    if (pid == 0) {
        peer_talk(channel, 1);
        _exit(0);
    }
    count = peer_talk(channel, 0);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        peer_fail("the other process");
    peer_print(channel->name, count, "");
    return 0;
}

#endif
