"""Which shared libraries a binary asks for: the few fields of an ELF file that say so (System V gABI, chapter 5)."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _STRSZ, _RPATH, _RUNPATH = 1, 5, 10, 15, 29


@dataclass(frozen=True)
class Elf:
    """`needed`: library names; `search`: RPATH and RUNPATH with $ORIGIN filled in; `loader`: a program's only."""

    needed: tuple[str, ...] = ()
    search: tuple[Path, ...] = ()
    loader: str | None = None


def read_elf(path: Path) -> Elf:
    """The dynamic section of `path`; an empty answer for what is no 64-bit little-endian ELF file."""
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return Elf()
        offset, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
        headers = [struct.unpack("<IIQQQQQQ", _at(file, offset + i * size, 56)) for i in range(count)]
        return _read(file, path, headers)


def _read(file: BinaryIO, path: Path, headers: list[tuple[int, ...]]) -> Elf:
    def text(kind: int) -> bytes:
        return next((_at(file, h[2], h[5]) for h in headers if h[0] == kind), b"")

    entries = list(struct.iter_unpack("<QQ", text(_DYNAMIC)))
    values = dict(entries)
    names = b""
    for kind, _, start, address, _, length, *_ in headers:
        if kind == _LOAD and _STRTAB in values and address <= values[_STRTAB] < address + length:
            names = _at(file, start + values[_STRTAB] - address, values.get(_STRSZ, 0))

    def name(at: int) -> str:
        return names[at : names.index(b"\0", at)].decode()

    folders = ":".join(name(value) for tag, value in entries if tag in (_RPATH, _RUNPATH))
    origin = str(path.resolve().parent)
    return Elf(
        needed=tuple(name(value) for tag, value in entries if tag == _NEEDED),
        search=tuple(
            Path(one.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)) for one in folders.split(":") if one
        ),
        loader=text(_INTERP).rstrip(b"\0").decode() or None,
    )


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
