"""An experiment as a directory that explains, checks and restores itself."""

import shutil
import tempfile
from pathlib import Path

from darwin_web.archive.report import report
from evolution import archive, chain, durable, journal
from evolution.archive import GENOMES, MEMORY, REPORT
from evolution.errors import BadInput, DarwinError
from evolution.genomes import REFS, Store
from evolution.models import Experiment


def export(experiment: Experiment, target: Path) -> None:
    """Write memory, repository, report and manifest to `target`, whole or not at all.

    BadInput when `target` exists and is not an empty directory; DarwinError when the experiment's own files are not
    what was written.
    """
    target = target.absolute()
    _refuse(target)
    _trust(experiment)
    journal.drain(experiment, everything=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _build(experiment, building)
        building.chmod(0o755)
        _refuse(target)
        building.rename(target)
        durable.sync_folder(target.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _refuse(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BadInput(f"{target} is not a directory: name a new or an empty one")
    if target.is_dir() and any(target.iterdir()):
        raise BadInput(f"{target} is not empty: name a new or an empty directory")


def _trust(experiment: Experiment) -> None:
    """Raise DarwinError when the experiment's own files are damaged, before anything reads them further."""
    if not (journal.memory_of(experiment) / chain.JOURNAL).exists():
        return
    if changed := archive.changes(experiment.folder):
        raise DarwinError(
            f"{experiment.folder} was changed ({changed[0]}; {len(changed)} in all): restore it from an older export"
        )


def _build(experiment: Experiment, building: Path) -> None:
    memory = journal.memory_of(experiment)
    with durable.locked(memory):
        shutil.copytree(memory, building / MEMORY, ignore=shutil.ignore_patterns(f"*{durable.STAGED}"))
    shutil.copytree(
        experiment.folder / GENOMES, building / GENOMES, ignore=shutil.ignore_patterns("tmp_*", "*.lock"),
    )
    _forget_unfinished(building)
    if changed := archive.changes(building):
        raise DarwinError(
            f"{experiment.folder} changed while it was copied ({changed[0]}; {len(changed)} in all): try again"
        )
    (building / REPORT).write_text(report(building), encoding="utf-8")
    archive.write_manifest(building, experiment=experiment.slug)


def _forget_unfinished(building: Path) -> None:
    """Take away refs that no line knows: a proposal that is being committed at this moment."""
    known = {line.data["variant"] for line in chain.lines(building / MEMORY) if line.kind == "commit.written"}
    for number in Store(building / GENOMES).refs():
        if number not in known:
            (building / GENOMES / f"{REFS}{number}").unlink(missing_ok=True)
