"""What is missing before a directory can be trained and judged: one finding per check, and no code of it is run."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evolution.agents.builtin import readable
from evolution.confined import Unparsable, confined
from evolution.errors import BadInput
from evolution.genomes import genome_of, read_directory, supported
from evolution.outline import packed
from evolution.preflight import entries
from trainer.contract import MANIFEST, Genome, GenomeError

SHOWN = 3  # problems named in one finding
ADAPTERS = "trainer.adapters."

# Where things are on somebody's machine; inside there is only /genome and /out.
PLACES = re.compile(
    r"""["'](/(?:home|Users|mnt|data|datasets|scratch|nfs|root|workspace)/[^"'\s]*|[A-Za-z]:\\[^"'\s]+)"""
)
SECRETS = re.compile(
    r"sk-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


@dataclass(frozen=True)
class Finding:
    """What one check found; `fatal` when nothing can be trained before it is put right."""

    name: str
    passed: bool
    detail: str
    fatal: bool = True


@dataclass(frozen=True)
class Candidate:
    """A directory that may be a genome, read once for all checks."""

    files: Mapping[str, bytes]
    genome: Genome

    @cached_property
    def python(self) -> dict[str, str]:
        return readable(self.files)

    @cached_property
    def starts(self) -> list[str]:
        """The files a trial begins with, without what an adapter brings."""
        brought = ADAPTERS.replace(".", "/")
        return [path for path in entries(self.genome) if path != ".py" and not path.startswith(brought)]

    @cached_property
    def problems(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = confined("check", {"files": self.python, "entries": self.starts})
        return found


def inspect(directory: Path) -> list[Finding]:
    """Every finding about the genome in `directory`, in the order in which to put things right."""
    try:
        files = read_directory(directory)
        genome = supported(genome_of(files))
    except (BadInput, GenomeError) as error:
        return [Finding("manifest", False, str(error))]
    candidate = Candidate(files, genome)
    return [
        Finding("manifest", True, f"{MANIFEST}: {genome.name}, context {genome.context}, {genome.vocabulary}"),
        *(check(candidate) for check in CHECKS),
    ]


def _files(candidate: Candidate) -> Finding:
    missing = [path for path in candidate.starts if path not in candidate.files]
    if not candidate.starts:
        return Finding("files", False, "the command names no Python file: write [\"python\", \"train.py\", ...]")
    if missing:
        return Finding("files", False, f"there is no {', '.join(missing)}: {MANIFEST} names it")
    return Finding("files", True, f"{', '.join(candidate.starts)} among {len(candidate.files)}")


def _functions(candidate: Candidate) -> Finding:
    named = [reference.split(":") for reference in (candidate.genome.entry, candidate.genome.load) if reference]
    wanted = [
        (f"{module.replace('.', '/')}.py", name) for module, name in named if not module.startswith(ADAPTERS)
    ]
    try:
        told = confined("missing", {"files": candidate.python, "wanted": wanted})
    except Unparsable as error:
        return Finding("functions", False, str(error))
    if told["missing"]:
        return Finding("functions", False, ", ".join(f"{path} defines no {name}" for path, name in told["missing"]))
    return Finding("functions", True, " and ".join(":".join(one) for one in named))


def _settings(candidate: Candidate) -> Finding:
    """What the adapter has to know about a command."""
    genome = candidate.genome
    if genome.command is None:
        return Finding("budget", True, "tokens are counted as they are served")
    try:
        told = confined("iteration", {
            "adapter": genome.adapter, "command": list(genome.command), "files": packed(dict(candidate.files)),
        })
    except Unparsable as error:
        return Finding("budget", False, str(error))
    if "refused" in told:
        return Finding("budget", False, told["refused"])
    return Finding("budget", True, f"{told['tokens']:,} tokens in one iteration; device time is what counts")


def _editable(candidate: Candidate) -> Finding:
    globs = candidate.genome.editable
    idle = [
        glob for glob in globs if not any(_only(candidate.genome, glob).may_edit(path) for path in candidate.files)
    ]
    if len(idle) == len(globs):
        return Finding("editable", False, f"{', '.join(idle)} matches no file: agents could change nothing")
    count = sum(candidate.genome.may_edit(path) for path in candidate.files)
    unused = f"; {', '.join(idle)} matches nothing yet" if idle else ""
    return Finding("editable", True, f"{count} files may be changed{unused}")


def _imports(candidate: Candidate) -> Finding:
    try:
        found = [*candidate.problems["parse"], *candidate.problems["names"]]
    except Unparsable as error:
        return Finding("imports", False, str(error))
    return Finding("imports", not found, _listed(found) or "every name is defined and every import can be there")


def _places(candidate: Candidate) -> Finding:
    found = list(_matches(candidate, PLACES, group=1))
    advice = "no path of a machine" if not found else f"{_listed(found)}: inside there are only the genome and /out"
    return Finding("paths", not found, advice, fatal=False)


def _secrets(candidate: Candidate) -> Finding:
    found = [where.partition(" ")[0] for where in _matches(candidate, SECRETS, group=0)]
    advice = "nothing that looks like a key" if not found else f"{_listed(found)} looks like a key: take it out"
    return Finding("secrets", not found, advice)


CHECKS: tuple[Callable[[Candidate], Finding], ...] = (
    _files, _functions, _settings, _editable, _imports, _places, _secrets,
)


def _only(genome: Genome, glob: str) -> Genome:
    return Genome(**{**vars(genome), "editable": (glob,)})


def _matches(candidate: Candidate, pattern: re.Pattern[str], *, group: int) -> Iterator[str]:
    for path, content in candidate.files.items():
        for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
            if match := pattern.search(line[:2000]):
                yield f"{path}:{number} {match[group]}"


def _listed(found: list[str]) -> str:
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more
