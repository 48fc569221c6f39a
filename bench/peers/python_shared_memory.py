"""Python: multiprocessing.shared_memory, numpy arrays in it, and a Pool."""
from multiprocessing import get_context, shared_memory

import numpy
import peer

segment = None
blocks = None  # inputs, and outputs


def attach(name, words):
    global segment, blocks
    segment = shared_memory.SharedMemory(name=name)
    blocks = numpy.ndarray((2, peer.BLOCKS, words), dtype=numpy.uint32, buffer=segment.buf)


def flip(i):
    numpy.bitwise_xor(blocks[0, i], peer.MASK, out=blocks[1, i])
    return i


def flip_all(pool, own, count):
    for i in pool.imap_unordered(flip, [k % peer.BLOCKS for k in range(count)]):
        assert own[1, i, 7] == own[0, i, 7] ^ peer.MASK


def main():
    words, count = peer.number("bytes", 16 << 20) // 4, peer.number("count", 64)
    memory = shared_memory.SharedMemory(create=True, size=2 * peer.BLOCKS * words * 4)
    own = numpy.ndarray((2, peer.BLOCKS, words), dtype=numpy.uint32, buffer=memory.buf)
    own[0] = numpy.arange(words, dtype=numpy.uint32)
    own[1] = 1
    with get_context("fork").Pool(2, attach, (memory.name, words)) as pool:
        times = peer.measure(lambda: flip_all(pool, own, count), peer.number("calls", 3))
        pool.close()
        pool.join()
    peer.emit("python:shared_memory", times, count)
    del own
    memory.close()
    memory.unlink()


if __name__ == "__main__":
    main()
