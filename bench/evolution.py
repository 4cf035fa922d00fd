"""Whether evolution is worth its price: ours, the paper's, best of N and Optuna at equal budget.

Every arm spends the same trials; its best is then trained again, paired with the baseline on seeds that no arm has
seen and judged on text that no arm has seen: `python bench/evolution.py --help`.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
django.setup()

from bench.arms import ARMS, EVOLVING, GENERATIONS, NEEDS_MODEL, Arm, Files, Setting, Spent  # noqa: E402 Django comes first
from bench.recipes import BUILTIN  # noqa: E402
from bench.trials import Budget, Ledger, Trial, lay_out  # noqa: E402
from darwin_web.management.base import migrate  # noqa: E402
from evolution.errors import BadInput, DarwinError  # noqa: E402
from evolution.genetics import intervals  # noqa: E402
from evolution.genetics.intervals import Interval  # noqa: E402
from evolution.genomes import read_directory  # noqa: E402
from sandbox import readiness  # noqa: E402
from sandbox.drivers.base import Driver  # noqa: E402
from trainer.contract import GenomeError  # noqa: E402

FIRST_FRESH_SEED = 1_000_003  # of the confirmation runs: no search gets that far
EXAMPLES = """examples:
  DARWIN_VAR=/tmp/arms python bench/evolution.py --data tinyshakespeare.txt --results /tmp/arms/results
  DARWIN_VAR=/tmp/arms python bench/evolution.py --data tinyshakespeare.txt --results /tmp/arms/results --report
  DARWIN_VAR=/tmp/arms python bench/evolution.py --arms darwin optuna --repeat 1 --trials 8 --tokens 50000 --confirm 2

Ended and started again with the same --results and DARWIN_VAR, it goes on where it was.

exit codes: 0 every arm ran, 2 bad input, 4 no sandbox, or an arm could not go on"""


@dataclass(frozen=True)
class Result:
    """One arm, one repetition. `gains` in nats, `mfu` and `device` as ratios to the baseline: one for each pair of
    confirmation runs that was measured."""

    arm: str
    repetition: int
    trials: int
    failures: int
    repairs: int
    tokens: int
    seconds: float
    gains: list[float]
    mfu: list[float]
    device: list[float]
    lost: int  # confirmation runs of the winner that gave no number

    @property
    def gain(self) -> float | None:
        return sum(self.gains) / len(self.gains) if self.gains else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
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
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), metavar="ARM", help=f"of {', '.join(ARMS)}; "
                        "default: all that the agent can run")
    parser.add_argument("--agent", default="builtin", metavar="builtin|openai|replay:FILE",
                        help="of the arms that evolve")
    parser.add_argument("--data", default=os.environ.get("DARWIN_DATA", "builtin"), metavar="FILE",
                        help="a text file; default: DARWIN_DATA, or the built-in data")
    parser.add_argument("--trials", type=int, default=24, metavar="N", help="of each arm; default 24")
    parser.add_argument("--tokens", type=int, default=99_840, metavar="N", help="of each training; default 99840")
    parser.add_argument("--repeat", type=int, default=3, metavar="K", help="searches of each arm; default 3")
    parser.add_argument("--confirm", type=int, default=4, metavar="P", help="pairs on fresh seeds; default 4")
    parser.add_argument("--results", type=Path, metavar="DIR", help="default: bench/evolution in var/")
    parser.add_argument("--report", action="store_true", help="run nothing: the table of what is there")
    parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser


def _bench(given: argparse.Namespace) -> int:
    _check(given)
    folder = _folder(given)
    if not given.report:
        migrate()
        driver = readiness.choose(given.sandbox)
        for repetition in range(given.repeat):
            for arm in _chosen(given):
                path = folder / f"{arm}-{repetition}.json"
                if not path.exists():
                    print(f"{arm}, repetition {repetition + 1} of {given.repeat}", file=sys.stderr, flush=True)
                    _keep(path, one(arm, repetition, folder, driver, given))
    results = known(folder)
    if given.json:
        print(json.dumps({"trials": given.trials, "tokens": given.tokens, "results": [asdict(r) for r in results]}))
    else:
        print(table(results))
    return 0


def _check(given: argparse.Namespace) -> None:
    if given.trials < 1 or given.tokens < 768 or given.repeat < 1 or given.confirm < 1:
        raise BadInput("Give --trials, --repeat and --confirm at least 1, and --tokens at least 768: one iteration.")
    if given.trials % GENERATIONS and EVOLVING & set(_chosen(given)):
        raise BadInput(f"Arms that evolve have {GENERATIONS} generations: give --trials a multiple of {GENERATIONS}.")
    needy = [arm for arm in given.arms or () if arm in NEEDS_MODEL]
    if needy and given.agent == "builtin":
        raise BadInput(f"{needy[0]} needs a language model: built-in operators read no memory. Give --agent openai.")


def _chosen(given: argparse.Namespace) -> list[str]:
    return given.arms or [arm for arm in ARMS if arm not in NEEDS_MODEL or given.agent != "builtin"]


def _folder(given: argparse.Namespace) -> Path:
    """Where results of exactly these settings are: others would be no comparison."""
    from django.conf import settings  # noqa: PLC0415 the environment may name another var/

    above = given.results or Path(settings.DARWIN_VAR) / "bench" / "evolution"
    folder = above / f"{given.agent.partition(':')[0]}-{given.trials}x{given.tokens}"
    folder.mkdir(parents=True, exist_ok=True)
    return Path(folder)


def one(arm: str, repetition: int, folder: Path, driver: Driver, given: argparse.Namespace) -> Result:
    """Search by `arm`, then confirm its winner."""
    baseline = dict(read_directory(BUILTIN))
    ledger = held(folder, driver, Budget(given.data, given.tokens), baseline)
    run: Arm = ARMS[arm]
    spent = run(Setting(
        name=f"{given.trials}x{given.tokens}", baseline=baseline, trials=given.trials, tokens=given.tokens,
        data=given.data, seed=repetition, sandbox=given.sandbox, agent=given.agent, ledger=ledger,
    ))
    lay_out(spent.files, folder / f"{arm}-{repetition}")
    fresh = Ledger(folder / "confirmation.jsonl", driver, replace(ledger.budget, split="private"))
    return confirmed(arm, repetition, spent, baseline, fresh, pairs=given.confirm)


def held(folder: Path, driver: Driver, budget: Budget, baseline: Files) -> Ledger:
    """The ledger of screening runs, all held to what the baseline's first one needed."""
    path = folder / "screening.jsonl"
    first = Ledger(path, driver, budget).trial(baseline, seed=0)
    return Ledger(path, driver, replace(budget, limits=first.limits))


def confirmed(
    arm: str, repetition: int, spent: Spent, baseline: Files, ledger: Ledger, *, pairs: int
) -> Result:
    """The winner against the baseline on `pairs` fresh seeds, the same for all arms, next to each other."""
    both = [
        (ledger.trial(baseline, seed=seed), ledger.trial(spent.files, seed=seed))
        for seed in range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + pairs)
    ]
    return Result(
        arm=arm, repetition=repetition, trials=spent.trials, failures=spent.failures, repairs=spent.repairs,
        tokens=spent.tokens, seconds=spent.seconds,
        gains=[old.loss - new.loss for old, new in both if old.loss is not None and new.loss is not None],
        mfu=[new.mfu / old.mfu for old, new in both if old.mfu and new.mfu],
        device=[ratio for old, new in both if (ratio := _device(old, new)) is not None],
        lost=sum(1 for _, new in both if new.loss is None),
    )


def _device(old: Trial, new: Trial) -> float | None:
    return new.device_seconds / old.device_seconds if new.device_seconds and old.device_seconds else None


def _keep(path: Path, result: Result) -> None:
    """Written whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(result), allow_nan=False))
    part.rename(path)


def known(folder: Path) -> list[Result]:
    return [Result(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def table(results: Sequence[Result]) -> str:
    """Markdown, one line for each arm, the largest gain first.

    With two repetitions or more an interval is over searches; with one it is over the seeds of its winner alone and
    marked so: it says nothing of another search.
    """
    arms = sorted({one.arm for one in results}, key=lambda arm: -(_gain(results, arm)[0] or -math.inf))
    heads = ["arm", "searches", "perplexity", "95 % interval", "gain, nats", "MFU", "device time", "trials", "failed",
             "repaired", "tokens", "seconds"]
    lines = [heads, ["---"] * len(heads), *(_cells(results, arm) for arm in arms)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _gain(results: Sequence[Result], arm: str) -> tuple[float | None, Interval | None, str]:
    """(mean gain in nats, its interval, what that is over) of one arm."""
    mine = [one for one in results if one.arm == arm]
    gains = [one.gain for one in mine if one.gain is not None]
    if len(gains) > 1:
        return sum(gains) / len(gains), intervals.mean(gains), "searches"
    values = mine[0].gains if mine else []
    return (gains[0] if gains else None), intervals.mean(values) if values else None, "seeds of one search"


def _cells(results: Sequence[Result], arm: str) -> list[str]:
    mine = [one for one in results if one.arm == arm]
    gain, interval, over = _gain(results, arm)
    limits = "–" if interval is None else (
        f"{math.expm1(-interval.high):+.1%} … {math.expm1(-interval.low):+.1%} ({over})"
    )
    counts = [sum(getattr(one, name) for one in mine) / len(mine) for name in ("trials", "failures", "repairs")]
    return [
        arm, str(len(mine)), _number(None if gain is None else math.expm1(-gain), "+.1%"), limits,
        _number(gain, "+.4f"), _ratio([r for one in mine for r in one.mfu]),
        _ratio([r for one in mine for r in one.device]), *(f"{count:.3g}" for count in counts),
        f"{sum(one.tokens for one in mine) / len(mine):,.0f}", f"{sum(one.seconds for one in mine) / len(mine):,.0f}",
    ]


def _ratio(values: Sequence[float]) -> str:
    """The mean, with its 95 % interval where there is one."""
    if not values:
        return "–"
    known = intervals.mean(values)
    limits = f" ({known.low:.2f} … {known.high:.2f})" if known else ""
    return f"{sum(values) / len(values):.2f} ×{limits}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
