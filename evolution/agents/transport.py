"""The HTTP client that models are asked with: no body is read beyond its bounds, be it an answer's or an error's."""

import time
from collections.abc import Iterator

import httpx2
from openai import DefaultHttpx2Client

from evolution.agents.wire import MAX_ANSWER, TooLarge, TooLate


class Capped(httpx2.SyncByteStream):
    """A body up to MAX_ANSWER bytes and until `deadline` (time.monotonic); TooLarge or TooLate beyond."""

    def __init__(self, stream: httpx2.SyncByteStream, deadline: float) -> None:
        self.stream, self.deadline = stream, deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self.stream:
            size += len(part)
            if size > MAX_ANSWER:
                raise TooLarge
            if time.monotonic() > self.deadline:
                raise TooLate
            yield part

    def close(self) -> None:
        self.stream.close()


def client(deadline: float) -> httpx2.Client:
    """A client of the SDK's kind (its redirects, the environment's proxies) whose bodies are capped."""

    def cap(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = Capped(response.stream, deadline)

    return DefaultHttpx2Client(event_hooks={"response": [cap]}, headers={"Accept-Encoding": "identity"})
