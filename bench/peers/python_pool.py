"""Python: multiprocessing.Pool, whose workers are forked, as is the default on Linux."""
import multiprocessing

import peer


class Pool:
    def __init__(self, workers):
        self.pool = multiprocessing.get_context("fork").Pool(workers)

    def map(self, function, items, chunk):
        return self.pool.map(function, items, chunk)

    def call(self, function, item):
        return self.pool.apply(function, (item,))

    def each(self, function, items):
        return self.pool.imap_unordered(function, items)

    def close(self):
        self.pool.close()
        self.pool.join()


class SpawnPool(Pool):
    def __init__(self, workers):
        self.pool = multiprocessing.get_context("spawn").Pool(workers)


if __name__ == "__main__":
    peer.run_pool("python:Pool", Pool)
    if peer.WORKLOAD == "w8":
        peer.NUMBERS["calls"] = min(3, peer.number("calls", 3))
        peer.run_pool("python:Pool-spawn", SpawnPool)
