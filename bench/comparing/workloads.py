"""The workloads that are measured, and crossfork's targets."""
from typing import NamedTuple


class Workload(NamedTuple):
    name: str
    title: str
    limit: str  # the bare peer that other rows are compared with
    ours: str  # the variant of crossfork that peers are compared with
    pairs: dict = {}  # peers that are compared with another variant: those that do the same as it does
    limits: dict = {}  # variants of crossfork that have another limit
    member: str = "per_item_ns"
    rounds: int = 99  # at most


WORKLOADS = [
    Workload("w1", "Start one child that does nothing, and join it", "bare:fork", "crossfork:fork",
             {"python:spawn": "crossfork:spawn", "python:forkserver": "crossfork:server"},
             {"crossfork:server": "bare:zygote", "crossfork:spawn": "bare:posix_spawn"}),
    Workload("w1big", "The same from a parent with 1 GiB of heap", "bare:fork", "crossfork:fork",
             {"python:spawn": "crossfork:spawn", "python:forkserver": "crossfork:server"},
             {"crossfork:server": "bare:zygote", "crossfork:spawn": "bare:posix_spawn"}, rounds=3),
    Workload("w2", "Map x * x over doubles, two workers, eight chunks: an item", "bare:copied", "crossfork:private",
             {"openmp": "crossfork:shared"}, {"crossfork:shared": "bare:in-place"}),
    Workload("w2c1", "The same in chunks of one: an item", "bare:copied", "crossfork:private",
             {"openmp": "crossfork:shared"}, {"crossfork:shared": "bare:in-place"}),
    Workload("w3", "Hand in a task of 8 bytes, wait for its 8 bytes, one worker", "bare:hot", "crossfork:hot",
             {}, {"crossfork:asleep": "bare:asleep"}),
    Workload("w4", "16 MiB in, 16 MiB out, two workers: a task", "bare:copied", "crossfork:private",
             {"openmp": "crossfork:shared", "python:shared_memory": "crossfork:shared"},
             {"crossfork:shared": "bare:memcpy"}),
    Workload("w5", "2,000 tasks of very different length, two workers: efficiency", "bare:chunk1", "crossfork:default",
             member="efficiency", rounds=3),
    Workload("w6", "Messages of 64 bytes from one process to another: a message", "bare:ring", "crossfork:spsc"),
    Workload("w6big", "Messages of 64 KiB: a message", "bare:ring", "crossfork:copy"),
    Workload("w7", "8 bytes to another process and back", "bare:hot", "crossfork:hot",
             {}, {"crossfork:asleep": "bare:asleep"}),
    Workload("w8", "Open a pool of two workers, run one task, close, join", "bare:fork", "crossfork:fork",
             {"python:Pool-spawn": "crossfork:spawn"}, {"crossfork:spawn": "bare:posix_spawn"}),
    Workload("w9", "A worker is killed: until that is known", "bare:pidfd", "crossfork:busy", member="notice_ns"),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}


class Target(NamedTuple):
    """The ratio value / of, or the value alone; both are (workload, peer, member)."""
    title: str
    value: tuple
    of: tuple
    bound: float
    at_most: bool
    unit: str = ""  # of a value alone


def target(workload, title, value, of, bound, at_most=True):
    member = BY_NAME[workload].member
    return Target(f"{workload}: {title}", (workload, value, member), (workload, of, member), bound, at_most)


def faster(workload, title, peer, ours, times):
    return target(workload, title, peer, ours, times, False)


def alone(workload, title, peer, member, bound, unit="ns", at_most=True):
    return Target(f"{workload}: {title}", (workload, peer, member), None, bound, at_most, unit)


def unmoved(title, peer):
    return Target(f"w1big: {title}", ("w1big", peer, "per_item_ns"), ("w1", peer, "per_item_ns"), 1.1, True)


TARGETS = [
    target("w1", "fork, of a bare fork", "crossfork:fork", "bare:fork", 1.5),
    target("w1", "server, of a bare process that forks", "crossfork:server", "bare:zygote", 1.3),
    target("w1", "spawn, of a bare posix_spawn", "crossfork:spawn", "bare:posix_spawn", 1.3),
    faster("w1", "faster than Python's fork", "python:fork", "crossfork:fork", 9),
    faster("w1", "faster than Python's spawn", "python:spawn", "crossfork:spawn", 50),
    unmoved("server, of the same from a small parent", "crossfork:server"),
    unmoved("spawn, of the same from a small parent", "crossfork:spawn"),
    target("w2", "private, of bare processes with both copies", "crossfork:private", "bare:copied", 1.3),
    alone("w2", "memory of the pool, an item", "crossfork:shared", "per_item_ns", 0.6),
    faster("w2", "faster than Python's Pool", "python:Pool", "crossfork:private", 50),
    faster("w2", "faster than Open MPI", "openmpi", "crossfork:private", 2.5),
    target("w2c1", "private, of bare processes that rob each other", "crossfork:private", "bare:copied", 2),
    faster("w2c1", "faster than OpenMP, dynamic, 1", "openmp", "crossfork:private", 2),
    faster("w2c1", "faster than Python's Pool", "python:Pool", "crossfork:private", 1000),
    alone("w3", "hot, the median", "crossfork:hot", "p50_ns", 250),
    alone("w3", "hot, 99 of 100", "crossfork:hot", "p99_ns", 1000),
    target("w3", "asleep, of a bare futex", "crossfork:asleep", "bare:asleep", 1.15),
    alone("w3", "share of a core that a pool at rest uses", "crossfork:hot", "idle_cpu_share", 0.001, ""),
    faster("w3", "faster than Python's Pool", "python:Pool", "crossfork:hot", 400),
    target("w4", "shared, of memcpy by two processes", "crossfork:shared", "bare:memcpy", 1.15),
    target("w4", "private, of bare copies in and out", "crossfork:private", "bare:copied", 1.0),
    faster("w4", "faster than Python's Pool", "python:Pool", "crossfork:private", 13),
    alone("w5", "efficiency by default", "crossfork:default", "efficiency", 0.975, "", False),
    alone("w5", "efficiency in chunks of one", "crossfork:chunk1", "efficiency", 0.975, "", False),
    target("w6", "one to one, of a bare ring", "crossfork:spsc", "bare:ring", 1.5),
    faster("w6", "faster than Python's Queue", "python:Queue", "crossfork:spsc", 60),
    target("w6big", "copied, of a bare ring", "crossfork:copy", "bare:ring", 1.5),
    target("w6big", "in place, of a bare ring", "crossfork:zerocopy", "bare:ring", 1.0),
    faster("w6big", "faster than Python's Queue", "python:Queue", "crossfork:copy", 100),
    target("w7", "hot, of two bare words", "crossfork:hot", "bare:hot", 1.5),
    target("w7", "asleep, of a bare futex", "crossfork:asleep", "bare:asleep", 1.1),
    target("w8", "fork, of two bare forks", "crossfork:fork", "bare:fork", 1.3),
    target("w8", "server, of two bare forks", "crossfork:server", "bare:fork", 1.8),
    target("w8", "spawn, of two bare posix_spawns", "crossfork:spawn", "bare:posix_spawn", 1.4),
    faster("w8", "faster than Python's Pool by fork", "python:Pool", "crossfork:fork", 15),
    faster("w8", "faster than Python's Pool by spawn", "python:Pool-spawn", "crossfork:spawn", 45),
    alone("w9", "items done of 200 when a worker dies in one", "crossfork:busy", "done", 199, "", False),
    alone("w9", "until the death is known", "crossfork:busy", "notice_ns", 1e6),
    alone("w9", "until there are two workers again", "crossfork:busy", "full_strength_ns", 2e6),
    alone("w9", "until the death of an idle worker is known", "crossfork:idle", "notice_ns", 1e6),
]


class Curve(NamedTuple):
    name: str  # of the plot's file
    title: str
    workload: str
    size: str  # the number that grows
    points: list
    programs: list  # xf_bench, and peers
    axes: tuple
    ends: dict = {}  # where a program's curve ends
    numbers: dict = {}  # that all programs get, besides
    left_out: tuple = ()  # variants


CURVES = [
    Curve("items", "A map of x * x, two workers", "w2", "count", [10**n for n in range(3, 8)],
          ["xf_bench", "openmp", "openmpi", "python_pool"], ("items", "ns an item"), {"python_pool": 10**6}),
    Curve("payload", "A message from one process to another", "w6big", "bytes", [8 << 3 * n for n in range(0, 10)],
          ["xf_bench", "zeromq", "openmpi", "python_queue", "python_pipe"], ("bytes", "us a message"),
          {name: 1 << 27 for name in ("zeromq", "python_queue", "python_pipe")}),
    Curve("workers", "A map of x * x over 1,000,000 doubles", "w2", "workers", [1 << n for n in range(7)],
          ["xf_bench", "openmp", "python_pool"], ("workers", "ns an item"), numbers={"count": 10**6}),
    Curve("pools", "Open a pool, run one task, close, join", "w8", "workers", [1 << n for n in range(7)],
          ["xf_bench", "python_pool"], ("workers", "ms"), numbers={"calls": 3},
          left_out=("crossfork:lazy", "python:Pool-spawn")),
    Curve("heap", "Start one child that does nothing, and join it", "w1big", "heap", [1, 16, 64, 256, 1024, 4096],
          ["xf_bench", "python_process"], ("MiB of the parent's heap", "us"), numbers={"calls": 10}),
]
