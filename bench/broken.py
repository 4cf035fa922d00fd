"""How many broken patches never reach a full training: `python bench/broken.py --help`.

Each patch of bench/broken/ is drafted against its baseline and climbs the ladder as in the product: screening, then the
checks in a real sandbox. With --operators what every built-in operator makes of the built-in genome climbs instead, and
none of it may be stopped.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they need a database, and it is not known yet where
    from bench.ladder import Climb, Ladder
    from bench.patches import Patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
EXAMPLES = """examples:
  python bench/broken.py
  python bench/broken.py --classes shapes,dtypes --lines
  python bench/broken.py --operators

exit codes: 0 at least 95 % were stopped (--operators: none was), 1 not, 2 bad input, 4 no sandbox"""
WANTED = 0.95
TOKENS = 300_000  # of a full training, which schedules are told


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or with --json one object; the exit code."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="darwin-broken-") as var:
        os.environ["DARWIN_VAR"] = var
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
        import django  # noqa: PLC0415 only now is it known where its database will be

        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        from evolution.errors import BadInput, DarwinError  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        try:
            return _bench(given)
        except BadInput as error:
            print(error, file=sys.stderr)
            return 2
        except DarwinError as error:
            print(error, file=sys.stderr)
            return 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", default="", metavar="A,B", help="only these classes of the corpus")
    parser.add_argument("--only", default="", metavar="TEXT", help="only patches or operators whose name holds it")
    parser.add_argument("--operators", action="store_true", help="honest changes instead: the built-in operators")
    parser.add_argument("--data", default="builtin", metavar="FILE", help="a text file; default: the built-in data")
    parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
    parser.add_argument("--lines", action="store_true", help="one line for each patch on stderr, as they end")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser


def _bench(given: argparse.Namespace) -> int:
    climbs = []
    for one in _climbs(given):
        climbs.append(one)
        if given.lines:
            print(f"{one.kind}\t{one.name}\t{one.rung}\t{one.seconds:.1f} s\t{one.reason}", file=sys.stderr, flush=True)
    stopped = sum(one.stopped for one in climbs)
    if given.json:
        print(json.dumps({"stopped": stopped, "climbs": [asdict(one) for one in climbs]}))
    else:
        print(table(climbs))
    if given.operators:
        return 0 if stopped == 0 else 1
    return 0 if stopped >= WANTED * len(climbs) else 1


def _climbs(given: argparse.Namespace) -> Iterator["Climb"]:
    from bench.ladder import GENOMES, Ladder  # noqa: PLC0415
    from sandbox import readiness  # noqa: PLC0415

    driver = readiness.choose(given.sandbox)
    if given.operators:
        ladder = Ladder("builtin", GENOMES["builtin"](), driver, data=given.data, tokens=TOKENS)
        yield from _operated(ladder, given.only)
        return
    for genome, patches in _chosen(given.classes, given.only).items():
        ladder = Ladder(genome, GENOMES[genome](), driver, data=given.data, tokens=TOKENS)
        for patch in patches:
            yield ladder.climb(patch)


def _chosen(classes: str, only: str) -> dict[str, list["Patch"]]:
    """The patches of these classes, by the genome they belong to."""
    from bench.patches import CLASSES, corpus  # noqa: PLC0415
    from evolution.errors import BadInput  # noqa: PLC0415

    wanted = [one for one in classes.split(",") if one] or list(CLASSES)
    if unknown := sorted(set(wanted) - set(CLASSES)):
        raise BadInput(f"There is no class {unknown[0]}: --classes takes some of {', '.join(CLASSES)}.")
    found: dict[str, list[Patch]] = {}
    for patch in corpus():
        if patch.kind in wanted and only in patch.name:
            found.setdefault(patch.genome, []).append(patch)
    return found


def _operated(ladder: "Ladder", only: str) -> Iterator["Climb"]:
    """What every built-in operator that fits makes of the baseline."""
    from evolution.confined import confined  # noqa: PLC0415

    texts = {path: content.decode() for path, content in ladder.files.items() if path.endswith(".py")}
    payload = {"files": texts, "editable": sorted(texts), "seed": 1}
    for name in [one for one in confined("fitting", payload)["fits"] if only in one]:
        made = confined("operate", {**payload, "operator": name})
        changed = {path: text.encode() for path, text in made["files"].items()}
        yield ladder.try_files({**ladder.files, **changed}, name=name, kind="operator")


def table(climbs: Sequence["Climb"]) -> str:
    """One line for each class, in Markdown, and one for all."""
    kinds = list(dict.fromkeys(one.kind for one in climbs))
    heads = ["class", "patches", "stopped", "at", "mean s"]
    by_kind = [_cells(kind, [one for one in climbs if one.kind == kind]) for kind in kinds]
    lines = [heads, ["---"] * len(heads), *by_kind]
    passed = [f"not stopped: {one.kind}: {one.name}" for one in climbs if not one.stopped]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in [*lines, _cells("all", climbs)]), "", *passed])


def _cells(kind: str, climbs: Sequence["Climb"]) -> list[str]:
    rungs = Counter(one.rung for one in climbs if one.stopped)
    return [
        kind, str(len(climbs)), str(sum(rungs.values())),
        ", ".join(f"{rung} {count}" for rung, count in rungs.most_common()),
        f"{statistics.fmean(one.seconds for one in climbs):.1f}" if climbs else "–",
    ]


if __name__ == "__main__":
    sys.exit(main())
