"""Python: joblib, whose processes are loky's."""
import joblib
import peer
from joblib.externals.loky import ProcessPoolExecutor


class Pool(peer.ExecutorPool):
    """Maps are joblib's, single tasks are loky's own."""

    def __init__(self, workers):
        self.executor = ProcessPoolExecutor(workers)
        self.parallel = joblib.Parallel(n_jobs=workers)

    def map(self, function, items, chunk):
        self.parallel.batch_size = chunk
        with self.parallel:
            return self.parallel(joblib.delayed(function)(item) for item in items)


if __name__ == "__main__":
    peer.run_pool("python:loky", Pool)
