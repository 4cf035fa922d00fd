"""How one trial ended: data, whatever happened to the variant."""

from dataclasses import dataclass, field
from typing import Any

from trainer.contract import REJECTIONS, Cause

# What is written into the variant's own columns; everything else stays with the trial.
COLUMNS = (
    "val_loss", "val_loss_error", "perplexity", "bits_per_byte", "mfu", "tokens_per_second", "flops_per_token",
    "parameters", "train_seconds", "device_seconds", "weights_sha256",
)


@dataclass
class Outcome:
    """`numbers` holds what was measured, `claimed` what the variant said last, `hashes` what was judged by whom."""

    cause: Cause | None = None
    detail: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    claimed: dict[str, float | None] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)  # seconds
    log_tail: str = ""
    traceback: str = ""  # of the training, as its client sent it: untrusted text
    exit_code: int | None = None
    progress: float = 0.0

    @property
    def verdict(self) -> str:
        """measured, cancelled, failed (the variant's own fault, or ours) or rejected (by the judge)."""
        if self.cause is None:
            return "measured"
        if self.cause == Cause.CANCELLED:
            return "cancelled"
        return "rejected" if self.cause in REJECTIONS else "failed"

    @property
    def seconds(self) -> float:
        return sum(self.phases.values())

    def sentence(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else str(self.cause)

    def columns(self) -> dict[str, Any]:
        return {name: self.numbers[name] for name in COLUMNS if self.numbers.get(name) is not None}

    def record(self) -> dict[str, Any]:
        return {**self.numbers, "claimed": self.claimed, "hashes": self.hashes, "phases": self.phases}
