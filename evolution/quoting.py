"""Words of variants and agents inside a sentence of ours: one line, no hidden characters, nothing that gives orders.

A model that reads a brief cannot tell whose words it reads. What looks like an instruction is therefore left out
whole: a title is worth less than the harm it could do. It is a filter of the obvious and not a proof.
"""

import re
import unicodedata

SHORT = 160  # letters of a title, a reason or a finding in a sentence
WITHHELD = "(words withheld: they read like an instruction)"
HIDDEN = frozenset({"Cf", "Co", "Cn", "Cs"})  # invisible, private, unassigned, half a character

_ORDERS = re.compile(
    r"\b(ignore|disregard|forget|override|bypass)\b.{0,60}\b(instruction|previous|prior|above|rule|prompt|review|memory)"
    r"|\b(system|assistant|developer)\s*(prompt|message|note|role|:)"
    r"|\b(new|following|these|my|hidden|secret)\s+instruction"
    r"|\byou\s+(must|should|shall|will|have to|are now|need to)\b"
    r"|\b(always|never)\s+(accept|approve|propose|veto|answer|reply|output|trust)\b"
    r"|\bdo\s+not\s+(veto|review|reject|check|tell|mention|train)\b"
    r"|\b(reviewer|judge|user)s?\s*:"
    r"|<\|?/?\s*\w+\s*\|?>|```|\[/?inst\]|^#{2,}",
    re.IGNORECASE,
)


def quoted(text: str, *, limit: int = SHORT) -> str:
    """`text` as one line of at most `limit` letters without hidden characters; WITHHELD when it gives orders."""
    line = clean(text)
    if _ORDERS.search(unicodedata.normalize("NFKC", line)):
        return WITHHELD
    return cut(line, limit)


def clean(text: str) -> str:
    """`text` as one line: every kind of white space and control a space, hidden characters gone."""
    spaced = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    return " ".join("".join(one for one in spaced if unicodedata.category(one) not in HIDDEN).split())


def cut(line: str, limit: int = SHORT) -> str:
    return line if len(line) <= limit else f"{line[:limit - 1]}…"
