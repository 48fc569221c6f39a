"""What the peers in Python share.

    PEER WORKLOAD [NAME=NUMBER ...]

prints one line with the members that xf_bench prints.  Names are count (items, or messages of a call), bytes (of a
message or block), workers, steps (of the shortest task of w5), heap (of the parent, in MiB) and calls (that are timed).
"""
import json
import resource
import sys
import time

MASK = 0x5A5A5A5A
BLOCKS = 8
WORKLOAD = sys.argv[1] if len(sys.argv) > 1 else None
NUMBERS = {name: int(number) for name, number in (word.split("=") for word in sys.argv[2:] if "=" in word)}


def number(name, usual):
    """Returns the number of the command line, or else the usual one."""
    return NUMBERS.get(name, usual)


# ---- Tasks, which every start method finds in this module ----

def nothing():
    pass


def square(x):
    return x * x


def flip(block):
    return block ^ MASK


def weight(k):
    if 1700 <= k < 1800 and k % 25 == 0:
        return 300
    if 1200 <= k < 1260:
        return 30
    return 1 + 3 * k / 2000


def toil(job):
    k, steps = job
    x = k + 1
    for _ in range(int(weight(k) * steps)):
        x = x * 16807 % 2147483647
    return x


# ---- Measuring ----

def cpu_s():
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(once, calls, warm_ups=1):
    """Times calls of once, and returns the nanoseconds of each."""
    for _ in range(warm_ups):
        once()
    times = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        once()
        times.append(time.perf_counter_ns() - begin)
    return times


def emit(peer, times, items=1, **more):
    ordered = sorted(times)
    median = ordered[len(ordered) // 2]
    print(json.dumps({
        "peer": peer, "workload": WORKLOAD, "n": items * len(times), "seconds": sum(times) / 1e9,
        "per_item_ns": round(median / items, 2), "cpu_seconds": round(cpu_s(), 4),
        "peak_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "p50_ns": median, "p99_ns": ordered[len(ordered) * 99 // 100], **more}), flush=True)


# ---- Pools: w2, w2c1, w3, w4, w5 and w8 ----

class ExecutorPool:
    """A pool with the interface of concurrent.futures; a peer makes self.executor."""

    def map(self, function, items, chunk):
        return list(self.executor.map(function, items, chunksize=chunk))

    def call(self, function, item):
        return self.executor.submit(function, item).result()

    def each(self, function, items):
        """Results as they come; four tasks are under way, so that not all of a generator is copied at once."""
        under_way = []
        for item in items:
            under_way.append(self.executor.submit(function, item))
            if len(under_way) == 4:
                yield under_way.pop(0).result()
        for future in under_way:
            yield future.result()

    def close(self):
        self.executor.shutdown()


def map_squares(peer, pool, chunk):
    items = [i * 0.5 for i in range(number("count", 100000))]
    expected = [x * x for x in items]

    def once():
        assert pool.map(square, items, chunk(len(items))) == expected

    pool.map(square, items[:1000], 1)  # all workers are up
    emit(peer, measure(once, number("calls", 3)), len(items))


def call_squares(peer, pool):
    def once():
        assert pool.call(square, 3.0) == 9.0

    emit(peer, measure(once, number("calls", 2000), 200))


def flip_blocks(peer, pool):
    import numpy
    words = number("bytes", 16 << 20) // 4
    blocks = [numpy.arange(words, dtype=numpy.uint32) + numpy.uint32(i) for i in range(BLOCKS)]
    count = number("count", 16)

    def once():
        done = 0
        for out in pool.each(flip, (blocks[i % BLOCKS] for i in range(count))):
            assert int(out[7] ^ MASK) - 7 in range(BLOCKS)
            done += 1
        assert done == count

    emit(peer, measure(once, number("calls", 1)), count)


def toil_serially(jobs):
    begin = time.perf_counter_ns()
    return [toil(job) for job in jobs], time.perf_counter_ns() - begin


def share_toil(peer, pool):
    jobs = [(k, number("steps", 2700)) for k in range(2000)]
    expected, before = toil_serially(jobs)

    def once():
        assert pool.map(toil, jobs, 1) == expected

    pool.map(square, range(1000), 1)
    times = measure(once, number("calls", 1), 0)
    after = toil_serially(jobs)[1]
    serial = (before + after) / 2
    emit(peer, times, len(jobs), serial_s=serial / 1e9, efficiency=serial / (2 * sorted(times)[len(times) // 2]))


def open_and_close(peer, open_pool, workers):
    def once():
        pool = open_pool(workers)
        assert pool.call(square, 3.0) == 9.0
        pool.close()

    emit(peer, measure(once, number("calls", 10)))


def run_pool(peer, open_pool):
    workers = number("workers", 1 if WORKLOAD == "w3" else 2)
    if WORKLOAD == "w8":
        return open_and_close(peer, open_pool, workers)
    pool = open_pool(workers)
    if WORKLOAD == "w2":
        map_squares(peer, pool, lambda count: (count + 4 * workers - 1) // (4 * workers))
    elif WORKLOAD == "w2c1":
        map_squares(peer, pool, lambda count: 1)
    elif WORKLOAD == "w3":
        call_squares(peer, pool)
    elif WORKLOAD == "w4":
        flip_blocks(peer, pool)
    elif WORKLOAD == "w5":
        share_toil(peer, pool)
    return pool.close()


# ---- Messages: w6, w6big and w7 ----

def stream_out(channel, calls, count, size):
    data = bytearray(size)
    for i in range(calls * count):
        data[:8] = (i % count).to_bytes(8, "little")
        channel.send(bytes(data))


def stream_in(peer, channel, calls, count):
    def once():
        assert sum(int.from_bytes(channel.receive()[:8], "little") for _ in range(count)) == count * (count - 1) // 2

    emit(peer, measure(once, calls - 1), count)


def answer(channel, calls):
    for _ in range(calls):
        channel.send(3 * channel.receive())


def ask(peer, channel, calls):
    def once():
        channel.send(7)
        assert channel.receive() == 21

    emit(peer, measure(once, calls - calls // 10, calls // 10))


def run_channel(peer, context, ours, theirs):
    """Two ends with send and receive; a child has one of them."""
    if WORKLOAD == "w7":
        calls = number("calls", 5000)
        child = context.Process(target=answer, args=(theirs, calls))
        child.start()
        ask(peer, ours, calls)
    else:
        calls, count = number("calls", 3) + 1, number("count", 20000 if WORKLOAD == "w6" else 1000)
        size = number("bytes", 64 if WORKLOAD == "w6" else 65536)
        child = context.Process(target=stream_out, args=(theirs, calls, count, size))
        child.start()
        stream_in(peer, ours, calls, count)
    child.join()
