"""Python: multiprocessing.Pipe."""
import multiprocessing

import peer


class End:
    def __init__(self, connection):
        self.send = connection.send
        self.receive = connection.recv


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    peer.run_channel("python:Pipe", context, End(ours), End(theirs))
