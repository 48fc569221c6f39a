"""The same as xf_bench fault with Python's faulthandler: the time from the fault until the parent has the traceback."""
import ctypes
import faulthandler
import os
import resource
import sys
import time

CALLS = 200


def crash_once():
    times, times_end = os.pipe()
    text, text_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable(text_end)
        os.write(times_end, time.monotonic_ns().to_bytes(8, "little"))
        ctypes.string_at(0)
    os.close(times_end)
    os.close(text_end)
    with os.fdopen(text) as traceback:
        traceback.read()
    os.waitpid(pid, 0)
    known = time.monotonic_ns()
    with os.fdopen(times, "rb") as fault:
        return known - int.from_bytes(fault.read(), "little")


measured = sorted(crash_once() for _ in range(CALLS))
print('{"peer":"python:faulthandler","workload":"fault","n":%d,"fault_p50_ns":%d,"fault_p99_ns":%d}'
      % (CALLS, measured[CALLS // 2], measured[CALLS * 99 // 100]))
sys.exit(0)
