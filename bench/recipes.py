"""What is compared: every recipe is a genome in a directory of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evolution.genomes import read_directory
from trainer.adapters.registry import adapter
from trainer.contract import MANIFEST

BUILTIN = Path(__file__).resolve().parents[1] / "trainer" / "genome"
ITERATION_TOKENS = 12 * 64  # of both recipes for a CPU
GPT2_VOCABULARY = 50_304  # columns of logits, as nanoGPT pads them; the text uses the first few

# python train.py config/train_shakespeare_char.py with what nanoGPT's README gives for a CPU.
NANOGPT_CONFIG = "config/train_shakespeare_char.py"
NANOGPT_SETTINGS = {
    "log_interval": "1", "block_size": "64", "batch_size": "12", "n_layer": "4", "n_head": "4", "n_embd": "128",
    "dropout": "0.0",
}
CHECKOUT_FILES = "*.py", "config/*.py"


@dataclass(frozen=True)
class Recipe:
    """`tokens` is what it trains on where nobody says how many."""

    name: str
    files: Mapping[str, bytes]
    tokens: int

    def lay_out(self, folder: Path) -> Path:
        """Write it below `folder`; the genome's directory."""
        directory = folder / self.name.replace(" ", "-").replace(",", "")
        for path, content in self.files.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return directory


@dataclass(frozen=True)
class Shape:
    """A GPT for a GPU. `rows` of `context` tokens are one step."""

    name: str
    layers: int
    heads: int
    width: int
    context: int
    rows: int
    tokens: int
    vocabulary: int | None = None  # None: that of the text


GPU_SHAPES = (
    Shape("25 M", layers=8, heads=8, width=512, context=256, rows=256, tokens=20_000_000),
    Shape("124 M", layers=12, heads=12, width=768, context=1024, rows=16, tokens=5_000_000, vocabulary=GPT2_VOCABULARY),
)


def on_cpu(nanogpt: Path | None) -> list[Recipe]:
    """The built-in recipe, and nanoGPT's own at the same configuration when there is a checkout of it."""
    recipes = [Recipe("built-in", edited({MANIFEST: _characters}), 200 * ITERATION_TOKENS)]
    if nanogpt is not None:
        recipes.append(Recipe("nanoGPT", _adopted(nanogpt), 200 * ITERATION_TOKENS))
    return recipes


def on_gpu() -> list[Recipe]:
    """The built-in code at larger shapes in bfloat16, with torch.compile and without."""
    return [gpt(shape, compiled=compiled) for shape in GPU_SHAPES for compiled in (False, True)]


def gpt(shape: Shape, *, compiled: bool) -> Recipe:
    """The built-in genome with other numbers."""
    edits = {
        MANIFEST: lambda text: exchanged(text, "context = 64", f"context = {shape.context}"),
        "config.py": lambda text: text + _numbers(shape),
        "train.py": lambda text: _training(text, shape, compiled=compiled),
        "model.py": lambda text: _model(text, shape),
    }
    return Recipe(f"{shape.name}, bfloat16{', compiled' if compiled else ''}", edited(edits), shape.tokens)


def shortened(recipe: Recipe, tokens: int) -> Recipe:
    return replace(recipe, tokens=tokens)


def _numbers(shape: Shape) -> str:
    return (
        f"\n# This shape: {shape.name}.\nfrom dataclasses import replace\n\nCONTEXT = {shape.context}\nGPU = replace(\n"
        f"    GPU, layers={shape.layers}, heads={shape.heads}, width={shape.width}, batch_size={shape.rows}\n)\n"
    )


def _training(text: str, shape: Shape, *, compiled: bool) -> str:
    if shape.vocabulary is not None:
        text = exchanged(text, "vocab_size=run.vocab_size", f"vocab_size={shape.vocabulary}")
    if not compiled:
        return text
    text = exchanged(text, "logits = model(x)", "logits = compiled(x)")
    return exchanged(text, "    model.train()\n", """    model.train()
    compiled = torch.compile(model)
    for x, y in run.warmup(preset.batch_size, CONTEXT):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=on_gpu):
            logits = compiled(x)
        F.cross_entropy(logits.float().flatten(0, 1), y.flatten()).backward()
""")


def _model(text: str, shape: Shape) -> str:
    """A checkpoint's config.json holds the vocabulary of the text, which is smaller than a padded one."""
    if shape.vocabulary is None:
        return text
    old = 'GPT(**json.loads((directory / "config.json").read_text()))'
    new = f'GPT(**{{**json.loads((directory / "config.json").read_text()), "vocab_size": {shape.vocabulary}}})'
    return exchanged(text, old, new)


def _characters(text: str) -> str:
    """nanoGPT's vocabulary for this recipe."""
    return exchanged(text, 'vocabulary = "bytes"', 'vocabulary = "chars"')


def edited(edits: Mapping[str, Callable[[str], str]]) -> dict[str, bytes]:
    """The built-in genome's files, those in `edits` changed."""
    files = dict(read_directory(BUILTIN))
    return files | {path: edit(files[path].decode()).encode() for path, edit in edits.items()}


def exchanged(text: str, old: str, new: str) -> str:
    """`text` with its one `old` replaced: a benchmark of something else would be worse than none."""
    if text.count(old) != 1:
        raise ValueError(f"the built-in genome does not say {old!r} once: bring bench/recipes.py up to date")
    return text.replace(old, new)


def _adopted(checkout: Path) -> dict[str, bytes]:
    files = {
        path.relative_to(checkout).as_posix(): path.read_bytes()
        for pattern in CHECKOUT_FILES for path in sorted(checkout.glob(pattern))
    }
    return adapter("nanogpt").adopt(files, name="nanogpt", config=NANOGPT_CONFIG, settings=NANOGPT_SETTINGS)
