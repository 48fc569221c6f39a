"""Runs programs in turn, and keeps the lines they print."""
import json
import os
import signal
import subprocess
import sys
import time

from install import fill
from workloads import CURVES, WORKLOADS

TIMEOUT_S = 300
SMOKE = {"count": 400, "calls": 2, "steps": 4, "heap": 16}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "XF_START"}, "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def run(command):
    """Returns the lines, and None or the error.  Ends a late program with all that it has started."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, errors="replace", env=ENVIRONMENT, start_new_session=True)
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return [], f"no answer in {TIMEOUT_S} s"
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if process.returncode != 0 or not lines:
        said = err.strip().splitlines()
        return [], said[-1][:100] if said else f"ended with {process.returncode}"
    return lines, None


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as memory:
        return next(1024 * int(line.split()[1]) for line in memory if line.startswith("MemAvailable"))


class Comparison:
    """xf_bench and the peers that can run; lines has what they have printed."""

    def __init__(self, xf_bench, peers, smoke, file):
        self.xf_bench = xf_bench
        self.peers = {peer.name: peer for peer in peers}
        self.smoke = smoke
        self.file = file
        self.lines = []
        self.failures = {}

    def keep(self, lines, **more):
        for line in lines:
            line.update(more)
            self.lines.append(line)
            self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def command_of_bench(self, workload, numbers):
        options = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
        return [self.xf_bench, "--rounds", "1", *options, workload]

    def command_of_peer(self, name, workload, numbers):
        peer = self.peers[name]
        ranks = 2 if workload in ("w3", "w6", "w6big", "w7") else 1 + numbers.get("workers", 2)
        words = [f"{key}={number}" for key, number in numbers.items()]
        return [*fill(peer.run, ranks=ranks), workload, *words]

    def run_one(self, name, workload, numbers, **more):
        begin = time.monotonic()
        if name == "xf_bench":
            lines, error = run(self.command_of_bench(workload, numbers))
        else:
            lines, error = run(self.command_of_peer(name, workload, numbers))
        if error:
            print(f"   {name} {workload}: {error}", file=sys.stderr)
            self.failures.setdefault(name, f"{workload}: {error}")
        self.keep(lines, took=round(time.monotonic() - begin, 2), **more)

    # ---- The tables ----

    def numbers_of(self, name, workload):
        if name == "xf_bench":
            counted = workload in ("w2", "w2c1", "w6", "w6big")
            return {key: number for key, number in SMOKE.items() if self.smoke and (counted or key != "count")}
        numbers = self.peers[name].sizes[workload]
        small = {key: min(number, SMOKE[key]) for key, number in numbers.items()}
        if workload == "w4":
            small.update(count=8, bytes=65536)
        return small if self.smoke else numbers

    def run_round(self, workload, number):
        """The programs take turns, and another one begins each round."""
        names = ["xf_bench"] + [peer.name for peer in self.peers.values() if workload in peer.sizes]
        first = number * 2 % len(names)
        for name in names[first:] + names[:first]:
            self.run_one(name, workload, self.numbers_of(name, workload), round=number)

    def run_tables(self, number, wanted):
        for workload in WORKLOADS:
            if number < workload.rounds and workload.name in wanted:
                self.run_round(workload.name, number)

    # ---- The curves ----

    def points_of(self, curve):
        scale = {"bytes": 8, "heap": 4 << 20}.get(curve.size, 0)
        points = [point for point in curve.points if point * scale <= available_bytes()]
        return points[:1] if self.smoke else points

    def numbers_at(self, curve, name, point):
        numbers = {"calls": 3, **curve.numbers, curve.size: point}
        if curve.size == "bytes":
            numbers["count"] = max(2, min(10000, (1 << 25) // point))
            numbers["calls"] = 3 if point < 1 << 24 else 1
        return numbers

    def run_curve(self, curve, number):
        for point in self.points_of(curve):
            names = [name for name in curve.programs if name == "xf_bench" or name in self.peers]
            for name in names[number % len(names):] + names[:number % len(names)]:
                if point <= curve.ends.get(name, point):
                    self.run_one(name, curve.workload, self.numbers_at(curve, name, point),
                                 round=number, curve=curve.name, point=point)

    def run_curves(self, number):
        for curve in CURVES:
            self.run_curve(curve, number)


class Budget:
    """Returns whether there is time for another run, by the longest time that a run took."""

    def __init__(self, minutes):
        self.until = time.monotonic() + 60 * minutes
        self.longest = {}

    def allows(self, what):
        return time.monotonic() + self.longest.get(what, 0) <= self.until

    def spend(self, what, function, *arguments):
        begin = time.monotonic()
        function(*arguments)
        took = time.monotonic() - begin
        self.longest[what] = max(took, self.longest.get(what, 0))
        print(f"== {what}: {took:.0f} s", flush=True)


def measure(comparison, wanted, rounds, curve_rounds, minutes):
    """Returns how many rounds there were."""
    budget = Budget(minutes)
    done = 0
    for number in range(rounds):
        if not budget.allows("a round of the tables"):
            break
        budget.spend("a round of the tables", comparison.run_tables, number, wanted)
        done += 1
        if number < curve_rounds and budget.allows("a round of the curves"):
            budget.spend("a round of the curves", comparison.run_curves, number)
    return done
