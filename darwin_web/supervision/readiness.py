"""Questions asked before and while things start: is there room, is the port free, does it answer."""

import http.client
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import redis
from django.conf import settings

from evolution.errors import BadInput, Infrastructure

LEAST_FREE_BYTES = 200 << 20


def check_room(var: Path) -> None:
    """Infrastructure unless `var` can be written to and its disk has room for logs, weights and the database."""
    probe = var / ".room"
    try:
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise Infrastructure(
            f"{var} cannot be written to ({error.strerror}): correct that, or set DARWIN_VAR to another directory"
        ) from error
    if (free := shutil.disk_usage(var).free) < LEAST_FREE_BYTES:
        raise Infrastructure(
            f"the disk of {var} has {free >> 20} MB left and DARWIN needs at least {LEAST_FREE_BYTES >> 20} MB: make "
            f"room, or set DARWIN_VAR to a directory on another disk"
        )


def check_port(host: str, port: int) -> None:
    """BadInput unless a server can listen there."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise BadInput(f"HOST={host} is no address of this machine: set it to 127.0.0.1 or one of its own") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            raise BadInput(
                f"{host}:{port} cannot be listened on ({error.strerror}): stop what uses it, or choose another port, "
                f"such as PORT={port + 1 if port < 65535 else 8000} make run"
            ) from error


def address() -> str:
    """Where a person's browser finds us: the first of DARWIN_ORIGINS, else host and port."""
    if settings.CSRF_TRUSTED_ORIGINS:
        return str(settings.CSRF_TRUSTED_ORIGINS[0]).rstrip("/")
    return f"http://{_bracketed(local(settings.HOST))}:{settings.PORT}"


def local(host: str) -> str:
    """The name by which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 read, not bound


def web_answers() -> bool:
    """Whether the web process answers a request."""
    connection = http.client.HTTPConnection(local(settings.HOST), settings.PORT, timeout=10)
    try:
        connection.request("GET", "/login/")
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def redis_answers() -> bool:
    """Whether the broker, ours or the one of REDIS_URL, answers."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2)
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def shut_down_stray_redis() -> None:
    """End a Redis that a killed supervisor left on our socket; we hold the lock, so it is nobody else's."""
    if settings.REDIS_SOCKET.exists() and redis_answers():
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5)
        client.shutdown(nosave=True)
        client.close()


def until(condition: Callable[[], bool], *, seconds: float, every: float = 0.1) -> bool:
    """Wait for `condition`; whether it came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
