"""The product's settings, in a var/ of their own and without a broker."""

import os
import tempfile

os.environ["DARWIN_VAR"] = os.environ.get("DARWIN_TEST_VAR") or tempfile.mkdtemp(prefix="darwin-test-")

from darwin_web.settings import *  # noqa: F403

DARWIN_WAKE = False
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
