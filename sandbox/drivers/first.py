"""The first thing that runs inside a bubblewrap container: become nobody, take the limits, start the command.

Ours, standard library only, run with `python -I -S`. Argument: JSON {uid, oom_score, limits: {name: value}, command}.
"""

import json
import os
import resource
import sys


def main() -> None:
    order = json.loads(sys.argv[1])
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 start-up time counts
        file.write(str(order["oom_score"]))
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])  # drops every capability
    for name, value in order["limits"].items():  # after the uid: RLIMIT_NPROC never binds root
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
    try:
        os.execvp(order["command"][0], order["command"])  # noqa: S606 what the container is for
    except OSError as error:
        sys.stderr.write(f"{order['command'][0]}: {error.strerror}\n")
        sys.exit(127)


main()
