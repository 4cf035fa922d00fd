"""Every attack is tried in both drivers."""

from tests.sandbox.conftest import driver

__all__ = ["driver"]
