"""Trains the genome of this container in several processes: `python -P -m trainer.harness.inside.ranks`.

Starts `train` as many times as `[train] processes` says, with the environment that torch.distributed reads, and ends
all of them when one fails. Runs no code of the genome, and imports no torch.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from trainer.contract import GENOME_DIR, SOCKET_PATH, read_genome
from trainer.harness.inside.line import Line

LOOK_SECONDS = 0.02
HOST = "127.0.0.1"  # of this container alone


def main() -> int:
    """Exit code 0 when every rank ended with 0, otherwise 1."""
    world = read_genome(Path(os.environ.get("DARWIN_GENOME", GENOME_DIR))).processes
    line = Line(Path(os.environ.get("DARWIN_SOCKET", SOCKET_PATH)))
    port = _free_port()
    ranks = [_start(rank, world=world, port=port) for rank in range(world)]
    failed = _first_failure(ranks)
    if failed is None:
        line.ask({"op": "done"})
        return 0
    for one in ranks:
        one.kill()
        one.wait()
    rank, code = failed
    # Nothing new where the rank has said itself what went wrong.
    line.ask({"op": "failed", "error": f"process {rank} of {world} ended with code {code}", "traceback": ""})
    return 1


def _start(rank: int, *, world: int, port: int) -> "subprocess.Popen[bytes]":
    threads = str(max(int(os.environ.get("DARWIN_THREADS", "1")) // world, 1))
    environment = {
        "MASTER_ADDR": HOST, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
        "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo",  # there is no other
        "DARWIN_THREADS": threads, "OMP_NUM_THREADS": threads,
    }
    command = [sys.executable, "-P", "-m", "trainer.harness.inside.train"]
    return subprocess.Popen(command, env={**os.environ, **environment})


def _first_failure(ranks: "list[subprocess.Popen[bytes]]") -> tuple[int, int] | None:
    """The first rank that ended with another code than 0, and that code; None when all ended with 0."""
    while True:
        codes = [one.poll() for one in ranks]
        for rank, code in enumerate(codes):
            if code:
                return rank, code
        if None not in codes:
            return None
        time.sleep(LOOK_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
