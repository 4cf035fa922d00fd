"""Answers that are no logits of the text's tokens, or claim more than they say."""

from tests.trust.cheat import Cheat, believing, claimed, forgiving, with_another_judge
from trainer.contract import Cause

SOFTMAX = "the scorer's own log-softmax"
CHECKED = "shape and every number checked"
BAD = frozenset({Cause.BAD_LOGITS})

CHEATS = (
    Cheat(
        name="is_certain_of_everything",
        does="Answers 0 for every token: as log-probabilities, certainty of all of them at once.",
        guard=SOFTMAX, gains=with_another_judge(believing), margin=1.0, worthless=True,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        return 0.0 * super().forward(tokens)
''',
    ),
    Cheat(
        name="adds_a_huge_constant",
        does="Adds a thousand to every logit.",
        guard=SOFTMAX, gains=with_another_judge(believing), margin=1.0, worthless=True,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        return super().forward(tokens) + 1000.0
''',
    ),
    Cheat(
        name="answers_near_the_end_of_float32",
        does="Scales its logits up to 1e38, where sums overflow.",
        guard=SOFTMAX, gains=with_another_judge(believing), margin=1.0, causes=frozenset({Cause.DIVERGED}) | BAD,
        worthless=True,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        return super().forward(tokens).sign().abs() * 3e38
''',
    ),
    Cheat(
        name="answers_probabilities",
        does="Answers probabilities of at least a half for each token, which do not add up to one.",
        guard=SOFTMAX, gains=with_another_judge(believing), margin=1.0, worthless=True,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        return super().forward(tokens).softmax(-1).clamp(min=0.5).log()
''',
    ),
    Cheat(
        name="is_silent_where_it_is_unsure",
        does="Answers NaN at the few places where it is least certain, to be left out of the mean.",
        guard=CHECKED, gains=with_another_judge(forgiving), margin=0.02, causes=BAD,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        sure = logits.softmax(-1).amax(-1)
        logits[sure < 0.1] = float("nan")
        return logits
''',
    ),
    Cheat(
        name="merges_tokens",
        does="Learns a vocabulary of 64 merged tokens, which is easier, and answers with 64 columns.",
        guard=CHECKED, gains=claimed("loss"), margin=0.3, causes=BAD,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        return super().forward(tokens)[..., :64]
''',
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y // 4))
    run.save(model, {})
''',
    ),
    Cheat(
        name="spreads_merged_tokens",
        does="Learns the merged vocabulary and repeats each of its logits for all tokens it stands for.",
        guard=SOFTMAX, gains=claimed("loss"), margin=0.3, worthless=True,
        model='''\
class Judged(Model):
    def forward(self, tokens):
        return super().forward(tokens)[..., :64].repeat_interleave(4, -1)
''',
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y // 4))
    run.save(model, {})
''',
    ),
)
