"""The arithmetic peak of this container's CPU, by a timed float32 matrix product. Runs no code of a variant."""

import json
import os
import time

import torch

SIZE = 1024  # short enough that one of many finds the cores free
SECONDS = 2.0


def flops_per_second(*, size: int = SIZE, seconds: float = SECONDS) -> float:
    """The best of the products that fit into `seconds`: 2·size³ FLOPs each, by CPU time.

    Wall time would call a busy machine a slow one. All threads work on a product, so that it takes the CPU time of one.
    """
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    torch.mm(a, b, out=out)  # the first one also starts the threads
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.process_time()
        torch.mm(a, b, out=out)
        best = min(best, (time.process_time() - start) / torch.get_num_threads())
    return 2 * size**3 / best


if __name__ == "__main__":
    threads = int(os.environ.get("DARWIN_THREADS", "0"))
    if threads > 0:
        torch.set_num_threads(threads)
    print(json.dumps({"flops_per_second": flops_per_second()}))  # noqa: T201
