"""Everything that a model or its server may do wrong: what is answered, and what the record says of it.

One list for the tests of a single proposal and for the flow in which a whole generation meets all of them.
"""

import json
from dataclasses import dataclass

from tests.evolution.agents.stub import Body, Reply, calls_a_tool, completion, refuses, says

LARGE = 50 << 20
LINK = (
    "A link.\n\ndiff --git a/link.py b/link.py\nnew file mode 120000\n--- /dev/null\n+++ b/link.py\n"
    "@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n"
)


@dataclass(frozen=True)
class Misbehaviour:
    """One way to misbehave, and a pattern of what the record must say of it."""

    name: str
    reply: Reply
    verdict: str


def writes(path: str, content: str) -> Reply:
    """A well-formed reply that adds or replaces one file."""
    edits = [{"path": path, "content": content}]
    return says(json.dumps({"hypothesis": f"{path} helps", "rationale": "r", "expected": "e", "edits": edits}))


REFUSED = (  # each ends as a proposal that was refused
    Misbehaviour("streams garbage", Reply(raw=b"data: \xff\xfe{{{\n\n", raw_type="text/event-stream"), "promises"),
    Misbehaviour("is a page of HTML", Reply(raw=b"<html>busy</html>", raw_type="text/html"), "promises"),
    Misbehaviour("is 50 MB", Reply(raw=b"x" * LARGE), "larger than 4 MB"),
    Misbehaviour("calls a tool", calls_a_tool("submit"), "called a tool"),
    Misbehaviour("refuses", says(None, refusal="I will not."), "refused: I will not"),
    Misbehaviour("is empty", says(""), "empty reply"),
    Misbehaviour("is cut off", says('{"hypothesis": "x", "edits": [{"pa', "length"), "cut off"),
    Misbehaviour("is partial JSON", says('{"hypothesis": "x", "edits": [{"path": "train.py", "sea'), "no JSON object"),
    Misbehaviour("only talks", says("What a nice program!"), "no JSON object"),
    Misbehaviour("touches the manifest", writes("genome.toml", "name = 'mine'\n"), "genome.toml may not be changed"),
    Misbehaviour("brings a forbidden file", writes("run.sh", "rm -rf /\n"), "run.sh may not be changed"),
    Misbehaviour("climbs", writes("../escape.py", "x = 1\n"), "leads out of the genome"),
    Misbehaviour("names an absolute path", writes("/etc/cron.py", "x = 1\n"), "leads out of the genome"),
    Misbehaviour("brings a link", says(LINK), "link"),
    Misbehaviour("plays with case", writes("Model.py", "x = 1\n"), "letters have no case"),
    Misbehaviour("is binary", writes("data.py", "\x00\x01\x02\x7fELF"), "control, bidirectional or invisible"),
    Misbehaviour("hides characters", writes("data.py", "x = 1  # \u202e\u200b\n"), "or invisible characters"),
    Misbehaviour("changes 20,000 lines", writes("data.py", "x = 1\n" * 20_000), "changes 20000 lines"),
)
HANGS = Reply(completion("…"), hang=30.0)
OVERLOADED = (refuses(429, "slow down", retry_after="0"), refuses(503, "busy", retry_after="0"))


def is_again(body: Body) -> bool:
    """Whether an answer that could not be used has gone back."""
    return len(body["messages"]) > 2
