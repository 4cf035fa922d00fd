"""Which harness a genome is trained with: a text server for `entry`, a command server for a trainer of its own."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evolution.confined import Unparsable, confined
from evolution.errors import BadInput
from evolution.genomes import read_directory
from evolution.outline import packed
from sandbox.drivers.base import Job, Mount
from sandbox.models import Purpose
from sandbox.outcome import Outcome
from sandbox.trial import Order, job, socket_of
from trainer.adapters.base import Adapter, Invocation, TrainingText
from trainer.adapters.registry import adapter
from trainer.contract import CONFIG_FILE, GENOME_DIR, MODEL_FILE, OUT_DIR, Genome
from trainer.harness.outside.command import Command, CommandServer
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import Text

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def checkpoint_files(order: Order) -> tuple[str, ...]:
    """What a training leaves in the order's folder; the first one holds the weights."""
    if order.genome.command is None:
        return MODEL_FILE, CONFIG_FILE
    return (adapter(order.genome.adapter).checkpoint,)


def command_server(order: Order, on_report: Callable[[Report], None]) -> CommandServer:
    """The server of a genome with a command; BadInput when its adapter cannot make sense of it."""
    owner, each = adapter(order.genome.adapter), tokens_per_iteration(order)
    check = order.purpose == Purpose.CHECK
    told = Invocation(
        device=order.device, out=OUT_DIR, tokens_per_iteration=each, budget_tokens=order.budget_tokens,
        budget_seconds=order.budget_seconds, check=check,
    )
    return CommandServer(
        socket=socket_of(order, "train"),
        folder=order.folder,
        command=Command(
            words=(*(order.genome.command or ()), *owner.arguments(told)), adapter=owner, tokens_per_iteration=each,
            tokens=None if check else order.budget_tokens, seconds=None if check else order.budget_seconds,
        ),
        max_checkpoint_bytes=order.limits.out_bytes,
        on_report=on_report,
    )


def tokens_per_iteration(order: Order) -> int:
    """The baseline's, so that a variant cannot change what its budget is counted in; a baseline's own is read from
    its code. In a check nothing is counted, and no code of a variant is read."""
    if order.baseline.tokens_per_iteration is not None:
        return order.baseline.tokens_per_iteration
    if order.purpose == Purpose.CHECK:
        return 1
    return iteration_of(order.genome, read_directory(order.genome_dir))


def iteration_of(genome: Genome, files: dict[str, bytes]) -> int:
    """Tokens of one iteration of a genome with a command, read in a child with limits; BadInput when it says none."""
    try:
        told = confined("iteration", {
            "adapter": genome.adapter, "command": list(genome.command or ()), "files": packed(files),
        })
    except Unparsable as error:
        raise BadInput(f"the settings of “{genome.name}” cannot be read: {error}") from error
    if "refused" in told:
        raise BadInput(f"the settings of “{genome.name}” cannot be read: {told['refused']}")
    return int(told["tokens"])


def training_job(order: Order) -> Job:
    """The container that trains. A trainer that owns its loop also gets a copy of the training text, and it alone."""
    if order.genome.command is None:
        alone = "check" if order.purpose == Purpose.CHECK else "train"
        module = alone if order.genome.processes == 1 else "ranks"
        return job(order, "train", module=module, limits=order.limits)
    owner = adapter(order.genome.adapter)
    data = order.folder / "data"
    _lay_out(owner, order, data)
    # A mount needs a place to be, and the genome is read-only inside.
    (order.genome_dir / owner.data).mkdir(parents=True, exist_ok=True)
    made = job(order, "train", module="command", limits=order.limits)
    return replace(made, mounts=(*made.mounts, Mount(data, f"{GENOME_DIR}/{owner.data}")))


def settle(order: Order, outcome: Outcome) -> None:
    """What a trainer that owns its loop says of its tokens is claimed: it is shown, and nothing is selected on it."""
    if order.genome.command is None:
        return
    counts = {name: outcome.numbers.get(name) for name in ("train_tokens", "tokens_per_second")}
    outcome.numbers.update(dict.fromkeys(counts))
    if order.purpose != Purpose.CHECK:  # in which iterations are no tokens
        outcome.claimed.update(counts)
        outcome.numbers["tokens_per_iteration"] = tokens_per_iteration(order)


def _lay_out(owner: Adapter, order: Order, data: Path) -> None:
    partial = data.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
    seed = order.seed if order.stream_seed is None else order.stream_seed
    owner.layout(training_text(order.text), seed=seed, directory=partial)
    partial.chmod(0o755)
    partial.replace(data)


def training_text(text: Text) -> TrainingText:
    """The training part of `text`, with what each token stands for where tokens are single characters."""
    alphabet: tuple[str, ...] | None = None
    if text.vocabulary == "bytes":
        alphabet = tuple(map(chr, range(256)))
    elif text.vocabulary == "chars":
        alphabet = (*sorted(set(bytes(text.parts["train"].raw).decode())), UNKNOWN)
    return TrainingText(
        train=text.train, validation=text.validation, vocab_size=text.vocab_size, alphabet=alphabet
    )
