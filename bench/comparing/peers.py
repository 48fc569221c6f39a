"""The peers: how each is installed and run, and what it does at which size, so that a run takes a second or so."""
from typing import NamedTuple


class Peer(NamedTuple):
    name: str  # of its program in bench/peers
    title: str
    packages: list  # of Debian
    run: list
    sizes: dict  # workloads, each with the numbers it gets
    build: list = None
    npm: str = None


PYTHON = "/usr/bin/python3"
CC = ["cc", "-O2", "-std=c11", "-D_GNU_SOURCE"]
MPIRUN = ["mpirun", "--oversubscribe", "-n", "{ranks}"]


def python(name, title, packages, sizes, run=(PYTHON,)):
    return Peer(name, title, ["python3", *packages], [*run, "{peers}/" + name + ".py"], sizes)


def node(name):
    sizes = {"w2c1": {"count": 10000, "calls": 1}, "w3": {"calls": 3000}, "w4": {"count": 8, "calls": 1},
             "w5": {"steps": 5500, "calls": 1}, "w8": {"calls": 5}}
    return Peer(name, f"Node {name}, processes", [], ["node", "{node}/" + name + ".mjs"], sizes, npm=name)


PEERS = [
    Peer("openmp", "OpenMP, threads", ["gcc"], ["{build}/openmp"], {
        "w2": {"count": 10**6, "calls": 9}, "w2c1": {"count": 10**6, "calls": 5}, "w4": {"count": 64, "calls": 3},
        "w5": {"steps": 40000, "calls": 3}},
        CC + ["-fopenmp", "{peers}/openmp.c", "-o", "{build}/openmp"]),
    Peer("openmpi", "Open MPI, master and workers", ["openmpi-bin", "libopenmpi-dev"], MPIRUN + ["{build}/openmpi"], {
        "w2": {"count": 10**6, "calls": 5}, "w2c1": {"count": 200000, "calls": 3}, "w3": {"calls": 20000},
        "w4": {"calls": 8}, "w5": {"steps": 40000, "calls": 1}, "w6": {"count": 200000, "calls": 5},
        "w6big": {"count": 3000, "calls": 3}, "w7": {"calls": 20000}},
        ["mpicc", *CC[1:], "{peers}/openmpi.c", "-o", "{build}/openmpi"]),
    Peer("boost", "Boost.Interprocess message_queue", ["g++", "libboost-dev"], ["{build}/boost"], {
        "w6": {"count": 200000, "calls": 3}, "w6big": {"count": 3000, "calls": 3}, "w7": {"calls": 4000}},
        ["c++", "-O2", "-D_GNU_SOURCE", "{peers}/boost.cpp", "-o", "{build}/boost", "-lrt", "-pthread"]),
    Peer("zeromq", "ZeroMQ, ipc", ["gcc", "libzmq3-dev"], ["{build}/zeromq"], {
        "w6": {"count": 200000, "calls": 3}, "w6big": {"count": 1500, "calls": 3}, "w7": {"calls": 4000}},
        CC + ["{peers}/zeromq.c", "-o", "{build}/zeromq", "-lzmq"]),
    Peer("nng", "nng, ipc", ["gcc", "libnng-dev"], ["{build}/nng"], {
        "w6": {"count": 5000, "calls": 3}, "w6big": {"count": 1500, "calls": 3}, "w7": {"calls": 3000}},
        CC + ["{peers}/nng.c", "-o", "{build}/nng", "-lnng", "-pthread"]),
    python("python_process", "Python multiprocessing.Process", [], {
        "w1": {"calls": 50}, "w1big": {"calls": 20, "heap": 1024}}),
    python("python_pool", "Python multiprocessing.Pool", ["python3-numpy"], {
        "w2": {"count": 10**6, "calls": 2}, "w2c1": {"count": 20000, "calls": 2}, "w3": {"calls": 3000},
        "w4": {"count": 8, "calls": 1}, "w5": {"steps": 2700, "calls": 1}, "w8": {"calls": 10}}),
    python("python_shared_memory", "Python shared_memory and Pool", ["python3-numpy"], {
        "w4": {"count": 64, "calls": 3}}),
    python("python_queue", "Python multiprocessing.Queue", [], {
        "w6": {"count": 30000, "calls": 3}, "w6big": {"count": 1000, "calls": 3}, "w7": {"calls": 4000}}),
    python("python_pipe", "Python multiprocessing.Pipe", [], {
        "w6": {"count": 30000, "calls": 3}, "w6big": {"count": 1500, "calls": 3}, "w7": {"calls": 4000}}),
    python("python_futures", "Python concurrent.futures, processes", ["python3-numpy"], {
        "w2": {"count": 200000, "calls": 1}, "w2c1": {"count": 4000, "calls": 1}, "w3": {"calls": 3000},
        "w4": {"count": 8, "calls": 1}, "w5": {"steps": 2700, "calls": 1}, "w8": {"calls": 10}}),
    python("python_loky", "Python joblib and loky", ["python3-joblib", "python3-numpy"], {
        "w2": {"count": 50000, "calls": 1}, "w2c1": {"count": 2000, "calls": 1}, "w3": {"calls": 2000},
        "w4": {"count": 8, "calls": 1}, "w5": {"steps": 2700, "calls": 1}, "w8": {"calls": 2}}),
    python("python_mpi4py", "Python mpi4py.futures", ["python3-mpi4py", "python3-numpy", "openmpi-bin"], {
        "w2": {"count": 200000, "calls": 1}, "w2c1": {"count": 3000, "calls": 1}, "w3": {"calls": 1000},
        "w4": {"count": 8, "calls": 1}, "w5": {"steps": 2700, "calls": 1}},
        MPIRUN + [PYTHON, "-m", "mpi4py.futures"]),
    Peer("mce", "Perl MCE", ["perl", "libmce-perl"], ["perl", "{peers}/mce.pl"], {
        "w2": {"count": 200000, "calls": 2}, "w2c1": {"count": 20000, "calls": 1}, "w3": {"calls": 500},
        "w4": {"count": 8, "calls": 1}, "w5": {"steps": 3500, "calls": 1}, "w6": {"count": 30000, "calls": 3},
        "w6big": {"count": 1500, "calls": 3}, "w7": {"calls": 4000}, "w8": {"calls": 10}}),
    node("tinypool"),
    node("workerpool"),
]

# The labels of lines whose names do not say it.
TITLES = {
    "openmp": "OpenMP, threads", "openmpi": "Open MPI", "boost": "Boost message_queue", "zeromq": "ZeroMQ",
    "nng": "nng", "perl:MCE": "Perl MCE", "node:tinypool": "Node tinypool", "node:workerpool": "Node workerpool",
    "python:fork": "Python Process, fork", "python:spawn": "Python Process, spawn",
    "python:forkserver": "Python Process, forkserver", "python:Pool": "Python Pool",
    "python:Pool-spawn": "Python Pool, spawn", "python:futures": "Python concurrent.futures",
    "python:loky": "Python joblib, loky", "python:mpi4py": "Python mpi4py.futures", "python:Queue": "Python Queue",
    "python:Pipe": "Python Pipe", "python:shared_memory": "Python shared_memory",
}


def title(peer):
    if peer.startswith("bare:"):
        return f"bare, {peer[5:]}"
    if peer.startswith("crossfork:"):
        return f"crossfork, {peer[10:]}"
    return TITLES.get(peer, peer)
