"""Python: concurrent.futures.ProcessPoolExecutor."""
from concurrent.futures import ProcessPoolExecutor

import peer


class Pool(peer.ExecutorPool):
    def __init__(self, workers):
        self.executor = ProcessPoolExecutor(workers)


if __name__ == "__main__":
    peer.run_pool("python:futures", Pool)
