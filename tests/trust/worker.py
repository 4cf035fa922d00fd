"""A process that runs trials, so that what one of them patches is patched nowhere else. Imports nothing of ours yet."""

import importlib
import os
from typing import Any


def prepare(var: str) -> None:
    """Called once in a new process."""
    os.environ["DARWIN_TEST_VAR"] = var
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    importlib.import_module("django").setup()


def call(module: str, function: str, *arguments: Any) -> Any:
    """What that function returns, in this process."""
    return getattr(importlib.import_module(module), function)(*arguments)
