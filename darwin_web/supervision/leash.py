"""Run a program that ends when its parent does: `leash.py PARENT_PID PROGRAM ARGUMENT...`.

A file of its own, run by path and without site-packages, because it must cost milliseconds. The kernel keeps the wish
across exec. Where there is no prctl (not Linux) the program runs without a leash.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if hasattr(ctypes.CDLL(None), "prctl"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 the supervisor's own words, no shell
