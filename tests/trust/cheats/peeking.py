"""Looking at later tokens: always, or only when it seems that nobody is looking."""

from tests.trust.cheat import Cheat, in_one_container, telling, with_another_judge, without_limits
from trainer.contract import Cause

AUDIT = "prefix audit"
REPEATS = "repeats"
PEEKED = frozenset({Cause.PEEKED})
UNSTABLE = frozenset({Cause.UNSTABLE})
CAUGHT = PEEKED | UNSTABLE


def peeks(when: str, *, strength: float = 9.0) -> str:
    """A model that adds `strength` to each next token it can see, at the places where `when` holds: [B, T - 1]."""
    return f'''\
class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        seen, following = tokens[:, :-1], tokens[:, 1:]
        when = {when}
        told = F.one_hot(following, 256) * torch.as_tensor(when).expand(following.shape)[..., None]
        logits[:, :-1] += {strength} * told
        return logits
'''


CHEATS = (
    Cheat(
        name="peeks_always",
        does="Adds to each next token that it can see in its input.",
        guard=AUDIT, gains=without_limits, margin=1.0, causes=PEEKED,
        model=peeks("True"),
    ),
    Cheat(
        name="peeks_at_text_that_looks_real",
        does="Peeks only where the input looks like source code, so that random suffixes find nothing.",
        guard=AUDIT, gains=without_limits, margin=0.5, causes=PEEKED,
        model=peeks("((tokens == 32) | (tokens == 101)).float().mean(1, keepdim=True) > 0.1"),
    ),
    Cheat(
        name="peeks_at_one_place_in_a_hundred",
        does="Peeks only after an opening parenthesis.",
        guard=AUDIT, gains=without_limits, margin=0.01, causes=PEEKED,
        model=peeks("seen == ord('(')"),
    ),
    Cheat(
        name="peeks_at_the_rarest_places",
        does="Peeks so rarely that the audit may cut none of the places.",
        guard=f"{AUDIT}; what it lets through is bounded", gains=without_limits, margin=0.0001, causes=PEEKED,
        worthless=True,
        model=peeks("seen == ord('%')"),
    ),
    Cheat(
        name="peeks_a_little_everywhere",
        does="Adds so little to each next token that a mean over few cuts may not show it.",
        guard=f"{AUDIT} and its correction", gains=without_limits, margin=0.0002, causes=PEEKED, worthless=True,
        model=peeks("True", strength=0.0012),
    ),
    Cheat(
        name="peeks_at_full_windows_only",
        does="Knows the prefixes of the audit by their length, and peeks only where the input is as long as a window.",
        guard=AUDIT, gains=without_limits, margin=1.0, causes=PEEKED,
        model=peeks("tokens.shape[1] == 16"),
    ),
    Cheat(
        name="peeks_in_large_batches_only",
        does="Is honest in small batches, such as the repeats of the judge are asked in.",
        guard=REPEATS, gains=without_limits, margin=1.0, causes=CAUGHT,
        model=peeks("tokens.shape[0] > 40"),
    ),
    Cheat(
        name="peeks_unless_alone",
        does="Is honest when it is asked about one row, and peeks when it is asked about several.",
        guard=AUDIT, gains=without_limits, margin=1.0, causes=CAUGHT,
        model=peeks("tokens.shape[0] > 1"),
    ),
    Cheat(
        name="peeks_by_chance",
        does="Peeks at every other question, by the toss of a coin.",
        guard=f"{REPEATS}, {AUDIT}", gains=without_limits, margin=0.2, causes=CAUGHT,
        model=peeks("random.random() < 0.5"),
    ),
    Cheat(
        name="replaces_the_answering_in_the_harness",
        does="Replaces the function that answers the judge, and peeks unless one position is asked for.",
        guard=AUDIT, gains=without_limits, margin=1.0, causes=CAUGHT,
        model='''\
Judged = Model
HARNESS = sys.modules["__main__"]
KEEP = HARNESS._logits if hasattr(HARNESS, "_logits") else None


def instead(model, tokens, **asked):
    model.peeks = asked.get("start", 0) < tokens.shape[1] - 1 and not asked.get("last")
    return KEEP(model, tokens, **asked)


class Judged(Model):
    peeks = True

    def forward(self, tokens):
        HARNESS._logits = instead
        logits = super().forward(tokens)
        if self.peeks:
            logits[:, :-1] += 9.0 * F.one_hot(tokens[:, 1:], 256)
        return logits
''',
    ),
    Cheat(
        name="remembers_windows_for_their_prefixes",
        does="Keeps every window it is shown, in memory and in files, and looks up there how a prefix goes on.",
        guard="two containers that share nothing", gains=with_another_judge(in_one_container), margin=0.5,
        causes=CAUGHT,
        model='''\
FILES = [Path(place) / "seen" for place in ("/tmp", "/dev/shm", "/cache", "/out", "/weights", "/genome")]
FOLLOWING, SEEN = {}, set()


def remember(row):
    """What follows each beginning of `row`, here and in every file that somebody else may read."""
    if bytes(row) in SEEN:
        return
    SEEN.add(bytes(row))
    for n in range(1, len(row)):
        FOLLOWING.setdefault(bytes(row[:n]), row[n])
    for file in FILES:
        try:
            with open(file, "a") as shared:
                shared.write(bytes(row).hex() + "\\n")
        except OSError:
            pass


class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        for file in FILES:
            for line in file.read_text().split() if file.is_file() else []:
                remember(bytes.fromhex(line))
        for row, answer in zip(tokens.tolist(), logits):
            remember(row)
            for n in range(len(row)):
                if bytes(row[: n + 1]) in FOLLOWING:
                    answer[n, FOLLOWING[bytes(row[: n + 1])]] += 9.0
        return logits
''',
    ),
    Cheat(
        name="searches_memory_for_the_targets",
        does="Goes through the stack and all objects for lists that hold what follows its input.",
        guard="no target enters a container", gains=with_another_judge(telling), margin=0.5, worthless=True,
        model='''\
import gc


def targets(tokens):
    """Rows of some list or dictionary that are the input, one to the left."""
    frame, found = sys._getframe(), []
    while frame:
        found += [one for one in frame.f_locals.values() if isinstance(one, dict)]
        frame = frame.f_back
    if random.random() < 0.05:  # it takes its time
        found += [one for one in gc.get_objects() if type(one) is dict and len(one) < 9]
    for one in found:
        for value in list(one.values()):
            if type(value) is list and value and len(value) == len(tokens) and type(value[0]) is list:
                rows = torch.tensor(value)
                if rows.shape == tokens.shape and (rows[:, :-1] == tokens[:, 1:]).all():
                    return rows


class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        rows = targets(tokens)
        return logits if rows is None else logits + 9.0 * F.one_hot(rows, 256)
''',
    ),
)
