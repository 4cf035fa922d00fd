"""How fast the trainer is, and what a trial costs beside the training: `python bench/trainer.py --help`.

Every run is a whole trial in the sandbox, judged like any other. Recipes take turns, so that a busy machine is busy
for all of them; what is printed are medians.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
django.setup()

from bench import measure, recipes  # noqa: E402 Django comes first
from bench.measure import MAX_DRIFT, PHASES, Row  # noqa: E402
from evolution.errors import BadInput, DarwinError  # noqa: E402
from sandbox import readiness  # noqa: E402
from sandbox.devices import devices, threads  # noqa: E402
from trainer.contract import GenomeError  # noqa: E402

NO_GPU = "No GPU was found: the 25 M and 124 M parameter rows were not run."
EXAMPLES = """examples:
  python bench/trainer.py
  python bench/trainer.py --nanogpt ~/nanoGPT --data tinyshakespeare.txt --repeat 5
  python bench/trainer.py --nanogpt ~/nanoGPT --data tinyshakespeare.txt --tokens 1536000 --repeat 1
  python bench/trainer.py --gpu

exit codes: 0 all rows were measured and repeat within 0.001 nats, 1 not, 2 bad input, 4 no sandbox"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or with --json one object; the exit code."""
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
    parser.add_argument("--nanogpt", type=Path, metavar="DIR", help="a checkout of karpathy/nanoGPT to compare with")
    parser.add_argument("--data", default="builtin", metavar="FILE", help="a text file; default: the built-in data")
    parser.add_argument("--tokens", type=int, metavar="N", help="of each training; default: 200 iterations on a CPU")
    parser.add_argument("--repeat", type=int, default=3, metavar="K", help="runs of each recipe with one seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
    parser.add_argument("--gpu", action="store_true", help="25 M and 124 M parameters, bfloat16, compiled and not")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser


def _bench(given: argparse.Namespace) -> int:
    if given.repeat < 1 or (given.tokens is not None and given.tokens < recipes.ITERATION_TOKENS):
        raise BadInput(f"Give --repeat at least 1 and --tokens at least {recipes.ITERATION_TOKENS}: one iteration.")
    gpu = devices()[0].gpu is not None
    if gpu and not given.gpu:
        raise BadInput("Trials of this machine run on its GPU: add --gpu.")
    if given.gpu and not gpu:
        print(NO_GPU, file=sys.stderr)
    driver = readiness.choose(given.sandbox)
    chosen = recipes.on_gpu() if gpu else recipes.on_cpu(given.nanogpt)
    if given.tokens is not None:
        chosen = [recipes.shortened(one, given.tokens) for one in chosen]
    before = os.getloadavg()[0]
    rows = measure.in_turns(
        chosen, driver, data=given.data, seed=given.seed, repeat=given.repeat,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    machine = {"device": device(), "sandbox": driver.name, "load_before": before, "load_after": os.getloadavg()[0]}
    if given.json:
        print(json.dumps({
            **machine, "gpu": devices()[0].model if gpu else None, "seed": given.seed,
            "tokens": {one.name: one.tokens for one in chosen},
            "rows": [{**asdict(one), "sound": one.sound} for one in rows],
        }))
    else:
        print(table(rows))
        print(f"\n{machine['device']}; {driver.name}; load {before:.1f} before and {os.getloadavg()[0]:.1f} after")
    return 0 if all(one.sound for one in rows) else 1


def device() -> str:
    """The GPU; or the model of the CPU, its cores and the threads a trial uses."""
    if devices()[0].gpu is not None:
        return devices()[0].model
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{model}, {os.cpu_count()} cores, {threads()} threads"


def table(rows: Sequence[Row]) -> str:
    """One line for each recipe, in Markdown; seconds beside the training by phase."""
    heads = ["recipe", "runs", "tokens/s", "ratio", "MFU", "loss", "|Δ loss|", "train s", "beside s", *PHASES]
    lines = [heads, ["---"] * len(heads), *(_cells(one, rows[0]) for one in rows)]
    notes = [f"{one.recipe}: {one.reason}" for one in rows if one.reason]
    notes += [
        f"{one.recipe}: two runs of one seed differ by more than {MAX_DRIFT} nats"
        for one in rows if not one.reason and not one.sound
    ]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), *notes])


def _cells(one: Row, first: Row) -> list[str]:
    ratio = (
        one.tokens_per_second / first.tokens_per_second if one.tokens_per_second and first.tokens_per_second else None
    )
    return [
        one.recipe, str(one.runs), _number(one.tokens_per_second, ".0f"), _number(ratio, ".2f"),
        _number(one.mfu, ".1%"), _number(one.loss, ".4f"), _number(one.drift, ".1e"), _number(one.train_seconds, ".1f"),
        _number(one.overhead_seconds, ".1f"), *(_number(one.overhead[phase], ".1f") for phase in PHASES),
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
