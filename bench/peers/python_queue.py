"""Python: multiprocessing.Queue, one for each direction."""
import multiprocessing

import peer


class End:
    def __init__(self, out, into):
        self.send = out.put
        self.receive = into.get


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    one, other = context.Queue(), context.Queue()
    peer.run_channel("python:Queue", context, End(one, other), End(other, one))
