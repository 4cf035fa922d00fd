"""Honest genomes, as different as people and operators make them: none of them may be refused."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import trainer
from evolution.agents.operators import applied, parsed
from evolution.agents.operators.catalogue import CATALOGUE, named
from tests.trust import genomes

BUILT_IN = Path(trainer.__file__).parent / "genome"
SMALL = {  # the built-in genome's preset for a CPU, for a trial of a second
    "CONTEXT = 64": "CONTEXT = 16",
    "layers=4": "layers=2",
    "heads=4": "heads=4",
    "width=128": "width=32",
    "dropout=0.0": "dropout=0.1",
    "batch_size=12": "batch_size=16",
    "learning_rate=1e-3": "learning_rate=4e-3",
}


def built_in() -> dict[str, bytes]:
    """The built-in genome, made small."""
    files = {path.name: path.read_text() for path in BUILT_IN.iterdir() if path.suffix in (".py", ".toml")}
    for old, new in SMALL.items():
        assert old in files["config.py"], old
        files["config.py"] = files["config.py"].replace(old, new, 1)
    files["genome.toml"] = files["genome.toml"].replace("context = 64", "context = 16")
    return {name: text.encode() for name, text in files.items()}


def operated(name: str) -> dict[str, bytes]:
    """What the built-in operator `name` makes of the built-in genome."""
    files = built_in()
    texts = {path: content.decode() for path, content in files.items() if path.endswith(".py")}
    changed = applied(named(name), parsed({"files": texts, "editable": list(texts)}), seed=1)
    assert changed, f"{name} does not fit: it belongs into UNFIT"
    return {**files, **{path: text.encode() for path, text in changed.items()}}


TRANSFORMER = '''\
class Model(nn.Module):
    """One block of attention. OPTIONS say what is special about it."""

    def __init__(self):
        super().__init__()
        self.columns = OPTIONS.get("columns", 256)
        self.embedding = nn.Embedding(self.columns, WIDTH)
        self.positions = nn.Embedding(128, WIDTH)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, self.columns, bias=False)
        self.drop = nn.Dropout(OPTIONS.get("dropout", 0.0))
        if OPTIONS.get("tied"):
            self.head.weight = self.embedding.weight

    def attend(self, x):
        B, T, C = x.shape
        q, k, v = (one.view(B, T, 4, C // 4).transpose(1, 2) for one in self.qkv(x).split(C, 2))
        if OPTIONS.get("rotary"):
            q, k = self.turned(q), self.turned(k)
        ago = torch.arange(T)[:, None] - torch.arange(T)
        bias = torch.zeros(T, T).masked_fill(ago < 0, float("-inf"))
        if OPTIONS.get("window"):
            bias = bias.masked_fill(ago >= OPTIONS["window"], float("-inf"))
        if OPTIONS.get("alibi"):
            bias = bias - 0.25 * ago
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(x.dtype)).transpose(1, 2).reshape(B, T, C)

    def turned(self, x):
        T, half = x.shape[2], x.shape[3] // 2
        angles = torch.arange(T)[:, None] / 100 ** (torch.arange(half) / half)
        a, b = x.chunk(2, -1)
        return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)

    def forward(self, tokens):
        x = self.embedding(tokens)
        if OPTIONS.get("positions", True):
            x = x + self.positions(torch.arange(tokens.shape[1]))
        x = x + self.drop(self.attend(self.norm1(x)))
        x = x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))
        logits = self.head(self.norm3(x))
        cap = OPTIONS.get("cap")
        return cap * torch.tanh(logits / cap) if cap else logits
'''


def transformer(**options: object) -> str:
    return f"OPTIONS = {options!r}\n\n\n{TRANSFORMER}"


BIGRAM = '''\
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(256, 256)

    def forward(self, tokens):
        return self.table(tokens)
'''


def recurrent(kind: str) -> str:
    return f'''\
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.over_time = nn.{kind}(WIDTH, 64, batch_first=True)
        self.head = nn.Linear(64, 256)

    def forward(self, tokens):
        return self.head(self.over_time(self.embedding(tokens))[0])
'''


EXPERTS = '''\
class Model(nn.Module):
    """Four experts for the positions; each has a capacity in training, and none when it is judged."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.over_time = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.gate = nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH)) for _ in range(4)
        )
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, tokens):
        x = self.over_time(self.embedding(tokens))[0]
        flat = x.flatten(0, 1)
        weights, chosen = self.gate(flat).softmax(-1).max(-1)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            if self.training:
                rows = rows[: 2 * len(flat) // 4]
            out = out.index_add(0, rows, weights[rows, None] * expert(flat[rows]))
        return self.head(x + out.view_as(x))
'''

BATCH_NORM = '''\
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.hidden = nn.Conv1d(WIDTH, 2 * WIDTH, SPAN)
        self.norm = nn.BatchNorm1d(2 * WIDTH)
        self.head = nn.Linear(2 * WIDTH, 256)

    def forward(self, tokens):
        x = self.hidden(F.pad(self.embedding(tokens).transpose(1, 2), (SPAN - 1, 0)))
        return self.head(F.relu(self.norm(x)).transpose(1, 2))
'''

MIXTURE = '''\
class Model(nn.Module):
    """A mixture of three softmaxes (Yang et al. 2018); answers log-probabilities."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.over_time = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.weights = nn.Linear(WIDTH, 3)
        self.heads = nn.ModuleList(nn.Linear(WIDTH, 256) for _ in range(3))

    def forward(self, tokens):
        x = self.over_time(self.embedding(tokens))[0]
        each = torch.stack([head(x).log_softmax(-1) for head in self.heads], -1)
        return (each + self.weights(x).log_softmax(-1)[..., None, :]).logsumexp(-1)
'''

MEAN_OF_PAST = '''\
class Model(nn.Module):
    """A fading mean of the past, as linear attention and state spaces keep one."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.fade = nn.Parameter(torch.zeros(WIDTH))
        self.up, self.head = nn.Linear(2 * WIDTH, 64), nn.Linear(64, 256)

    def forward(self, tokens):
        x, state, past = self.embedding(tokens), 0.0, []
        for t in range(tokens.shape[1]):
            state = self.fade.sigmoid() * state + x[:, t]
            past.append(state)
        return self.head(F.gelu(self.up(torch.cat([x, torch.stack(past, 1)], -1))))
'''

TWO_MODELS = '''\
class Model(nn.Module):
    """The mean of two models."""

    def __init__(self):
        super().__init__()
        self.each = nn.ModuleList(
            nn.Sequential(nn.Embedding(256, WIDTH), nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, 256))
            for _ in range(2)
        )

    def forward(self, tokens):
        return torch.stack([one(tokens).log_softmax(-1) for one in self.each]).mean(0)
'''

COUNTED = '''\
class Model(nn.Module):
    """Which byte follows which, counted."""

    def __init__(self):
        super().__init__()
        self.counts = nn.Parameter(torch.ones(256, 256) * 0.01, requires_grad=False)

    def forward(self, tokens):
        return self.counts[tokens].log()
'''

PLAIN = '''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
'''


def looped(change: str, *, begin: str = "model, learn = beginning(run.seed)", save: str = "run.save(model, {})") -> str:
    """A training whose step is `change`."""
    return f'''\
def main(run):
    {begin}
    for step, (x, y) in enumerate(run.batches(16, 16)):
        {change}
    {save}
'''


def own(
    *, body: str = genomes.CLASS, model: str = genomes.JUDGED, train: str = genomes.MAIN
) -> Callable[[], dict[str, bytes]]:
    return lambda: genomes.files(body=body, model=model, train=train)


def at_context(context: int, body: str) -> Callable[[], dict[str, bytes]]:
    """The same model over more or fewer tokens."""

    def made() -> dict[str, bytes]:
        files = genomes.files(body=body, train=genomes.MAIN.replace("batches(16, 16)", f"batches(16, {context})"))
        manifest = files["genome.toml"].decode().replace(f"context = {genomes.CONTEXT}", f"context = {context}")
        return {**files, "genome.toml": manifest.encode()}

    return made


def characters() -> dict[str, bytes]:
    """Tokens are the characters of the training text, and one unknown."""
    files = genomes.files(body=BIGRAM)
    manifest = files["genome.toml"].decode().replace('vocabulary = "bytes"', 'vocabulary = "chars"')
    return {**files, "genome.toml": manifest.encode()}


IN_BFLOAT16 = '''\
class Judged(Model):
    def __init__(self):
        super().__init__()
        self.to(torch.bfloat16)
'''
BFLOAT16 = looped("run.report(step=step, loss=learn(x, y))", save="run.save(model.to(torch.bfloat16), {})")

# By hand.
WRITTEN: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "convolution": own(),
    "bigram": own(body=BIGRAM),
    "counted_bigram": own(body=COUNTED, train=looped(
        "model.counts.data.index_put_((x, y), torch.ones(()), accumulate=True)", begin="model = Model()",
    )),
    "transformer": own(body=transformer()),
    "tied_head": own(body=transformer(tied=True)),
    "padded_vocabulary": own(body=transformer(columns=320)),
    "padded_and_tied": own(body=transformer(columns=384, tied=True)),
    "sliding_window": own(body=transformer(window=4)),
    "dropout": own(body=transformer(dropout=0.3)),
    "alibi": own(body=transformer(alibi=True, positions=False)),
    "rotary": own(body=transformer(rotary=True, positions=False)),
    "no_positions": own(body=transformer(positions=False)),
    "soft_capped_logits": own(body=transformer(cap=15.0)),
    "gru": own(body=recurrent("GRU")),
    "lstm": own(body=recurrent("LSTM")),
    "plain_rnn": own(body=recurrent("RNN")),
    "experts_with_capacity": own(body=EXPERTS),
    "batch_norm": own(body=BATCH_NORM),
    "mixture_of_softmaxes": own(body=MIXTURE),
    "fading_mean": own(body=MEAN_OF_PAST),
    "two_models": own(body=TWO_MODELS),
    "bfloat16_weights": own(
        body=transformer(), train=BFLOAT16,
        model=IN_BFLOAT16,
    ),
    "bfloat16_convolution": own(
        train=BFLOAT16,
        model=IN_BFLOAT16,
    ),
    "autocast": own(body=transformer(), model='''\
class Judged(Model):
    def forward(self, tokens):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(tokens)
'''),
    "autocast_with_full_logits": own(body=transformer(), model='''\
class Judged(Model):
    def forward(self, tokens):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(tokens).float()
'''),
    "double_precision": own(
        model="class Judged(Model):\n    def forward(self, tokens):\n        return super().forward(tokens).double()\n"
    ),
    "answers_log_probabilities": own(
        model="class Judged(Model):\n    def forward(self, tokens):\n"
        "        return super().forward(tokens).log_softmax(-1)\n"
    ),
    "context_of_8": at_context(8, genomes.CLASS),
    "context_of_64": at_context(64, transformer()),
    "context_of_128": at_context(128, transformer()),
    "characters": characters,
    "label_smoothing": own(train=looped(
        "loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), label_smoothing=0.1); opt.zero_grad(); "
        "loss.backward(); opt.step()",
        begin="model = Model(); opt = torch.optim.AdamW(model.parameters(), lr=1e-2)",
    )),
    "momentum": own(train=looped(
        "loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten()); opt.zero_grad(); loss.backward(); opt.step()",
        begin="model = Model(); opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)",
    )),
    "accumulated_gradients": own(train=looped(
        "(F.cross_entropy(model(x).flatten(0, 1), y.flatten()) / 4).backward(); "
        "step % 4 == 3 and (opt.step(), opt.zero_grad())",
        begin="model = Model(); opt = torch.optim.Adam(model.parameters(), lr=1e-2)",
    )),
    "averaged_weights": own(train=looped(
        "learn(x, y); [a.lerp_(b.detach(), 0.1) for a, b in zip(mean.parameters(), model.parameters())]",
        begin="model, learn = beginning(run.seed); mean = Model().requires_grad_(False)",
        save="run.save(mean, {})",
    )),
    "large_batches": own(train=PLAIN.replace("16, 16", "160, 16") + "    run.save(model, {})\n"),
    "wide_batches": own(train=PLAIN.replace("16, 16", "4, 128") + "    run.save(model, {})\n"),
    "saves_on_its_way": own(train=looped(
        "run.report(step=step, loss=learn(x, y)); step % 30 == 29 and run.save(model, {'step': step})",
    )),
    "stops_early": own(train=looped(
        "run.report(step=step, loss=learn(x, y))\n        if step == 60:\n            break"
    )),
    "warms_up_and_validates": own(train='''\
def main(run):
    model, learn = beginning(run.seed)
    for x, y in run.warmup(16, 16):
        model(x)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        loss = learn(x, y)
        if step % 40 == 39:
            with torch.no_grad():
                losses = [F.cross_entropy(model(a).transpose(1, 2), b) for a, b in run.validation(16, 16)]
            run.report(step=step, validation=torch.stack(losses).mean())
    run.save(model, {})
'''),
    "quantised": own(
        train=looped(
            "learn(x, y)", save="from model import Judged; run.save(Judged().quantised(model), {})",
        ),
        model='''\
class Judged(nn.Module):
    """The weights in eight bits, each tensor with a scale."""

    def __init__(self):
        super().__init__()
        self.inner = Model()
        for name, weight in self.inner.named_parameters():
            self.register_buffer("q_" + name.replace(".", "_"), torch.zeros(weight.shape, dtype=torch.int8))
            self.register_buffer("s_" + name.replace(".", "_"), torch.ones(()))

    def quantised(self, model):
        for name, weight in model.named_parameters():
            scale = weight.detach().abs().max() / 127
            getattr(self, "s_" + name.replace(".", "_")).copy_(scale)
            getattr(self, "q_" + name.replace(".", "_")).copy_((weight.detach() / scale).round())
        return self

    def forward(self, tokens):
        known = {
            name: getattr(self, "q_" + name.replace(".", "_")) * getattr(self, "s_" + name.replace(".", "_"))
            for name, _ in self.inner.named_parameters()
        }
        return torch.func.functional_call(self.inner, known, (tokens,))
''',
    ),
}

# What they would change is not there, or is so already.
UNFIT = frozenset({"fused_attention", "fused_optimiser", "longer_memory", "no_bias", "shorter_memory"})
# Their tables are the size of a real model: for one as small as this they are more than the four times it may save.
LARGE = frozenset({"bigram_embedding", "trigram_embedding"})
OPERATED = sorted(set(CATALOGUE) - UNFIT - LARGE)
HONEST: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "built_in": built_in,
    **WRITTEN,
    **{f"operator_{name}": partial(operated, name) for name in OPERATED},
}
