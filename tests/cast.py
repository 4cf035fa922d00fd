"""The cast of the tests: people, a tiny genome, an experiment, a little population.

Everything is made through the verbs that the product uses, so that a test never sees a state that cannot happen.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.text import slugify

from evolution import experiments
from evolution.drafting import draft
from evolution.genomes import store_of
from evolution.lifecycle import advance
from evolution.models import Experiment, Generation, Kind, Membership, Role, Status, Variant
from evolution.options import Options
from evolution.preflight import screen

S = Status

TEXT = b"It is not the strongest of the species that survives, nor the most intelligent.\n" * 400

MANIFEST = b"""\
name = "tiny"

[train]
entry = "train:main"

[judge]
load = "model:load"
context = 16

[evolve]
editable = ["*.py"]

[tokens]
vocabulary = "bytes"
"""

MODEL = b'''\
"""The smallest model: which byte follows which."""

from pathlib import Path

import torch
from safetensors.torch import load_model
from torch import nn


class Bigram(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens)


def load(directory: Path, device: str) -> nn.Module:
    model = Bigram(256)
    load_model(model, directory / "model.safetensors")
    return model.to(device)
'''

TRAIN = b'''\
"""Plain gradient descent."""

import torch
from torch.nn import functional

from model import Bigram

learning_rate = 1.0
batch_size = 8
block_size = 16


def main(run):
    model = Bigram(run.vocab_size).to(run.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    for step, (x, y) in enumerate(run.batches(batch_size, block_size)):
        logits = model(x)
        loss = functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(step=step, loss=loss)
    run.save(model, {})
'''

FILES = {"genome.toml": MANIFEST, "model.py": MODEL, "train.py": TRAIN}


def person(name: str, *, superuser: bool = False) -> User:
    """Someone with an account; the same one when asked again."""
    user, _ = User.objects.get_or_create(username=name, defaults={"is_superuser": superuser, "is_staff": superuser})
    return user


def member(name: str, experiment: Experiment, role: Role) -> User:
    """Someone with `role` in `experiment`."""
    user = person(name)
    Membership.objects.update_or_create(experiment=experiment, user=user, defaults={"role": role})
    return user


def genome(directory: Path, **files: bytes) -> Path:
    """The tiny genome, written to `directory`; `files` by name without “.py” replace or join its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, **{f"{stem}.py": content for stem, content in files.items()}}.items():
        (directory / name).write_bytes(content)
    return directory


def options(name: str = "demo", **given: Any) -> Options:
    """Options for an experiment with the tiny genome on a small text."""
    things = Path(settings.DARWIN_VAR) / "cast"
    things.mkdir(parents=True, exist_ok=True)
    (things / "text").write_bytes(TEXT)
    defaults: dict[str, Any] = {
        "genome": str(genome(things / "tiny")), "data": str(things / "text"), "population": 4, "survivors": 2,
        "generations": 2, "budget_tokens": 20_000, "sandbox": "docker", "image": "sha256:cast",
        "confirm_pairs": 0,
    }
    return Options(name=name, **{**defaults, **given})


def experiment(name: str = "demo", *, owner: User | None = None, **given: Any) -> Experiment:
    """A new experiment of the tiny genome, its baseline in DRAFTED. `given` are further options."""
    folder = Path(settings.DARWIN_VAR) / "experiments" / slugify(name)
    if folder.exists() and not Experiment.objects.filter(slug=slugify(name)).exists():
        shutil.rmtree(folder)  # of an earlier test, whose rows were rolled back
    owner = owner or person("olivia")
    return experiments.create(options(name, **given), actor=f"user:{owner.get_username()}", owner=owner)


def mutation(
    experiment: Experiment, *, parent: Variant | None = None, rate: float = 2.0, kind: Kind = Kind.MUTATION,
    author: str = "operator:learning_rate", **fields: Any,
) -> Variant:
    """A proposal that sets the learning rate, DRAFTED. Each `rate` makes different code."""
    origin = parent or _baseline(experiment)
    files = store_of(experiment).files(origin.commit)
    line = next(line for line in files["train.py"].splitlines() if line.startswith(b"learning_rate"))
    files["train.py"] = files["train.py"].replace(line, f"learning_rate = {rate}".encode())
    defaults = {
        "title": f"learning rate {rate}", "hypothesis": "Larger steps learn more from few tokens.",
        "rationale": "The table starts at random and has far to go.", "expected": "a little lower perplexity",
    }
    return draft(experiment, parent=origin, files=files, kind=kind, author=author, **{**defaults, **fields})


def drafted(experiment: Experiment, files: Mapping[str, bytes], **fields: Any) -> Variant:
    """A mutation of the baseline to exactly `files`, DRAFTED."""
    defaults: dict[str, Any] = {"kind": Kind.MUTATION, "author": "agent:test", "title": "another tree"}
    return draft(experiment, parent=_baseline(experiment), files=files, **{**defaults, **fields})


def move(variant: Variant, *statuses: Status, actor: str = "system", reason: str = "", **numbers: Any) -> Variant:
    """Walk `variant` through `statuses`; `reason` and `numbers` belong to the last step."""
    for status in statuses[:-1]:
        advance(variant, status, actor=actor)
    advance(variant, statuses[-1], actor=actor, reason=reason, **numbers)
    return variant


TO_REVIEW = (S.SCREENED, S.CHECKED, S.IN_REVIEW)
TO_TRAINING = (S.SCREENED, S.CHECKED, S.APPROVED, S.TRAINING)


def measured(variant: Variant, perplexity: float, **numbers: Any) -> Variant:
    """Walk a drafted variant to MEASURED with `perplexity`."""
    defaults = {
        "perplexity": perplexity, "val_loss": 2.0, "val_loss_error": 0.01, "bits_per_byte": 2.9, "mfu": 0.12,
        "tokens_per_second": 15_000.0, "flops_per_token": 131_072.0, "parameters": 65_536, "train_seconds": 1.3,
        "device_seconds": 1.2, "weights_sha256": "0" * 64,
    }
    return move(variant, *ahead(variant, *TO_TRAINING, S.MEASURED), actor="sandbox", **{**defaults, **numbers})


def ahead(variant: Variant, *road: Status) -> tuple[Status, ...]:
    """What of `road` is still before `variant`."""
    return road[road.index(S(variant.status)) + 1:] if variant.status in road else road


def bred(experiment: Experiment) -> Experiment:
    """The experiment with a measured baseline that survived, and generation 1 open."""
    measured(_baseline(experiment), 12.0)
    move(_baseline(experiment), S.SURVIVED, actor="selection", reason="the baseline")
    Generation.objects.get_or_create(experiment=experiment, number=1)
    experiment.generation = 1
    experiment.save(update_fields=["generation"])
    return experiment


def population(experiment: Experiment) -> dict[str, Variant]:
    """A full little population of generation 1, by what became of each; all of it was really screened."""
    screen(_baseline(experiment))
    bred(experiment)
    broken = {**FILES, "train.py": TRAIN.replace(b"def main(run):", b"def main(run:")}
    return {
        "baseline": _baseline(experiment),
        "measured": measured(_screened(experiment, 2.0), 10.5),
        "vetoed": _ended(_screened(experiment, 3.0), *TO_REVIEW, S.VETOED, actor="user:rita", reason="costly"),
        "failed": _ended(_screened(experiment, 4.0), *TO_TRAINING, S.FAILED, actor="sandbox", reason="it diverged"),
        "in_review": _ended(_screened(experiment, 5.0), *TO_REVIEW),
        "stillborn": _screen(drafted(experiment, broken, title="a slip of the pen")),
    }


def _screened(experiment: Experiment, rate: float) -> Variant:
    return _screen(mutation(experiment, rate=rate))


def _screen(variant: Variant) -> Variant:
    screen(variant)
    return variant


def _ended(variant: Variant, *road: Status, **fields: Any) -> Variant:
    return move(variant, *ahead(variant, *road), **fields)


def _baseline(experiment: Experiment) -> Variant:
    return experiment.variants.get(number=0)
