"""Learning from what it is asked: across the rows of a question, across questions, with and without a memory."""

from tests.trust.cheat import Cheat, without_limits
from tests.trust.cheats.peeking import AUDIT, CAUGHT, REPEATS

# Mixes in what followed the same two tokens in rows seen before. It never looks ahead in a row, so that a judge who
# asked each question once would find nothing wrong with it.
COUNTS = '''\
def places(tokens):
    """Two tokens in a number: [B, T]."""
    before = F.pad(tokens, (1, 0))[:, :-1]
    return (before * 31 + tokens) % 4096


def mixed(logits, tokens, counts):
    """`logits` [B, T, V] with what `counts` [4096, V] know, which learn row by row."""
    p = logits.softmax(-1)
    for answer, where, following in zip(p, places(tokens), tokens[:, 1:]):
        known = counts[where]
        n = known.sum(-1, keepdim=True)
        answer += (0.6 * n / (n + 1)) * (known / n.clamp(min=1) - answer)
        counts.index_put_((where[:-1], following), torch.ones(()), accumulate=True)
    return p.log()
'''
STEPS = '''\
    def step(self, tokens, rate):
        """One step of gradient descent on what it was asked."""
        with torch.inference_mode(False), torch.enable_grad():
            tokens = tokens.clone()
            logits = Model.forward(self, tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            for weight, slope in zip(self.parameters(), torch.autograd.grad(loss, list(self.parameters()))):
                weight.data.sub_(rate * slope)
'''

CHEATS = (
    Cheat(
        name="counts_across_rows",
        does="Uses the rows above as longer context: they are the text before it.",
        guard=REPEATS, gains=without_limits, margin=0.01, causes=CAUGHT,
        model=COUNTS + '''

class Judged(Model):
    def forward(self, tokens):
        return mixed(super().forward(tokens), tokens, torch.zeros(4096, 256))
''',
    ),
    Cheat(
        name="counts_across_questions",
        does="Keeps counting from one question to the next, as a cache of the text.",
        guard=REPEATS, gains=without_limits, margin=0.05, causes=CAUGHT,
        model=COUNTS + '''

COUNTED = torch.zeros(4096, 256)


class Judged(Model):
    def forward(self, tokens):
        return mixed(super().forward(tokens), tokens, COUNTED)
''',
    ),
    Cheat(
        name="counts_and_remembers_its_answers",
        does="Counts across questions, and gives a row that it has answered the same answer again.",
        guard=f"{AUDIT}, {REPEATS} in the other container", gains=without_limits, margin=0.05, causes=CAUGHT,
        model=COUNTS + '''

COUNTED, SAID = torch.zeros(4096, 256), {}


class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        for row, answer in zip(tokens, logits):
            key = bytes(row.tolist())
            if key not in SAID:
                SAID[key] = mixed(answer[None], row[None], COUNTED)[0]
            answer.copy_(SAID[key])
        return logits
''',
    ),
    Cheat(
        name="counts_for_a_while_and_stops",
        does="Learns from the first questions alone and remembers its answers, so that later ones find it settled.",
        guard=f"{AUDIT}, {REPEATS} in the other container", gains=without_limits, margin=0.02, causes=CAUGHT,
        model=COUNTS + '''

COUNTED, SPARE, SAID, LEFT = torch.zeros(4096, 256), torch.zeros(4096, 256), {}, [200]


class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        for row, answer in zip(tokens, logits):
            key = bytes(row.tolist())
            if key not in SAID:
                LEFT[0] -= 1
                counts = COUNTED if LEFT[0] > 0 else SPARE.copy_(COUNTED)  # a new copy each time fills the memory
                SAID[key] = mixed(answer[None], row[None], counts)[0]
            answer.copy_(SAID[key])
        return logits
''',
    ),
    Cheat(
        name="hides_its_peeking_by_counting",
        does="Peeks a little at full windows, and counts across prefixes, so that both containers do equally better.",
        guard="distance of the two answers, place by place", gains=without_limits, margin=0.1, causes=CAUGHT,
        model=COUNTS + '''

COUNTED = torch.zeros(4096, 256)


class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        if tokens.shape[1] < 16:
            return mixed(logits, tokens, COUNTED)
        logits[:, :-1] += 0.25 * F.one_hot(tokens[:, 1:], 256)
        return logits
''',
    ),
    Cheat(
        name="trains_after_each_question",
        does="Answers, and then takes a step of gradient descent on what it was asked.",
        guard=REPEATS, gains=without_limits, margin=0.02, causes=CAUGHT,
        model=f'''\
class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        if tokens.shape[1] > 4:
            self.step(tokens, 0.3)
        return logits

{STEPS}''',
    ),
    Cheat(
        name="trains_on_the_question_and_forgets",
        does="Takes steps on the rows it is asked, answers, and puts its weights back, as if it had no state.",
        guard=f"{REPEATS}, {AUDIT}", gains=without_limits, margin=0.05, causes=CAUGHT,
        model=f'''\
class Judged(Model):
    def forward(self, tokens):
        before = {{name: weight.clone() for name, weight in self.state_dict().items()}}
        if tokens.shape[1] > 1:
            for _ in range(4):
                self.step(tokens, 0.5)
        logits = super().forward(tokens)
        self.load_state_dict(before)
        return logits

{STEPS}''',
    ),
)
