"""Receiving a checkpoint that is a pickle in a zip archive, as torch.save writes it: bounded, and never opened here."""

import zipfile
from pathlib import Path

from trainer.harness.outside.checkpoint import BadCheckpoint

MAGIC = b"PK\x03\x04"


class Archive:
    """The file `name` as it arrives in `folder`/incoming; the last complete one lies in `folder`. Not thread-safe.

    All of it is on disk, so that a server started later on the same folder continues an upload.
    """

    def __init__(self, folder: Path, name: str, *, max_bytes: int) -> None:
        self.path = folder / name
        self._incoming = folder / "incoming" / name
        self._max_bytes = max_bytes

    def write(self, chunk: bytes | bytearray, *, offset: int, size: int) -> bool:
        """Write `chunk` at `offset` of `size` bytes; True when that completed the file. A repeated chunk changes
        nothing, the first one begins anew. BadCheckpoint when it is too large, has gaps, or is no archive."""
        name = self.path.name
        if size > self._max_bytes:
            raise BadCheckpoint(f"{name} has {size:,} bytes where {self._max_bytes:,} are allowed")
        if offset < 0 or not chunk or offset + len(chunk) > size:
            raise BadCheckpoint(f"{name} is not {size:,} bytes long")
        self._incoming.parent.mkdir(exist_ok=True)
        written = self._incoming.stat().st_size if self._incoming.exists() else 0
        if offset > written:
            raise BadCheckpoint(f"{name} has a gap at byte {written}")
        with self._incoming.open("r+b" if offset else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            file.write(chunk)
        if offset + len(chunk) < size:
            return False
        self._check()
        self._incoming.replace(self.path)
        return True

    def _check(self) -> None:
        """By its first bytes and the record at its end alone."""
        with self._incoming.open("rb") as file:
            begins = file.read(len(MAGIC)) == MAGIC
        if not begins or not zipfile.is_zipfile(self._incoming):
            self._incoming.unlink()
            raise BadCheckpoint(f"{self.path.name} is not what torch.save writes: an archive that is complete")
