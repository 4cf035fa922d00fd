"""What a container sees of ours: the genome, the thin client, one socket, and for a judge the frozen weights."""

from pathlib import Path

import trainer
from sandbox.drivers.base import Mount
from trainer.contract import GENOME_DIR, HARNESS_DIR, SOCKET_PATH, WEIGHTS_DIR

TRAINER = Path(trainer.__file__).parent
INSIDE = (
    "__init__.py", "contract.py", "harness/__init__.py", "harness/inside",
    "adapters/__init__.py", "adapters/nanogpt/__init__.py", "adapters/nanogpt/inside.py",
)


def of(genome: Path, socket_dir: Path, weights: Path | None) -> tuple[Mount, ...]:
    """All of them read-only; a socket can be connected to on a read-only mount."""
    mounts = [
        *harness(),
        Mount(genome, GENOME_DIR),
        Mount(socket_dir, str(Path(SOCKET_PATH).parent)),
    ]
    if weights is not None:
        mounts.append(Mount(weights, WEIGHTS_DIR))
    return tuple(mounts)


def harness() -> tuple[Mount, ...]:
    return tuple(Mount(TRAINER / part, f"{HARNESS_DIR}/trainer/{part}") for part in INSIDE)
