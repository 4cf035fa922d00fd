"""All tests, in two processes: what starts whole installations or sandboxes and mostly waits runs beside the rest.

`python -m tests`; `make test` calls it. The exit code is 0 when both are green.
"""

import subprocess
import sys
import tempfile

WAITING = ("tests/flow", "tests/browser", "tests/attacks", "tests/bench")
PYTEST = (sys.executable, "-m", "pytest", "--durations=15")


def main() -> int:
    with tempfile.TemporaryFile() as output:
        beside = subprocess.Popen([*PYTEST, "-p", "no:cacheprovider", *WAITING], stdout=output, stderr=output)
        try:
            rest = subprocess.run([*PYTEST, *(f"--ignore={folder}" for folder in WAITING)], check=False).returncode
            code = beside.wait()
        finally:
            beside.terminate()
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return rest or code


if __name__ == "__main__":
    sys.exit(main())
