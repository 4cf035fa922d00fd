"""What each built-in operator does to the built-in genome: `python bench/operators.py --help`.

Every operator that fits is trained in the sandbox and judged, paired with the baseline: same seed, same stream of
text. A baseline trial is run before every few operators, so that device times are compared with one next to them.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
django.setup()

from bench.recipes import BUILTIN  # noqa: E402 Django comes first
from bench.trials import Budget, Ledger, Trial, fingerprint  # noqa: E402
from evolution.agents.builtin import readable  # noqa: E402
from evolution.confined import confined  # noqa: E402
from evolution.errors import BadInput, DarwinError  # noqa: E402
from evolution.genetics import intervals  # noqa: E402
from evolution.genetics.intervals import Interval  # noqa: E402
from evolution.genomes import read_directory  # noqa: E402
from sandbox import readiness  # noqa: E402
from sandbox.training import DEVICE_TIME_RATIO  # noqa: E402
from trainer.contract import GenomeError  # noqa: E402

BASELINE = "baseline"
BETWEEN = 4  # operators between two baseline trials
Files = Mapping[str, bytes]
EXAMPLES = """examples:
  python bench/operators.py --data tinyshakespeare.txt --seeds 3 --results /tmp/operators.jsonl
  python bench/operators.py --data tinyshakespeare.txt --seeds 3 --results /tmp/operators.jsonl --report
  python bench/operators.py --only muon rotary --seeds 2

Ended and started again with the same --results, it goes on where it was.

exit codes: 0 every operator that fits was measured, 1 some failed or were rejected, 2 bad input, 4 no sandbox"""


@dataclass(frozen=True)
class Pair:
    """An operator's trial, the baseline's of the same seed, and the device seconds of the baseline next to it."""

    trial: Trial
    baseline: Trial
    beside: float | None

    @property
    def change(self) -> float | None:
        """Nats, operator − baseline: negative is better."""
        return None if self.trial.loss is None or self.baseline.loss is None else self.trial.loss - self.baseline.loss

    @property
    def ratio(self) -> float | None:
        used = self.trial.device_seconds
        return None if used is None or not self.beside else used / self.beside


@dataclass(frozen=True)
class Row:
    """What is known about one operator. `changes` in nats, one for each pair that was measured."""

    operator: str
    pairs: Sequence[Pair]

    @property
    def changes(self) -> list[float]:
        return [pair.change for pair in self.pairs if pair.change is not None]

    @property
    def change(self) -> float | None:
        """Their mean."""
        return sum(self.changes) / len(self.changes) if self.changes else None

    @property
    def interval(self) -> Interval | None:
        return intervals.mean(self.changes)

    @property
    def ratio(self) -> float | None:
        """The mean of its device time divided by the baseline's."""
        known = [pair.ratio for pair in self.pairs if pair.ratio is not None]
        return sum(known) / len(known) if known else None

    @property
    def lost(self) -> Trial | None:
        """The first trial of it that has no number."""
        return next((pair.trial for pair in self.pairs if pair.trial.verdict != "measured"), None)

    @property
    def verdict(self) -> str:
        """What can be said with 95 % confidence, for this operator by itself."""
        if not self.pairs:
            return "not run"
        if self.lost is not None:
            return self.lost.verdict
        found = self.interval
        if found is None:
            return "one seed"
        if found.low <= 0 <= found.high:
            return "does nothing" if found.low == found.high else "nothing seen"
        if found.value > 0:
            return "hurts"
        return "helps" if self.ratio is None or self.ratio <= DEVICE_TIME_RATIO else "helps, too slow"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return _bench(given)
    except (BadInput, GenomeError) as error:
        print(error, file=sys.stderr)
        return 2
    except DarwinError as error:
        print(error, file=sys.stderr)
        return 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DARWIN_DATA", "builtin"), metavar="FILE",
                        help="a text file; default: DARWIN_DATA, or the built-in data")
    parser.add_argument("--tokens", type=int, default=99_840, metavar="N", help="of each training; default 99840")
    parser.add_argument("--seeds", type=int, default=3, metavar="K", help="pairs of each operator; default 3")
    parser.add_argument("--only", nargs="+", metavar="OPERATOR", help="these; NAME_xFACTOR too. Default: all that fit")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON lines; default: operators.jsonl in var/")
    parser.add_argument("--report", action="store_true", help="run nothing: the table of what is there")
    parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
    return parser


def _bench(given: argparse.Namespace) -> int:
    if given.seeds < 1 or given.tokens < 768:
        raise BadInput("Give --seeds at least 1 and --tokens at least 768: one iteration.")
    baseline = dict(read_directory(BUILTIN))
    changed = variants(baseline, given.only)
    ledger = Ledger(_results(given.results), readiness.choose(given.sandbox), Budget(given.data, given.tokens))
    if not given.report:
        for seed in range(given.seeds):
            for line in measured(ledger, baseline, changed, seed=seed):
                print(line, file=sys.stderr, flush=True)
    rows = [row(ledger, name, baseline, changed, seeds=given.seeds) for name in changed]
    print(table(rows))
    return 1 if any(one.lost for one in rows) else 0


def _results(given: Path | None) -> Path:
    from django.conf import settings  # noqa: PLC0415 the environment may name another var/

    return given or Path(settings.DARWIN_VAR) / "bench" / "operators.jsonl"


def variants(baseline: Files, only: Sequence[str] | None) -> dict[str, Files]:
    """What every operator makes of `baseline`, by its name; BadInput for one that does not fit."""
    texts = readable(baseline)
    payload = {"files": texts, "editable": list(texts), "seed": 0}
    names = only or confined("fitting", payload)["fits"]
    made: dict[str, Files] = {}
    for name in names:
        done = confined("operate", {**payload, "operator": name})
        if "declined" in done:
            raise BadInput(f"{name} does not fit the built-in genome: leave it out")
        made[name] = {**baseline, **{path: text.encode() for path, text in done["files"].items()}}
    return made


def measured(ledger: Ledger, baseline: Files, changed: Mapping[str, Files], *, seed: int) -> Iterator[str]:
    """Run what is missing of one seed, the baseline anew before every BETWEEN operators and at the end."""
    missing = [(name, files) for name, files in changed.items() if not ledger.has(files, seed=seed)]
    for at, (name, files) in enumerate(missing):
        if at % BETWEEN == 0:
            yield told(BASELINE, _again(ledger, baseline, seed=seed))
        yield told(name, ledger.trial(files, seed=seed))
    if missing:
        yield told(BASELINE, _again(ledger, baseline, seed=seed))


def _again(ledger: Ledger, baseline: Files, *, seed: int) -> Trial:
    """One more trial of the baseline with this seed: the same loss, another device time."""
    return ledger.trial(baseline, seed=seed, turn=len(_baselines(ledger, baseline, seed=seed)))


def _baselines(ledger: Ledger, baseline: Files, *, seed: int) -> list[Trial]:
    genome = fingerprint(baseline)
    return [one for one in ledger.trials if (one.genome, one.seed) == (genome, seed)]


def told(name: str, one: Trial) -> str:
    number = one.reason if one.loss is None else f"{one.loss:.4f} nats"
    return f"seed {one.seed}  {name:24s} {number}  {one.device_seconds or math.nan:.1f} s of the device"


def row(ledger: Ledger, name: str, baseline: Files, changed: Mapping[str, Files], *, seeds: int) -> Row:
    """The pairs of one operator that are in the ledger."""
    pairs = []
    for seed in range(seeds):
        baselines = _baselines(ledger, baseline, seed=seed)
        if baselines and ledger.has(changed[name], seed=seed):
            trial = ledger.trial(changed[name], seed=seed)
            pairs.append(Pair(trial, baselines[0], _beside(ledger, trial, baselines)))
    return Row(name, pairs)


def _beside(ledger: Ledger, trial: Trial, baselines: Sequence[Trial]) -> float | None:
    """Mean device seconds of the last baseline that was run before `trial` and of the first one after it."""
    place = {one.key: at for at, one in enumerate(ledger.trials)}
    before = [one for one in baselines if place[one.key] < place[trial.key]][-1:]
    after = [one for one in baselines if place[one.key] > place[trial.key]][:1]
    known = [one.device_seconds for one in before + after if one.device_seconds is not None]
    return sum(known) / len(known) if known else None


def table(rows: Sequence[Row]) -> str:
    """Markdown, the best first; what could not be measured at the end with its reason."""
    ordered = sorted(rows, key=lambda one: math.inf if one.change is None else one.change)
    heads = ["operator", "pairs", "Δ loss, nats", "95 % interval", "perplexity", "device time", "verdict"]
    lines = [heads, ["---"] * len(heads), *(_cells(one) for one in ordered)]
    reasons = [f"{one.operator}: {one.lost.reason}" for one in ordered if one.lost]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), *reasons])


def _cells(one: Row) -> list[str]:
    found, mean = one.interval, one.change
    return [
        one.operator, str(len(one.changes)), _number(mean, "+.4f"),
        f"{found.low:+.4f} … {found.high:+.4f}" if found else "–",
        _number(math.expm1(mean) if mean is not None else None, "+.1%"),
        "–" if one.ratio is None else f"{one.ratio:.2f} ×", one.verdict,
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
