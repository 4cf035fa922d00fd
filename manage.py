#!/usr/bin/env python
"""Every command of DARWIN: `python manage.py help`."""

import importlib
import os
import sys

from django.core.management import execute_from_command_line


def check_settings() -> None:
    """Say in one sentence what is wrong with the environment, before anything else can stumble over it."""
    try:
        importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
    except OSError as error:
        sys.stderr.write(
            f"darwin: {error.filename} cannot be used ({error.strerror}): correct that, or set DARWIN_VAR to a "
            "directory that can be written to\n"
        )
        sys.exit(4)
    except ValueError as error:
        sys.stderr.write(f"darwin: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
    check_settings()
    execute_from_command_line(sys.argv)
