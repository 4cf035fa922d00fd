"""A chat completions server over real HTTP, which streams as a real one does and misbehaves as it is told."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
PIECE = 40  # characters of one streamed chunk


@dataclass
class Reply:
    """What the server answers. `raw` takes the place of a proper body, `drip` puts seconds between its bytes."""

    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    raw_type: str = "application/json"
    drip: float = 0.0
    hang: float = 0.0  # seconds before anything comes
    cut: int | None = None  # the connection ends after so many bytes of a stream


Answer = Callable[[Body], Reply]


def completion(text: str | None, finish: str = "stop", **message: Any) -> Body:
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "tiny",
        "choices": [{
            "index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message},
        }],
        "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
    }


def says(text: str | None, finish: str = "stop", **message: Any) -> Reply:
    return Reply(completion(text, finish, **message))


def refuses(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "code": code}}, status, named)


def calls_a_tool(name: str) -> Reply:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return says(None, "tool_calls", tool_calls=[call])


def chunks(answer: Mapping[str, Any], *, usage: bool) -> Iterator[bytes]:
    """`answer` as the events of a stream: its message in pieces, then how it ended, then the usage."""
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": answer["model"]}
    for choice in answer["choices"]:
        message = dict(choice["message"])
        text = message.pop("content") or ""
        for at in range(0, len(text), PIECE):
            yield _event({**head, "choices": [{"index": 0, "delta": {"content": text[at : at + PIECE]}}]})
        end = {"index": 0, "delta": message, "finish_reason": choice["finish_reason"]}
        yield _event({**head, "choices": [end]})
    if usage and answer.get("usage"):
        yield _event({**head, "choices": [], "usage": answer["usage"]})
    yield b"data: [DONE]\n\n"


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


class Stub:
    """The server: `answer` says what comes back, `asked` holds what was asked, `keys` who said they asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: says("")
        self.asked: list[Body] = []
        self.keys: list[str] = []
        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.asked.append(body)
                stub.keys.append(self.headers["Authorization"])
                with contextlib.suppress(OSError):  # the client went away
                    stub._reply(self, body, stub.answer(body))

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _reply(self, handler: BaseHTTPRequestHandler, body: Body, reply: Reply) -> None:
        if reply.hang and self.over.wait(reply.hang):
            return
        streamed = reply.raw is None and reply.status == 200 and bool(body.get("stream"))
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        content = reply.raw if reply.raw is not None else (
            b"".join(chunks(reply.body, usage=usage)) if streamed else json.dumps(reply.body).encode()
        )
        handler.send_response(reply.status)
        handler.send_header("Content-Type", "text/event-stream" if streamed else reply.raw_type)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        self._send(handler, content[: reply.cut], reply.drip)

    def _send(self, handler: BaseHTTPRequestHandler, content: bytes, drip: float) -> None:
        if not drip:
            handler.wfile.write(content)
            return
        for byte in content:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(drip)


@contextlib.contextmanager
def serving() -> Iterator[Stub]:
    one = Stub()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield one
    finally:
        one.over.set()
        one.server.shutdown()
        thread.join()
        one.server.server_close()
