"""The cast, the text, and what a test may need of the machine.

A test marked docker, bubblewrap, browser or postgres is skipped with the reason where the machine lacks it; with
CI=true it fails instead, because there everything must be there.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import docker
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI") == "true"
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


# What the machine has. Each says what is missing, or nothing.


def _no_docker() -> str:
    try:
        client = docker.from_env(timeout=20)
    except docker.errors.DockerException as error:
        return f"no Docker engine answers ({error})"
    try:
        client.ping()
    except docker.errors.DockerException as error:
        return f"no Docker engine answers ({error})"
    finally:
        client.close()
    return ""


def _no_bubblewrap() -> str:
    if not shutil.which("bwrap"):
        return "bwrap is not installed"
    tried = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"bwrap cannot make namespaces here ({tried.stderr.strip()})"


def _no_browser() -> str:
    return "" if chromium() else "chromium is not installed"


def _no_postgres() -> str:
    return "" if os.environ.get("DARWIN_TEST_POSTGRES") else "DARWIN_TEST_POSTGRES names no PostgreSQL server"


MISSING: dict[str, Callable[[], str]] = {
    "docker": cache(_no_docker),
    "bubblewrap": cache(_no_bubblewrap),
    "browser": cache(_no_browser),
    "postgres": cache(_no_postgres),
}


def chromium() -> str | None:
    """Debian's name for it, and the name elsewhere."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for need, missing in MISSING.items():
        if item.get_closest_marker(need) and (reason := missing()):
            _lacking(reason)
    if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("the second call of `make test` runs it on PostgreSQL")


def pytest_unconfigure() -> None:
    if not os.environ.get("DARWIN_TEST_VAR") and "darwin-test-" in str(settings.DARWIN_VAR):
        shutil.rmtree(settings.DARWIN_VAR, ignore_errors=True)


def _lacking(reason: str) -> None:
    if IN_CI:
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


# The cast.


@pytest.fixture
def owner(db: None) -> User:
    """May do everything everywhere."""
    return User.objects.create_superuser("olga", password="olga's password")


@pytest.fixture
def reviewer(db: None) -> User:
    """An account without any rights of its own: a test makes her a member of an experiment."""
    return User.objects.create_user("rita", password="rita's password")


@pytest.fixture
def viewer(db: None) -> User:
    """An account without any rights of its own."""
    return User.objects.create_user("victor", password="victor's password")


@pytest.fixture(scope="session")
def shakespeare() -> Path:
    """Real text, 1.1 MB: DARWIN_DATA, or the file beside the checkout."""
    path = Path(os.environ.get("DARWIN_DATA") or ROOT.parent / "shared" / "data" / "tinyshakespeare.txt")
    if not path.is_file():
        _lacking(f"{path} is missing: set DARWIN_DATA to a copy of tinyshakespeare.txt")
    return path


# The browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. For one module only: Playwright's event loop must be gone before an async test begins."""
    path = chromium()
    if path is None:
        _lacking(_no_browser())
    # Playwright's loop runs in this thread, and Django would refuse every query of the test.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield one
        one.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test on a script error, a violation of the CSP, or a request to another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    one = context.new_page()
    trouble: list[str] = []
    one.on("console", lambda message: trouble.extend(_complaint(message)))
    one.on("pageerror", lambda error: trouble.append(f"script error: {error}"))
    one.on("request", lambda request: trouble.extend(_foreign(request)))
    yield one
    context.close()
    assert not trouble, "\n".join(trouble)


def _complaint(message: ConsoleMessage) -> list[str]:
    return [f"console: {message.text} ({message.location})"] if message.type == "error" else []


def _foreign(request: Request) -> list[str]:
    address = urlsplit(request.url)
    is_ours = address.scheme in ("data", "blob", "about") or address.hostname in ("127.0.0.1", "localhost")
    return [] if is_ours else [f"a request to another host: {request.url}"]
