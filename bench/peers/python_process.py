"""Python: multiprocessing.Process by each start method."""
import multiprocessing

import peer


def start_and_join(context):
    child = context.Process(target=peer.nothing)
    child.start()
    child.join()
    assert child.exitcode == 0


def main():
    contexts = {method: multiprocessing.get_context(method) for method in ("fork", "forkserver", "spawn")}
    start_and_join(contexts["forkserver"])  # its server is started before the heap grows, as who knows of it would do
    heap = bytearray(b"\1") * (peer.number("heap", 1024 if peer.WORKLOAD == "w1big" else 0) << 20)
    for method, context in contexts.items():
        calls = peer.number("calls", 50)
        times = peer.measure(lambda: start_and_join(context), calls if method == "fork" else max(1, calls // 5))
        peer.emit("python:" + method, times)
    del heap


if __name__ == "__main__":
    main()
