"""The checks that run no code, cheapest first: what fails them costs nobody's attention and no GPU time."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from django.db import transaction

from evolution import novelty, patches
from evolution.confined import Unparsable, confined
from evolution.errors import PatchRefused, StaleTransition
from evolution.genomes import genome_of, store_of
from evolution.lifecycle import advance
from evolution.memory import remember
from evolution.models import Check, Status, Variant
from trainer.contract import Genome, GenomeError

SHOWN = 5  # problems named in one verdict


@dataclass(frozen=True)
class Verdict:
    """What one check found. `becomes` is where a variant that fails it ends."""

    passed: bool
    detail: str
    becomes: Status = Status.STILLBORN


@dataclass(frozen=True)
class Subject:
    """A variant's code, read once for all checks."""

    variant: Variant
    files: Mapping[str, bytes]

    @cached_property
    def python(self) -> dict[str, str]:
        return {path: _decoded(content) for path, content in self.files.items() if path.endswith(".py")}

    @property
    def starts(self) -> list[str]:
        """The functions that a trial calls. GenomeError for a manifest that says none."""
        genome = genome_of(self.files)
        return [(one or "").rpartition(":")[2] for one in (genome.entry, genome.load)]

    @cached_property
    def problems(self) -> dict[str, list[str]]:
        """What the child found, for two checks. Unparsable or GenomeError when it could not look."""
        starts = entries(genome_of(self.files))
        found: dict[str, list[str]] = confined("check", {"files": self.python, "entries": starts})
        return found


def screen(variant: Variant) -> Status:
    """Take a DRAFTED variant through the checks, to SCREENED, DUPLICATE or STILLBORN; its status afterwards.

    Safe to repeat after a kill: checks that were recorded are not done again.
    """
    subject = Subject(variant, store_of(variant.experiment).files(variant.commit))
    novelty.describe(variant, subject.files)
    for name, check in RUNGS:
        verdict = _recorded(variant, name) or _perform(subject, name, check)
        if not verdict.passed:
            return _end(variant, verdict.becomes, verdict.detail)
    return _end(variant, Status.SCREENED, "")


def path_gate(subject: Subject) -> Verdict:
    """Asked again here: the row may have come by another road than draft()."""
    variant = subject.variant
    if variant.parent is None:
        return Verdict(True, f"{len(subject.files)} files")
    before = store_of(variant.experiment).files(variant.parent.commit)
    try:
        patches.gate(genome_of(before), before, subject.files)
    except (PatchRefused, GenomeError) as refused:
        return Verdict(False, str(refused))
    changed = ", ".join(patches.changed_paths(before, subject.files))
    return Verdict(True, f"{variant.lines_changed} lines changed in {changed}")


def parse(subject: Subject) -> Verdict:
    for path in subject.python:
        if not _is_utf8(subject.files[path]):
            return Verdict(False, f"{path}:1: is not UTF-8 text")
    return _listed(subject, "parse", f"{len(subject.python)} Python files can be read")


def changed(subject: Subject) -> Verdict:
    """Whether there is a change at all: one of comments, or of what nothing uses, is no idea to train."""
    variant = subject.variant
    if variant.parent is None:
        return Verdict(True, "the baseline changes nothing")
    before = Subject(variant.parent, store_of(variant.experiment).files(variant.parent.commit))
    if {path: text for path, text in subject.files.items() if path not in subject.python} != {
        path: text for path, text in before.files.items() if path not in before.python
    }:
        return Verdict(True, "files beside the code differ")
    try:
        found = confined("effect", {"before": before.python, "after": subject.python, "starts": subject.starts})
    except (Unparsable, GenomeError) as error:
        return Verdict(True, f"cannot be compared: {error}")
    if found["same"]:
        return Verdict(False, f"no change: {variant.parent} with other comments or layout", Status.DUPLICATE)
    if found["idle"]:
        return Verdict(False, f"no change: what it adds to {variant.parent} is used by nothing", Status.DUPLICATE)
    return Verdict(True, "the code does something else")


def names(subject: Subject) -> Verdict:
    return _listed(subject, "names", "every name, import and call of its own can be there")


def allowed(subject: Subject) -> Verdict:
    """What a proposal brings that its parent had not. The baseline may have what it has."""
    variant = subject.variant
    if variant.parent is None:
        return Verdict(True, "the baseline is taken as it is")
    before = store_of(variant.experiment).files(variant.parent.commit)
    changed = {
        path: {"before": _decoded(before[path]) if path in before else None, "after": text}
        for path, text in subject.python.items() if before.get(path) != subject.files[path]
    }
    try:
        found = confined("forbidden", {"files": changed})["forbidden"]
    except Unparsable as error:
        return Verdict(False, str(error))
    return _verdict(found, "no network, processes, clocks, foreign files, seeds of its own or harness")


def new(subject: Subject) -> Verdict:
    """Against every earlier variant of the experiment, whatever became of it: a vetoed idea is not proposed again."""
    variant = subject.variant
    try:
        variant.code_hash = hash_of(subject.files)
    except Unparsable as error:
        return Verdict(False, str(error))
    variant.save(update_fields=["code_hash"])
    veto = novelty.returned(variant)
    twins = variant.experiment.variants.filter(code_hash=variant.code_hash, number__lt=variant.number)
    twin = twins.order_by("number").first()
    if twin is not None:
        if twin.status == Status.VETOED:
            novelty.count_return(variant, twin, alike=1.0)
        said = f"the same code as v{twin.number}, which is {twin.get_status_display()}"
        return Verdict(False, said, Status.DUPLICATE)
    if veto is not None:
        novelty.count_return(variant, veto, alike=variant.similarity)
        said = f"{novelty.why_vetoed(veto)}: comes back unchanged in substance"
        return Verdict(False, said, Status.DUPLICATE)
    return Verdict(True, "; ".join(filter(None, ("no earlier variant has this code", novelty.told(variant)))))


RUNGS: tuple[tuple[str, Callable[[Subject], Verdict]], ...] = (
    ("path gate", path_gate), ("parse", parse), ("change", changed), ("names", names), ("allowed", allowed),
    ("new", new),
)


def hash_of(files: Mapping[str, bytes]) -> str:
    """sha256 of what the code does: comments, docstrings and layout do not count. Unparsable when it cannot be read."""
    python = {path: _decoded(content) for path, content in files.items() if path.endswith(".py")}
    others = {path: hashlib.sha256(content).hexdigest() for path, content in files.items() if path not in python}
    return str(confined("hash", {"files": python, "others": others})["sha256"])


def entries(genome: Genome) -> list[str]:
    """The files that a trial starts with: those of [train] and [judge]."""
    starts = [*(genome.command or ()), _file(genome.entry or ""), _file(genome.load)]
    return [path for path in starts if path.endswith(".py")]


def _listed(subject: Subject, part: str, fine: str) -> Verdict:
    try:
        found = subject.problems[part]
    except (Unparsable, GenomeError) as error:
        return Verdict(False, str(error))
    return _verdict(found, fine)


def _verdict(found: list[str], fine: str) -> Verdict:
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return Verdict(False, "; ".join(found[:SHOWN]) + more) if found else Verdict(True, fine)


def _perform(subject: Subject, name: str, check: Callable[[Subject], Verdict]) -> Verdict:
    begun = time.perf_counter()
    verdict = check(subject)
    record(subject.variant, name, passed=verdict.passed, detail=verdict.detail, seconds=time.perf_counter() - begun)
    return verdict


@transaction.atomic
def record(variant: Variant, name: str, *, passed: bool, detail: str, seconds: float) -> Check:
    """Write down what a check found; the first verdict stands."""
    check, made = Check.objects.get_or_create(
        variant=variant, name=name, defaults={"passed": passed, "detail": detail, "seconds": seconds}
    )
    if made:
        remember(variant.experiment, "check.done", actor="system", variant=variant, data={
            "variant": variant.number, "check": name, "passed": passed, "detail": detail,
        })
    return check


def _recorded(variant: Variant, name: str) -> Verdict | None:
    done = Check.objects.filter(variant=variant, name=name).first()
    if done is None:
        return None
    twin = name == "change" or (name == "new" and variant.code_hash)
    becomes = Status.DUPLICATE if twin else Status.STILLBORN
    return Verdict(done.passed, done.detail, becomes)


def _end(variant: Variant, status: Status, reason: str) -> Status:
    try:
        advance(variant, status, actor="system", reason=reason)
    except StaleTransition:
        variant.refresh_from_db()  # called off, or screened by somebody else, in the meantime
    return Status(variant.status)


def _file(reference: str) -> str:
    return f"{reference.partition(':')[0].replace('.', '/')}.py"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(content: bytes) -> str:
    return content.decode("utf-8-sig", errors="replace")
