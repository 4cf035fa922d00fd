"""Replies of language models: strict, wrapped in talk, and unusable."""

import json
from typing import Any

import pytest

from evolution.agents import reply
from evolution.agents.base import Brief, Unusable

GOOD = {
    "hypothesis": "A larger rate learns faster. It is short.", "rationale": "Kaplan et al. (2020)", "expected": "lower",
    "edits": [{"path": "train.py", "search": "learning_rate = 1e-3", "replace": "learning_rate = 2e-3"}],
}


def said(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


@pytest.mark.parametrize("text", [
    said(),
    f"Here is my proposal:\n\n```json\n{said()}\n```\nI hope it helps.",
    f"<think>maybe {{x}} or {{\"a\": 1}}</think> {said()} Good luck!",
    said(edits=[{**GOOD["edits"][0], "content": None}]),  # type: ignore[dict-item]
])
def test_a_reply_makes_a_proposal_with_or_without_talk(text: str, brief: Brief) -> None:
    made = reply.proposal(text, brief, author="agent:m", tokens_in=3, tokens_out=4)
    assert b"learning_rate = 2e-3" in made.files["train.py"]
    assert made.files["model.py"] == brief.files["model.py"]
    assert made.title == "A larger rate learns faster"
    assert (made.author, made.tokens_in, made.tokens_out) == ("agent:m", 3, 4)


def test_a_reply_may_bring_a_whole_file(brief: Brief) -> None:
    made = reply.proposal(said(edits=[{"path": "new.py", "content": "x = 1\n"}]), brief, author="agent:m")
    assert made.files["new.py"] == b"x = 1\n"


@pytest.mark.parametrize(("text", "why"), [
    ("I would rather not.", "holds no JSON object"),
    ("", "holds no JSON object"),
    ("[" * 100_000, "holds no JSON object"),
    ('{"edits": ' * 20_000, "holds no JSON object"),
    (said(edits=[]), "at least one edit"),
    (said(edits="model.py"), "at least one edit"),
    (said(edits=["model.py"]), "edit 1 of the reply"),
    (said(edits=[{"path": "train.py", "search": "a"}]), "edit 1 of the reply"),
    (said(edits=[{"path": "train.py", "search": 1, "replace": "b"}]), "edit 1 of the reply"),
    (said(hypothesis=3), "hypothesis"),
    (said(hypothesis=" "), "hypothesis"),
    (said(edits=[{"path": "train.py", "search": "not there", "replace": "b"}]), "do not apply"),
    (said(edits=[{"path": "train.py", "search": "min_lr", "replace": "b"}]), "do not apply"),
    (said(edits=[{"path": "gone.py", "search": "a", "replace": "b"}]), "do not apply"),
    (said(edits=[{"path": "train.py", "search": "min_lr = 1e-4", "replace": "min_lr = 1e-4"}]), "change nothing"),
    ("x" * (reply.MAX_REPLY + 1), "longer than"),
])
def test_what_is_no_proposal_is_unusable_with_its_reason(text: str, why: str, brief: Brief) -> None:
    with pytest.raises(Unusable, match=why):
        reply.proposal(text, brief, author="agent:m")


def test_a_long_hypothesis_is_cut_at_a_word_for_the_title() -> None:
    title = reply.title("word " * 100)
    assert len(title) <= reply.MAX_TITLE + 2
    assert title.endswith("word …")


DIFF = """\
--- a/train.py
+++ b/train.py
@@ -900,3 +900,9 @@
-learning_rate = 1e-3
+learning_rate = 2e-3
"""


@pytest.mark.parametrize("text", [
    f"**Hypothesis:** A larger rate learns faster.\n\nKaplan et al.\n\n```diff\n{DIFF}```\nGood luck!",
    f"A larger rate learns faster.\n\ndiff --git a/train.py b/train.py\nindex 1..2 100644\n{DIFF}",
    json.dumps({"hypothesis": "A larger rate learns faster.", "diff": DIFF}),
    "A larger rate learns faster.\n\ntrain.py\n```python\n<<<<<<< SEARCH\nlearning_rate = 1e-3\n=======\n"
    "learning_rate = 2e-3\n>>>>>>> REPLACE\n```\n",
    said()[:-1],  # the last bracket is missing
    said()[:-2],
])
def test_a_diff_blocks_and_missing_last_brackets_are_read_too(text: str, brief: Brief) -> None:
    made = reply.proposal(text, brief, author="agent:m")
    assert b"learning_rate = 2e-3" in made.files["train.py"]
    assert made.title == "A larger rate learns faster"


@pytest.mark.parametrize("text", [
    said()[:-20],  # in the middle of an edit
    f"{DIFF}",  # no word about why
    "Because.\n\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n",  # of no file
    "Because.\n\ntrain.py\n<<<<<<< SEARCH\na\n=======\nb\n",
])
def test_half_a_change_is_no_change(text: str, brief: Brief) -> None:
    with pytest.raises(Unusable):
        reply.proposal(text, brief, author="agent:m")


def test_commas_too_many_are_let_pass_and_those_in_code_stay(brief: Brief) -> None:
    edit = {"path": "new.py", "content": "sizes = [1,\n]\npair = (1,)\n"}
    text = said(edits=[edit]).replace("}]}", "},],\n}")
    assert reply.proposal(text, brief, author="agent:m").files["new.py"] == b"sizes = [1,\n]\npair = (1,)\n"
