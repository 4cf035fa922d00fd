"""Text from outside as every database keeps it: PostgreSQL refuses zero bytes, and nothing encodes half a character."""

from typing import Any


def storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def storable_data(value: Any) -> Any:
    """JSON data with every text in it storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(name)): storable_data(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable_data(one) for one in value]
    return value
