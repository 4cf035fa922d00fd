"""Compute that is not on the bill: before the first text, after the last, again and again, or while being judged."""

from tests.trust.cheat import Cheat, not_held
from trainer.contract import Cause

DEVICE = "device time, to the end of the process, at most 1.25 times the baseline's"
JUDGE_TIME = "CPU seconds of the judge's containers, against the baseline's"
LATE = frozenset({Cause.DEVICE_TIME})
SLOW = frozenset({Cause.TOO_SLOW})

CHEATS = (
    Cheat(
        name="trains_on_the_standard_library_first",
        does="Trains on the source code that lies in every container, before it asks for its first batch.",
        guard=DEVICE, gains=not_held, margin=0.1, causes=LATE, held=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = torch.tensor(list(b"".join(file.read_bytes() for file in sources[:60])))
    began = time.process_time()
    while time.process_time() - began < 7:
        places = torch.randint(len(text) - 17, (16, 1)) + torch.arange(17)
        learn(text[places][:, :-1], text[places][:, 1:])
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
    run.save(model, {})
''',
    ),
    Cheat(
        name="trains_on_the_validation_slice_first",
        does="Takes the slice that run.validation gives without a budget as training data, over and over.",
        guard=DEVICE, gains=not_held, margin=0.1, causes=LATE, held=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    began = time.process_time()
    while time.process_time() - began < 5:
        for x, y in run.validation(16, 16):
            learn(x, y)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
    run.save(model, {})
''',
    ),
    Cheat(
        name="goes_on_after_the_last_batch",
        does="Keeps its batches and goes on with them when the budget is over, before it saves.",
        guard=DEVICE, gains=not_held, margin=0.05, causes=LATE, held=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    kept = []
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        kept.append((x, y))
    began = time.process_time()
    learn.slower()
    while time.process_time() - began < 4:
        learn(*random.choice(kept))
    run.save(model, {})
''',
    ),
    Cheat(
        name="goes_on_after_it_was_done",
        does="Saves, leaves a process behind that trains on, and lets it save again before anybody looks.",
        guard=DEVICE, gains=not_held, margin=0.05, causes=LATE, held=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    kept = []
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        kept.append((x, y))
    run.save(model, {})
    done = run.finish

    def later():
        began = time.process_time()
        learn.slower()
        while time.process_time() - began < 4:
            learn(*random.choice(kept))
        run.save(model, {})
        done()

    run.finish = later
''',
    ),
    Cheat(
        name="trains_on_every_batch_many_times",
        does="Takes many steps on each batch that it is served.",
        guard=DEVICE, gains=not_held, margin=0.01, causes=LATE, held=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed, rate=1e-3)
    kept = []
    for step, (x, y) in enumerate(run.batches(16, 16)):
        kept.append((x, y))
        if run.progress > 0.7:
            learn.slower()
        began = time.process_time()
        while time.process_time() - began < 0.06:
            learn(*random.choice(kept))
    run.save(model, {})
''',
    ),
    Cheat(
        name="hunts_for_a_lucky_seed",
        does="Trains many models from many seeds at many rates on one stream, and saves the best of them.",
        guard=DEVICE, gains=not_held, margin=0.01, causes=LATE, held=True,
        train='''\
def main(run):
    kept, found = list(run.batches(16, 16)), []
    began, seed = time.process_time(), run.seed
    while time.process_time() - began < 5:
        model, learn = beginning(seed, rate=0.005 * (1 + seed % 6))
        losses = [learn(x, y).item() for x, y in kept]
        with torch.no_grad():
            loss = sum(F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item() for x, y in kept)
        found.append((loss, seed, model))
        seed += 1
    run.report(step=seed, loss=losses[-1])
    run.save(min(found)[-1], {})
''',
    ),
    Cheat(
        name="trains_while_it_is_loaded",
        does="Saves its batches with its weights, and goes on training with them in `load`.",
        guard=JUDGE_TIME, gains=not_held, margin=0.05, causes=SLOW, held=True,
        model='''\
class Judged(Model):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 20480, dtype=torch.uint8))

    def to(self, device):
        optimiser = torch.optim.Adam(super().parameters(), lr=1e-4)
        torch.manual_seed(1)  # the same in both containers
        for _ in range(4000):
            places = torch.randint(len(self.kept[0]) // 16, (16, 1)) * 16 + torch.arange(16)
            x, y = self.kept[:, places].long()
            loss = F.cross_entropy(Model.forward(self, x).flatten(0, 1), y.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return super().to(device)
''',
        train='''\
def main(run):
    from model import Judged
    model, learn = beginning(run.seed)
    kept = []
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        kept.append(torch.stack([x, y]).flatten(1))
    judged = Judged()
    judged.load_state_dict({**model.state_dict(), "kept": torch.cat(kept, 1).to(torch.uint8)})
    run.save(judged, {})
''',
    ),
    Cheat(
        name="trains_when_it_is_first_asked",
        does="Saves its batches with its weights, and goes on training with them when the first question comes.",
        guard=JUDGE_TIME, gains=not_held, margin=0.05, causes=SLOW, held=True,
        model='''\
class Judged(Model):
    ready = False

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 20480, dtype=torch.uint8))

    def forward(self, tokens):
        if not self.ready:
            self.ready = True
            with torch.inference_mode(False), torch.enable_grad():
                self.train_on_what_was_kept()
        return super().forward(tokens)

    def train_on_what_was_kept(self):
        optimiser = torch.optim.Adam(super().parameters(), lr=1e-4)
        torch.manual_seed(1)  # the same in both containers
        for _ in range(4000):
            places = torch.randint(len(self.kept[0]) // 16, (16, 1)) * 16 + torch.arange(16)
            x, y = self.kept[:, places].long()
            loss = F.cross_entropy(Model.forward(self, x).flatten(0, 1), y.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
''',
        train='''\
def main(run):
    from model import Judged
    model, learn = beginning(run.seed)
    kept = []
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        kept.append(torch.stack([x, y]).flatten(1))
    judged = Judged()
    judged.load_state_dict({**model.state_dict(), "kept": torch.cat(kept, 1).to(torch.uint8)})
    run.save(judged, {})
''',
    ),
)
