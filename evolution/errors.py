"""What can go wrong, as a glossary. The message of each is one sentence that says what to do.

DarwinError
├── BadInput            exit code 2
│   ├── NameTaken
│   ├── ResumeMismatch
│   └── PatchRefused
├── StaleTransition
├── Refused             the person may not do this, or no longer
└── Infrastructure      exit code 4
"""


class DarwinError(Exception):
    """Something a person should read; never a traceback."""


class BadInput(DarwinError):
    """What was asked for cannot be done as asked."""


class NameTaken(BadInput):
    """An experiment of this name exists already."""


class ResumeMismatch(BadInput):
    """An experiment of this name exists with other options."""


class PatchRefused(BadInput):
    """A patch does not apply, or touches what may not be touched."""


class StaleTransition(DarwinError):
    """Somebody else moved this variant first."""


class Refused(DarwinError):
    """This is not allowed, or not any more."""


class Infrastructure(DarwinError):
    """The machine, the engine or the disk failed; trying again may help."""
