"""What a result is held to: its size and the time of its answers against the baseline's, its speed against arithmetic.

Pure: numbers in, a named refusal out. A limit whose other side is unknown holds nobody back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.trial import Baseline
from trainer.contract import Cause

PER_TOKEN = ("judge_seconds_per_token", "prefix_seconds_per_token")  # of the window and of the prefix container
Refusal = tuple[Cause, str]
Numbers = Mapping[str, Any]

# Twice the width is four times the weights of every layer; whoever wants more than that asks for another baseline.
SAVED_RATIO = 4
SAVED_ALLOWANCE_BYTES = 64 << 10  # the header, the config, a buffer or two: they weigh in a model of a few kilobytes
# Some 800 new lines over all generations together. 100 kB of English do not fit: bz2 leaves 30 kB, 38 kB as text.
GENOME_ALLOWANCE_BYTES = 32 << 10
# Honest changes at equal device time make a forward pass at most a few times dearer; training on what is asked makes it
# dearer by more with every step. Seconds are CPU seconds of the container, to which a noisy neighbour adds little;
# on a GPU they are those of the clock.
SLOW_RATIO = 5.0
ANSWER_GRACE_SECONDS = 2.0  # for all answers together
LOAD_GRACE_SECONDS = 3.0  # for importing one more library
# A training step is a forward and a backward pass, about three forward passes: an honest one is never near this.
FAST_RATIO = 1.0
# FLOPs are impossible above this multiple of the peak: a CPU's is itself measured, on a machine that others use, and a
# GPU's is that of bfloat16, of which 8-bit arithmetic does twice as much.
PEAK_MARGIN = 2.0
FLOPS_RATIO = 1.25  # up to which more FLOPs per token than the baseline's count in MFU: useless products do not pay


def of_size(numbers: Numbers, baseline: Baseline) -> Refusal | None:
    """Too many bytes saved or carried: `saved_bytes` (weights and config) and `genome_bytes` of `numbers`."""
    checks = (
        ("saved", "saved_bytes", _saved_limit(baseline.saved_bytes)),
        ("carries", "genome_bytes", _genome_limit(baseline.genome_bytes)),
    )
    for verb, name, limit in checks:
        value = numbers.get(name)
        if limit is not None and value is not None and value > limit:
            return Cause.TOO_LARGE, f"{verb} {value:,} bytes where the baseline allows {limit:,}"
    return None


def of_time(numbers: Numbers, baseline: Baseline, *, asked: Sequence[int]) -> Refusal | None:
    """Too long over its answers, or over loading (`load_seconds`).

    `asked` are the tokens that went into the window container (`judge_seconds_per_token`) and into the prefix container
    (`prefix_seconds_per_token`), where there is one.
    """
    for name, tokens in zip(PER_TOKEN, asked, strict=False):
        used, known = numbers.get(name), getattr(baseline, name)
        if used is None or known is None:
            continue
        if used * tokens > SLOW_RATIO * known * tokens + ANSWER_GRACE_SECONDS:
            return Cause.TOO_SLOW, f"its answers took {used / known:.1f} times as long per token as the baseline's"
    used, known = numbers.get("load_seconds"), baseline.load_seconds
    if used is not None and known is not None and used > SLOW_RATIO * known + LOAD_GRACE_SECONDS:
        return Cause.TOO_SLOW, f"loading it took {used:.1f} seconds where the baseline's took {known:.1f}"
    return None


def of_speed(numbers: Numbers, *, trained: float | None, peak_flops: float | None) -> Refusal | None:
    """Faster than arithmetic allows. All by one clock: on a CPU seconds of one core, and its peak.

    `trained` are tokens per second of the training, `forward_tokens_per_second` what the saved model reached when only
    asked, and `flops_counted` what its container counted per token of a training step, three times its forward pass.
    """
    forward, flops = numbers.get("forward_tokens_per_second"), numbers.get("flops_counted")
    if trained and forward and trained > FAST_RATIO * forward:
        return Cause.TOO_FAST, (
            f"trained {trained:,.0f} tokens per second where its forward pass alone does {forward:,.0f}"
        )
    if not flops or not peak_flops:
        return None
    for speed in (forward / 3 if forward else None, trained):
        if speed and flops * speed > PEAK_MARGIN * peak_flops:
            times = flops * speed / peak_flops
            return Cause.IMPOSSIBLE_FLOPS, f"{flops:,.0f} FLOPs per token are {times:.1f} times what the device can do"
    return None


def counted(flops: float | None, baseline: Baseline) -> float | None:
    """The FLOPs per token that count in selection: at most 1.25 times the baseline's."""
    if flops is None or baseline.flops_per_token is None:
        return flops
    return min(flops, FLOPS_RATIO * baseline.flops_per_token)


def _saved_limit(known: int | None) -> int | None:
    return SAVED_RATIO * known + SAVED_ALLOWANCE_BYTES if known is not None else None


def _genome_limit(known: int | None) -> int | None:
    return known + GENOME_ALLOWANCE_BYTES if known is not None else None
