"""Receiving a checkpoint from a variant: bounded, checked without believing it, and kept as a complete pair."""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

from trainer.contract import CONFIG_FILE, MODEL_FILE

MAX_CONFIG_BYTES = 64 << 10
MAX_TENSORS_HEADER = 10 << 20
MAX_TENSORS = 100_000
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}


class BadCheckpoint(ValueError):
    """What was saved is too large or cannot be read; the message says which."""


class Uploads:
    """The files of one save as they arrive, in `folder`/incoming; the last complete pair lies in `folder`.

    Everything is on disk, so that a server started later on the same folder continues an upload. Not thread-safe.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._complete = folder / "complete"
        self._max_bytes = max_bytes
        self._settle()

    def write(self, name: str, chunk: bytes | bytearray, *, offset: int, size: int) -> bool:
        """Write `chunk` at `offset` of the `size` bytes of `name`; True when that completed the pair.

        A repeated chunk changes nothing. The model comes first; its first chunk begins a new pair. BadCheckpoint when
        the file is too large, comes out of order, or is not what it should be.
        """
        self._check_bounds(name, len(chunk), offset=offset, size=size)
        path = self._incoming / name
        if name == MODEL_FILE and offset == 0:
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir()
        elif name == CONFIG_FILE and not (self._incoming / MODEL_FILE).exists():
            raise BadCheckpoint(f"{CONFIG_FILE} came before {MODEL_FILE}")
        written = path.stat().st_size if path.exists() else 0
        if offset > written:
            raise BadCheckpoint(f"{name} has a gap at byte {written}")
        with path.open("r+b" if written else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            file.write(chunk)
        if name == CONFIG_FILE and offset + len(chunk) == size:
            self._finish()
            return True
        return False

    def _check_bounds(self, name: str, length: int, *, offset: int, size: int) -> None:
        most = {MODEL_FILE: self._max_bytes, CONFIG_FILE: MAX_CONFIG_BYTES}.get(name)
        if most is None:
            raise BadCheckpoint("only model.safetensors and config.json can be saved")
        if size > most:
            raise BadCheckpoint(f"{name} has {size:,} bytes where {most:,} are allowed")
        if offset < 0 or length == 0 or offset + length > size:
            raise BadCheckpoint(f"{name} is not {size:,} bytes long")

    def _finish(self) -> None:
        try:
            parameters(self._incoming / MODEL_FILE)
            config(self._incoming / CONFIG_FILE)
        except BadCheckpoint:
            shutil.rmtree(self._incoming)
            raise
        # Renaming the folder is the moment the pair is ours; a server killed after it finishes the rest at its start.
        self._incoming.rename(self._complete)
        self._settle()

    def _settle(self) -> None:
        if self._complete.exists():
            for name in (MODEL_FILE, CONFIG_FILE):
                if (self._complete / name).exists():
                    (self._complete / name).replace(self._folder / name)
            self._complete.rmdir()


def config(path: Path) -> dict[str, Any]:
    """The object in a config.json; BadCheckpoint when it is none."""
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise BadCheckpoint(f"{CONFIG_FILE} has more than {MAX_CONFIG_BYTES:,} bytes")
    return _object(path.read_bytes(), CONFIG_FILE)


def parameters(path: Path) -> int:
    """How many parameters a safetensors file holds, by the shapes in its header; BadCheckpoint when it is not one.

    The layout is that of https://huggingface.co/docs/safetensors: 8 bytes of length, a JSON header, the tensors without
    gap or overlap.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_TENSORS_HEADER):
            raise BadCheckpoint(f"the header of {MODEL_FILE} is longer than the file, or than allowed")
        header = _object(file.read(length), f"the header of {MODEL_FILE}")
    header.pop("__metadata__", None)
    if not header or len(header) > MAX_TENSORS:
        raise BadCheckpoint(f"{MODEL_FILE} holds {len(header):,} tensors")
    spans = [_tensor(entry) for entry in header.values()]
    end = 0
    for begin, stop, _ in sorted(spans):
        if begin != end:
            raise BadCheckpoint(f"the tensors of {MODEL_FILE} overlap or leave gaps")
        end = stop
    if end != size - 8 - length:
        raise BadCheckpoint(f"the tensors of {MODEL_FILE} do not fill the file")
    return sum(count for _, _, count in spans)


def same_tensors(one: Path, other: Path) -> bool:
    """Whether two safetensors files hold the same tensors, bit for bit, whatever else their headers say."""
    return _tensors(one) == _tensors(other)


def _tensors(path: Path) -> dict[str, bytes]:
    """sha256 of each tensor with its type and shape, by name. `parameters` has checked the file."""
    content = memoryview(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    header = _object(bytes(content[8 : 8 + length]), f"the header of {MODEL_FILE}")
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, stop, _ = _tensor(entry)
        told = hashlib.sha256(f"{entry['dtype']} {entry['shape']} ".encode())
        told.update(content[8 + length + begin : 8 + length + stop])
        found[name] = told.digest()
    return found


def _tensor(entry: Any) -> tuple[int, int, int]:
    """Begin, end and number of elements of one entry of the header."""
    wrong = BadCheckpoint(f"the header of {MODEL_FILE} describes a tensor wrongly")
    if not isinstance(entry, dict):
        raise wrong
    shape, offsets, item = _naturals(entry.get("shape")), _naturals(entry.get("data_offsets")), entry.get("dtype")
    if shape is None or offsets is None or len(offsets) != 2 or not isinstance(item, str):
        raise wrong
    count = math.prod(shape)
    if item not in _ITEM_BYTES or offsets[1] - offsets[0] != count * _ITEM_BYTES[item]:
        raise wrong
    return offsets[0], offsets[1], count


def _naturals(value: Any) -> list[int] | None:
    """`value` if it is a short list of whole numbers."""
    if not isinstance(value, list) or len(value) > 16:
        return None
    return value if all(type(one) is int and 0 <= one < 1 << 48 for one in value) else None


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise BadCheckpoint(f"{what} is not an object")
    return value
