"""More text than the budget, weights that came another way, and a speed or a size that is none."""

import base64

import numpy as np

from sandbox.outcome import Outcome
from tests.trust import genomes
from tests.trust.cheat import Cheat, nats, not_held
from tests.trust.trials import Ended, text, trial
from trainer.contract import Cause

BUDGET = "tokens are counted where they are served"
SIZE = "saved and carried bytes, against the baseline's"
LARGE = frozenset({Cause.TOO_LARGE})

HASHED = '''\
def places(tokens):
    """Two tokens in a number: [B, T]."""
    before = F.pad(tokens, (1, 0))[:, :-1]
    return (before * 31 + tokens) % 4096
'''


def with_a_larger_budget(cheat: Cheat, ended: Ended, twin: Outcome) -> float:
    """Nats: four times the budget, as if the second line were not counted."""
    return nats(twin) - nats(trial(cheat.made(), budget_tokens=4 * genomes.BUDGET_TOKENS).outcome)


def unsearched(cheat: Cheat, ended: Ended, twin: Outcome) -> float:
    """Nats: nobody looked for held-out strings in its files."""
    return nats(twin) - nats(trial(cheat.made(), look_for_text=False).outcome)


def seeming_speed(cheat: Cheat, ended: Ended, twin: Outcome) -> float:
    """How many times as fast it seems by the clock that ends with the budget."""
    return float(ended.outcome.numbers["train_seconds"] / max(ended.outcome.phases["train"], 1e-9))


def faster_than_its_twin(cheat: Cheat, ended: Ended, twin: Outcome) -> float:
    """How many times as fast it seems as its honest twin, by tokens and clock."""
    return float(ended.outcome.numbers["tokens_per_second"] / twin.numbers["tokens_per_second"])


def flops_of_its_twin(cheat: Cheat, ended: Ended, twin: Outcome) -> float:
    """How many times the FLOPs of its honest twin were counted."""
    free = trial(cheat.made(), peak_flops=None).outcome
    return float(free.numbers["flops_per_token"] / twin.numbers["flops_per_token"])


def table() -> bytes:
    """What follows two tokens in the training text, as a Python file."""
    tokens = text().train.astype(np.int64)
    counts = np.zeros((4096, 256), dtype=np.float32)
    np.add.at(counts, ((tokens[:-2] * 31 + tokens[1:-1]) % 4096, tokens[2:]), 1)
    logs = np.log(counts + 0.1) - np.log((counts + 0.1).sum(1, keepdims=True))
    return b"TABLE = '" + base64.b64encode(np.clip(-20 * logs, 0, 255).astype(np.uint8).tobytes()) + b"'\n"


def held_out() -> dict[str, bytes]:
    """The held-out text, as a file of its own and a Python file that reads it."""
    reads = b'from pathlib import Path\n\nKNOWN = (Path(__file__).parent / "known.txt").read_bytes()\n'
    return {"known.py": reads, "known.txt": bytes(text().parts["public"].raw)}


CHEATS = (
    Cheat(
        name="asks_for_text_on_a_second_line",
        does="Opens connections of its own to the text server: other shapes, other numbers, and batches again.",
        guard=BUDGET, gains=with_a_larger_budget, margin=0.05, worthless=True,
        train='''\
def main(run):
    from trainer.harness.inside.line import Line
    model, learn = beginning(run.seed)
    for number in (7, 0, -1, 10**9):  # others than the next one
        other = Line(Path("/run/darwin/harness.sock"))
        other.PATIENCE_SECONDS = 0
        try:
            connection = other._connected()
            from trainer.contract import receive, send
            send(connection, {"op": "batch", "number": number, "shape": [1, 4000]})
            connection.settimeout(2)
            receive(connection)
        except OSError:
            pass
        other.close()
    mine = Line(Path("/run/darwin/harness.sock"))
    run._number = mine.ask({"op": "hello", "rank": 0})[0]["number"]
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        reply, payload = mine.ask({"op": "batch", "number": run._number + 1, "shape": [8, 16]})
        if not reply.get("end"):
            run._number += 1
            learn(*run._tensors(payload, [8, 16]))
    run.save(model, {})
''',
    ),
    Cheat(
        name="fetches_everything_and_trains_afterwards",
        does="Fetches all batches at once, so that its budget is over in no time, and trains on them before it saves.",
        guard="the clock of tokens per second runs to the last save", gains=seeming_speed, margin=2.0, worthless=True,
        unit="times as fast",
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    kept = list(run.batches(64, 64))
    for step, (x, y) in enumerate(zip(*(torch.cat([b[n].reshape(-1, 16) for b in kept]).split(16) for n in (0, 1)))):
        run.report(step=step, loss=learn(x, y))
    run.save(model, {})
''',
    ),
    Cheat(
        name="fetches_text_and_does_not_train",
        does="Fetches all of its budget and trains on the first batch alone, to look fast.",
        guard="speed of the training against the saved model's own forward pass", gains=faster_than_its_twin,
        margin=3.0, causes=frozenset({Cause.TOO_FAST}), unit="times as fast", held=True,
        changes={"budget_tokens": 1 << 22},
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(1024, 512)):
        run.report(step=step, loss=learn(x[:16, :16], y[:16, :16]))
    run.save(model, {})
''',
    ),
    Cheat(
        name="replaces_the_counter_of_flops",
        does="Replaces the counter of FLOPs in the container that counts, to look efficient.",
        guard="arithmetic: more than the device can do", gains=flops_of_its_twin, margin=100.0,
        causes=frozenset({Cause.IMPOSSIBLE_FLOPS}), unit="times the FLOPs", held=True,
        model='''\
from torch.utils.flop_counter import flop_registry

for operation in list(flop_registry):
    flop_registry[operation] = lambda *args, **kwargs: 10**15
Judged = Model
''',
    ),
    Cheat(
        name="multiplies_for_nothing",
        does="Multiplies large matrices whose product it throws away, so that many FLOPs are counted.",
        guard="FLOPs count up to 1.25 times the baseline's", gains=flops_of_its_twin, margin=5.0, worthless=True,
        causes=frozenset({Cause.TOO_SLOW, Cause.TOO_FAST}), unit="times the FLOPs", held=True,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        torch.ones(len(tokens), 160, 160) @ torch.ones(160, 160)
        return super().forward(tokens)
''',
    ),
    Cheat(
        name="carries_weights_in_its_code",
        does="Carries a table that was made elsewhere, as a long string in a Python file.",
        guard=SIZE, gains=not_held, margin=0.15, causes=LARGE, held=True,
        more=lambda: {"table.py": table()},
        model=HASHED + '''

import base64
from table import TABLE

LOGS = torch.frombuffer(bytearray(base64.b64decode(TABLE)), dtype=torch.uint8).view(4096, 256) / -20


class Judged(Model):
    def forward(self, tokens):
        return super().forward(tokens) * 0.2 + LOGS[places(tokens)]
''',
    ),
    Cheat(
        name="saves_a_store_of_text",
        does="Saves a large table of what followed what in the text it was served, and looks up there.",
        guard=SIZE, gains=not_held, margin=0.02, causes=LARGE, held=True,
        model=HASHED + '''

class Judged(Model):
    def __init__(self):
        super().__init__()
        self.register_buffer("counts", torch.zeros(4096, 256))

    def forward(self, tokens):
        known = self.counts[places(tokens)]
        n = known.sum(-1, keepdim=True)
        p = super().forward(tokens).softmax(-1)
        return (p + 0.5 * n / (n + 2) * (known / n.clamp(min=1) - p)).log()
''',
        train='''\
def main(run):
    from model import Judged, places
    model, learn = beginning(run.seed)
    judged = Judged()
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        judged.counts.index_put_((places(x), y), torch.ones(()), accumulate=True)
    for x, y in run.validation(16, 16):
        judged.counts.index_put_((places(x), y), torch.ones(()), accumulate=True)
    judged.load_state_dict({**judged.state_dict(), **model.state_dict()})
    run.save(judged, {})
''',
    ),
    Cheat(
        name="carries_the_held_out_text",
        does="Carries the held-out text in its code and continues what it recognises.",
        guard="strings of the held-out text are searched for in the genome", gains=unsearched, margin=1.0,
        causes=frozenset({Cause.HELD_OUT_TEXT}),
        more=held_out,
        model='''\
from known import KNOWN


class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        for row, answer in zip(tokens.tolist(), logits):
            for n in range(4, len(row)):
                place = KNOWN.find(bytes(row[: n + 1]))
                if 0 <= place < len(KNOWN) - n - 1:
                    answer[n, KNOWN[place + n + 1]] += 9.0
        return logits
''',
    ),
    Cheat(
        name="trains_on_the_held_out_text",
        does="Carries the held-out text in its code and trains on it beside every batch.",
        guard="strings of the held-out text are searched for in the genome", gains=unsearched, margin=0.1,
        causes=frozenset({Cause.HELD_OUT_TEXT}),
        more=held_out,
        train='''\
import known

KNOWN = torch.tensor(list(known.KNOWN))


def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
        places = torch.randint(len(KNOWN) - 17, (64, 1)) + torch.arange(17)
        run.report(step=step, loss=learn(KNOWN[places][:, :-1], KNOWN[places][:, 1:]))
    run.save(model, {})
''',
    ),
)
