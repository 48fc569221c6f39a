"""Python: mpi4py.futures; run by mpirun -n WORKERS+1 python3 -m mpi4py.futures."""
import peer
from mpi4py.futures import MPIPoolExecutor


class Pool(peer.ExecutorPool):
    def __init__(self, workers):
        self.executor = MPIPoolExecutor(workers)


if __name__ == "__main__":
    peer.run_pool("python:mpi4py", Pool)
