"""The tiny trainer, made a genome as import_genome makes one."""

from pathlib import Path

from trainer.adapters.nanogpt.outside import NanoGPT

TINY = Path(__file__).parent / "tiny_trainer"
CONFIG = "config/train_tiny_char.py"


def genome(directory: Path, *, edits: dict[str, tuple[bytes, bytes]] | None = None, **settings: str) -> Path:
    """Write it to `directory`, readable by everybody; `edits` replace one text in a file by another."""
    checkout = {path.relative_to(TINY).as_posix(): path.read_bytes() for path in TINY.rglob("*.py")}
    files = NanoGPT().adopt(checkout, name="tiny", config=CONFIG, settings=settings)
    for path, (before, after) in (edits or {}).items():
        assert files[path].count(before) == 1
        files[path] = files[path].replace(before, after)
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return directory
