"""How far apart the answers of honest models are: `python bench/tolerances.py --help`.

The judge's tolerances (trainer/harness/outside/scorer.py) rest on this table: whole trials of the built-in genome in
float32, with weights in bfloat16 and under autocast, each judged with cuts of its own, in real sandboxes.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
django.setup()

from bench.recipes import Recipe, edited, exchanged  # noqa: E402 Django comes first
from evolution.errors import BadInput, DarwinError  # noqa: E402
from sandbox import readiness, scoring  # noqa: E402
from trainer.harness.outside import scorer  # noqa: E402

TOKENS = 76_800
HEADS = ("precision", "seed", "cuts", "gain", "apart", "drift", "tolerances")
LOADED = "return model.to(device)"
LOGITS = "return self.head(self.norm(x))  # (B, T, V)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table in Markdown; 1 when an honest model is beyond a tolerance."""
    given = _parser().parse_args(arguments)
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    try:
        driver = readiness.choose(given.sandbox)
        rows = [
            _row(recipe, seed, scoring.score(
                recipe.lay_out(Path(folder)), given.data, driver, budget_tokens=given.tokens, budget_seconds=None,
                seed=seed, show=lambda *_: None,
            ).numbers)
            for recipe in recipes(given.tokens) for seed in range(given.seeds)
            for folder in [tempfile.mkdtemp(prefix="darwin-tolerances-")]
        ]
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except DarwinError as error:
        print(error, file=sys.stderr)
        return 4
    return 0 if all(rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="exit codes: 0 all within the tolerances, 1 not, 2 bad input, 4 no sandbox",
    )
    parser.add_argument("--data", default="builtin", metavar="FILE")
    parser.add_argument("--tokens", type=int, default=TOKENS, metavar="N", help="of each training")
    parser.add_argument("--seeds", type=int, default=2, metavar="K", help="trainings in each precision")
    parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
    return parser


def recipes(tokens: int) -> list[Recipe]:
    """The built-in genome as it is, and as it is loaded and asked in less than float32."""
    lower: dict[str, dict[str, str]] = {
        "float32": {},
        "bfloat16 weights": {LOADED: "return model.to(device, torch.bfloat16)"},
        "bfloat16 autocast": {LOGITS: (
            'with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=not self.training):\n'
            "            return self.head(self.norm(x)).float()  # (B, T, V)"
        )},
    }
    return [
        Recipe(name, edited({"model.py": partial(_exchanged, edits=edits)}), tokens) for name, edits in lower.items()
    ]


def _exchanged(text: str, *, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        text = exchanged(text, old, new)
    return text


def _row(recipe: Recipe, seed: int, numbers: Mapping[str, float]) -> bool:
    """Print one line; whether it is within the tolerances of its precision."""
    if "apart" not in numbers:
        print(f"| {recipe.name} | {seed} | refused |", flush=True)
        return False
    allowed = scorer.LOW if numbers["low_precision"] else scorer.FULL
    said = (f"{numbers[name]:.1e}" for name in ("gain", "apart", "drift"))
    print(f"| {recipe.name} | {seed} | {numbers['cuts']} | {' | '.join(said)} | {allowed} |", flush=True)
    apart, drift, gain = numbers["apart"], numbers["drift"], numbers["gain"]
    return apart <= allowed.apart and drift <= allowed.drift and gain <= scorer.MAX_GAIN


if __name__ == "__main__":
    sys.exit(main())
