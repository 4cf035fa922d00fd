"""All adapters, by name."""

from trainer.adapters.base import Adapter
from trainer.adapters.nanogpt.outside import NanoGPT
from trainer.contract import GenomeError

ADAPTERS: dict[str, Adapter] = {"nanogpt": NanoGPT()}


def adapter(name: str | None) -> Adapter:
    """The adapter called `name`, or GenomeError."""
    found = ADAPTERS.get(name or "")
    if found is None:
        raise GenomeError(f"there is no adapter “{name}”: choose one of {', '.join(sorted(ADAPTERS))}")
    return found
