"""Our side of nanoGPT: its settings, its data layout, its log lines. Its code is parsed and never run."""

import json
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from trainer.adapters.base import Claim, Invocation, Tokens, TrainingText
from trainer.adapters.nanogpt import settings as reading
from trainer.contract import MANIFEST, GenomeError

NEEDED = "train.py", "model.py"
DEFAULT_CONFIG = "config/train_shakespeare_char.py"
OWN_CONFIG = "config/darwin.py"  # written when settings are given at import
CHECK_ITERATIONS = 2  # that it trains, saves, and ends
SAVES = 20  # within a run that may be stopped at any time
LOOK_SHARE = 0.05  # of the compute, for looks at training and validation loss: claimed numbers, so few are enough
MAX_EVAL_BATCHES = 10
CLOCK_INTERVAL, CLOCK_EVAL_BATCHES = 50, 2  # of a run that only the clock ends
DROPPED_FOLDERS = "data", "assets", "out"
KEPT_SUFFIXES = frozenset({".py", ".md", ".txt", ".toml", ".json", ".yaml", ".yml", ".cfg", ".sh", ""})
MAX_LINE = 400

_NUMBER = r"([-+.\w]{1,24})"
_ITERATION = re.compile(rf"iter (\d{{1,12}}): loss {_NUMBER}, time {_NUMBER}ms(?:, mfu {_NUMBER}%)?", re.ASCII)
_LOOK = re.compile(rf"step (\d{{1,12}}): train loss {_NUMBER}, val loss {_NUMBER}", re.ASCII)


class NanoGPT:
    """An Adapter; see trainer.adapters.base."""

    name = "nanogpt"
    checkpoint = "ckpt.pt"
    data = "data/darwin"

    def adopt(
        self, files: Mapping[str, bytes], *, name: str, config: str | None, settings: Mapping[str, str]
    ) -> dict[str, bytes]:
        missing = [path for path in NEEDED if path not in files]
        if missing:
            raise GenomeError(f"there is no {missing[0]}: name a checkout of nanoGPT, or of a trainer of its shape")
        config = config or (DEFAULT_CONFIG if DEFAULT_CONFIG in files else None)
        if config is not None and config not in files:
            raise GenomeError(f"there is no {config}: name one of its configuration files")
        kept = {path: content for path, content in files.items() if _is_code(path)}
        if settings:
            base = kept[config].decode("utf-8", errors="replace") if config else ""
            kept[OWN_CONFIG] = _with_settings(base, settings).encode()
            config = OWN_CONFIG
        command = ("python", "train.py", *([config] if config else []))
        read = reading.read(kept, command)
        unknown = sorted(set(settings) - set(reading.read(kept, command[:2])))
        if unknown:
            raise GenomeError(f"train.py has no setting {unknown[0]}: name one that it assigns above its configurator")
        # Agents see and change what a training reads, and not the five other configurations.
        needed = reading.used(kept, [*NEEDED, *command[1:]])
        kept = {path: content for path, content in kept.items() if path in needed or path.startswith("LICENSE")}
        return {**kept, MANIFEST: _manifest(name, command, read).encode()}

    def tokens_per_iteration(self, files: Mapping[str, bytes], command: tuple[str, ...]) -> int:
        read = reading.read(files, command)
        names = ("batch_size", "block_size", "gradient_accumulation_steps")
        return math.prod(reading.whole({"gradient_accumulation_steps": 1, **read}, name) for name in names)

    def arguments(self, invocation: Invocation) -> tuple[str, ...]:
        """nanoGPT saves at every multiple of eval_interval above 0, and ends one iteration after max_iters.

        With a budget in tokens max_iters is a multiple of eval_interval, so that the last save is at max_iters exactly.
        """
        given: dict[str, object] = {
            "dataset": PurePosixPath(self.data).name,
            "out_dir": invocation.out,
            "device": invocation.device,
            "always_save_checkpoint": True,
        }
        if invocation.device == "cpu":
            given |= {"compile": False, "dtype": "float32"}
        iterations = _iterations(invocation)
        if iterations is not None:
            may_stop = invocation.budget_seconds is not None and not invocation.check
            interval = max(iterations // SAVES, 1) if may_stop else iterations
            iterations -= iterations % interval
            # One more than max_iters: its cosine divides by lr_decay_iters - warmup_iters.
            given |= {
                "max_iters": iterations, "lr_decay_iters": iterations + 1, "eval_interval": interval,
                "eval_iters": _eval_batches(iterations, looks=iterations // interval + 1),
            }
        else:
            given |= {"eval_interval": CLOCK_INTERVAL, "eval_iters": CLOCK_EVAL_BATCHES}
        return tuple(f"--{key}={value}" for key, value in given.items())

    def layout(self, text: TrainingText, *, seed: int, directory: Path) -> None:
        """train.bin, val.bin and meta.pkl. nanoGPT fixes its seed (1337) in the code, so the training tokens are
        rotated by an offset that the trial's seed draws: its random batches then begin at other places of the text.
        val.bin is the beginning of the text, cut off: its end is nearest to what the judge asks, and teaches most."""
        cut = len(text.validation)
        train = text.train[cut:]
        offset = int(np.random.default_rng(seed).integers(len(train)))
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / "train.bin", train[offset:], train[:offset])
        _write(directory / "val.bin", text.train[:cut])
        meta: dict[str, object] = {"vocab_size": text.vocab_size}
        if text.alphabet is not None:
            meta["itos"] = dict(enumerate(text.alphabet))
            meta["stoi"] = {letter: token for token, letter in enumerate(text.alphabet)}
        _readable(directory / "meta.pkl").write_bytes(pickle.dumps(meta))

    def claimed(self, line: str) -> Claim | None:
        if len(line) > MAX_LINE:
            return None
        if match := _ITERATION.fullmatch(line.strip()):
            mfu = _number(match[4])
            numbers = {"ms": _number(match[3])}
            if mfu is not None and mfu >= 0:  # its first iterations say -100 %
                numbers["mfu"] = mfu / 100
            return Claim(int(match[1]), _number(match[2]), numbers)
        if match := _LOOK.fullmatch(line.strip()):
            train, validation = _number(match[2]), _number(match[3])
            return Claim(int(match[1]), train, {"train_loss": train, "val_loss": validation})
        return None


def _iterations(invocation: Invocation) -> int | None:
    """How many iterations fit; None when only the clock ends the run, which then keeps its own schedule."""
    if invocation.check:
        return CHECK_ITERATIONS
    if invocation.budget_tokens is None:
        return None
    return max(invocation.budget_tokens // invocation.tokens_per_iteration, 1)


def _eval_batches(iterations: int, *, looks: int) -> int:
    """Batches of each split in one look: a forward pass costs a third of an iteration, and a look has two splits."""
    return min(max(int(LOOK_SHARE * iterations * 1.5 / looks), 1), MAX_EVAL_BATCHES)


def _is_code(path: str) -> bool:
    parts = PurePosixPath(path).parts
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and parts[0] not in DROPPED_FOLDERS and PurePosixPath(path).suffix.lower() in KEPT_SUFFIXES


def _with_settings(text: str, settings: Mapping[str, str]) -> str:
    """A configuration file with some values replaced where it sets them, the others added at its end."""
    for key, value in settings.items():
        line = f"{key} = {reading.literal(value)!r}"
        text, count = re.subn(rf"^{re.escape(key)}\s*=[^=\n].*$", lambda _, line=line: line, text, flags=re.MULTILINE)  # type: ignore[misc]
        if not count:
            text = f"{text.rstrip()}\n{line}\n".lstrip()
    return text


def _manifest(name: str, command: tuple[str, ...], settings: Mapping[str, reading.Value]) -> str:
    vocabulary = "chars" if "char" in str(settings.get("dataset", "")) else "bytes"
    return f"""name = {json.dumps(name)}

[train]
command = {json.dumps(list(command))}
adapter = "nanogpt"

[judge]
load = "trainer.adapters.nanogpt.inside:load"
context = {reading.whole(settings, "block_size")}  # block_size

[evolve]
editable = ["*.py", "config/*.py"]

[tokens]
vocabulary = "{vocabulary}"
"""


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _write(path: Path, *parts: Tokens) -> None:
    """One after the other, without a copy in memory: a text of tokens may be larger than that."""
    with _readable(path).open("wb") as file:
        for part in parts:
            part.astype("<u2", copy=False).tofile(file)


def _readable(path: Path) -> Path:
    """`path` as an empty file that the sandbox's unprivileged user may read."""
    path.touch()
    path.chmod(0o644)
    return path
