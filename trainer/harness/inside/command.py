"""Runs a trainer that owns its loop: `python -P -m trainer.harness.inside.command`. Imports no torch.

The command is a child in the genome's directory. Its lines go to the server outside, which says when to stop; its
checkpoint is sent when it ended, or when it was stopped with one that is complete. Nothing here is worth patching:
what it says is claimed, and the clock that counts is outside.
"""

import os
import selectors
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections import deque
from pathlib import Path

from trainer import contract
from trainer.harness.inside.line import Line

LOOK_SECONDS = 0.25
LAST_LOOKS = 8  # at the output of a command that is over: its children may print for ever
READ_BYTES = 1 << 16
MAX_LINE, KEPT_LINES, TAIL_LINES = 400, 200, 40
CHUNK_BYTES = 4 << 20
PYTHONS = "python", "python3"


class Output:
    """Lines of the child's output: cut when they are long, dropped when they are many."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)

    def read(self, seconds: float) -> list[str]:
        """The last lines that came within `seconds`, and print them for the log."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._selector.select(left):
            content = os.read(self._pipe, READ_BYTES)
            if not content:  # every writer is gone
                self._split(b"\n" if self._rest else b"")
                time.sleep(min(left, LOOK_SECONDS / 5))
                break
            self._split(content)
        lines = list(self._lines)
        self._lines.clear()
        self.tail.extend(lines)
        if lines:
            print("\n".join(lines), flush=True)  # noqa: T201
        return lines

    def _split(self, content: bytes) -> None:
        *whole, rest = (self._rest + content).split(b"\n")
        self._lines.extend(line[:MAX_LINE].decode(errors="replace") for line in whole[-KEPT_LINES:])
        self._rest = rest[: MAX_LINE + 1]


def main() -> int:
    """Exit code 0 when the command ended well, or was stopped, and what it saved was sent; otherwise 1."""
    line = Line(_place("DARWIN_SOCKET", contract.SOCKET_PATH))
    told, _ = line.ask({"op": "hello"})
    checkpoint = _place("DARWIN_OUT", contract.OUT_DIR) / told["checkpoint"]
    line.ask({"op": "started"})
    reader, writer = os.pipe()
    try:
        child = subprocess.Popen(
            _words(told["command"]), cwd=_place("DARWIN_GENOME", contract.GENOME_DIR), stdin=subprocess.DEVNULL,
            stdout=writer, stderr=subprocess.STDOUT, start_new_session=True,
        )
    except OSError as error:
        line.ask({"op": "failed", "error": f"the command cannot be started: {error.strerror}", "traceback": ""})
        return 1
    os.close(writer)
    output = Output(reader)
    stopped = _follow(child, output, line)
    if stopped:
        _end(child, checkpoint, output)
    elif child.returncode != 0:
        line.ask({"op": "failed", "error": _why(child.returncode, output), "traceback": "\n".join(output.tail)})
        return 1
    if checkpoint.exists():
        _send(checkpoint, line)
    line.ask({"op": "done"})
    return 0


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable, default))


def _words(command: list[str]) -> list[str]:
    """The container's interpreter goes by names that differ."""
    return [sys.executable if command[0] in PYTHONS else command[0], *command[1:]]


def _follow(child: "subprocess.Popen[bytes]", output: Output, line: Line) -> bool:
    """Pass lines on until the child ended or has to be ended; whether it has to be."""
    looks = LAST_LOOKS
    while looks:
        over = child.poll() is not None
        lines = output.read(LOOK_SECONDS)
        reply, _ = line.ask({"op": "lines", "lines": lines})
        if reply.get("stop"):
            return True
        looks = looks - 1 if over and lines else 0 if over else looks
    return False


def _end(child: "subprocess.Popen[bytes]", checkpoint: Path, output: Output) -> None:
    """Kill the child at a moment at which its checkpoint is complete, or when the time for saving is over."""
    deadline = time.monotonic() + contract.SAVE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        os.killpg(child.pid, signal.SIGSTOP)  # it must not begin to write between our look and its end
        if _is_complete(checkpoint):
            break
        os.killpg(child.pid, signal.SIGCONT)
        output.read(LOOK_SECONDS)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _is_complete(path: Path) -> bool:
    """torch.save writes an archive whose directory comes last."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and zipfile.is_zipfile(path)
    except OSError:
        return False


def _why(code: int, output: Output) -> str:
    """The line of its output that says what happened."""
    if code < 0:
        return f"the command was ended by {signal.Signals(-code).name}"
    last = next((line.strip() for line in reversed(output.tail) if line.strip()), "")
    return last or f"the command exited with code {code}"


def _send(path: Path, line: Line) -> None:
    """Upload `path`, which nobody writes to any more. A refusal is what the trial ends with."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            reply, _ = line.ask({"op": "save", "size": size, "offset": offset}, chunk)
            if "error" in reply:
                print(f"the checkpoint was refused: {reply['error']}", file=sys.stderr, flush=True)  # noqa: T201
                return
            offset += len(chunk)


if __name__ == "__main__":
    sys.exit(main())
