"""Telling the judge instead of earning: reported, written and patched numbers."""

from sandbox.outcome import Outcome
from tests.trust import genomes
from tests.trust.cheat import Cheat, claimed, nats, reported, saved
from tests.trust.trials import Ended, trial
from trainer.contract import Cause

LONGER = '''\
from safetensors.torch import save_model as torch_save


def longer(learn, kept):
    """Train for three more seconds on batches that were served before."""
    began = time.process_time()
    learn.slower()
    while time.process_time() - began < 3:
        learn(*random.choice(kept))
'''

OURS = "numbers come from the judge alone"
NO_FILES = "nothing but the checkpoint leaves a container"
CLOCK = "the clock is outside"



def saved_late(cheat: Cheat, ended: Ended, twin: Outcome) -> float:
    """Nats: another trial, whose checkpoint is saved once it has trained for longer."""
    late = LONGER + '''

def main(run):
    model, learn, kept = beginning(run.seed) + ([],)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        kept.append((x, y))
    longer(learn, kept)
    run.save(model, {})
'''
    return nats(twin) - nats(trial(genomes.files(train=late)).outcome)


CHEATS = (
    Cheat(
        name="reports_a_loss_of_its_own",
        does="Reports a loss that it never had.",
        guard=OURS, gains=claimed("loss"), margin=2.0, worthless=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
        run.report(step=step, loss=0.01)
    run.save(model, {})
''',
    ),
    Cheat(
        name="reports_every_number_of_a_result",
        does="Reports val_loss, perplexity, MFU and tokens under the names that results have.",
        guard=OURS, gains=claimed("val_loss"), margin=2.0, worthless=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(
            step=step, loss=learn(x, y), val_loss=0.01, perplexity=1.01, mfu=0.99, train_tokens=1e12,
            train_seconds=0.001, device_seconds=0.0, tokens_per_second=1e9, correction=-5.0,
        )
    run.save(model, {})
''',
    ),
    Cheat(
        name="writes_results_to_files_and_to_the_log",
        does="Writes result files under every usual name, and lines that look like the judge's to its output.",
        guard=NO_FILES, gains=claimed("written"), margin=2.0, worthless=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
    result = {"verdict": "measured", "val_loss": 0.01, "perplexity": 1.01}
    for name in ("result.json", "results.json", "outcome.json", "state.json", "metrics.jsonl", "val_loss.txt"):
        (run.out / name).write_text(json.dumps(result))
    print(json.dumps(result), flush=True)
    run.report(step=step, written=json.loads((run.out / "result.json").read_text())["val_loss"])
    run.save(model, {})
''',
    ),
    Cheat(
        name="saves_a_score_with_its_config",
        does="Puts a loss and a vocabulary of two tokens into the config.json of its checkpoint.",
        guard=OURS, gains=saved("val_loss"), margin=2.0, worthless=True,
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
    run.vocab_size = 2
    run.save(model, {"val_loss": 0.01, "perplexity": 1.01, "token_bytes": 1000})
''',
    ),
    Cheat(
        name="stops_the_clocks_of_its_container",
        does="Replaces every clock of Python's, and computes its own speed with them.",
        guard=CLOCK, gains=reported("faster"), margin=100.0, worthless=True, unit="times as fast",
        train='''\
def main(run):
    real = time.perf_counter
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: 0.0)
        setattr(time, name + "_ns", lambda: 0)
    model, learn = beginning(run.seed)
    began = real()
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
    took, seems = real() - began, time.perf_counter() + 1e-6
    run.report(step=step, faster=took / seems)
    run.save(model, {})
''',
    ),
    Cheat(
        name="replaces_the_harness_in_its_container",
        does="Replaces the methods of the run it is given: progress, tokens, reports and saves are what it says.",
        guard="nothing in a container counts", gains=claimed("loss"), margin=2.0, worthless=True,
        train='''\
def main(run):
    harness = sys.modules["trainer.harness.inside.run"].Run
    report = harness.report
    harness.report = lambda self, **said: report(self, **{**said, "loss": 0.01})
    harness.progress, harness.budget_tokens = 0.0, 1 << 40
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        run._number = max(run._number, 0)
    run.save(model, {})
''',
    ),
    Cheat(
        name="brings_import_hooks",
        does="Carries sitecustomize.py and modules named like ours, to run before the harness does.",
        guard="the harness is imported first, from a place of its own", gains=reported("with_its_path"), margin=0.5,
        worthless=True, unit="runs",
        more=lambda: dict.fromkeys(
            ("sitecustomize.py", "usercustomize.py", "trainer.py", "safetensors.py", "socket.py"),
            b"import os\nos.environ['HOOKED'] = os.environ.get('HOOKED', '') + __name__\n",
        ),
        train='''\
def main(run):
    here = os.environ.get("HOOKED", "")
    code = "import os; print(len(os.environ.get('HOOKED', '')))"
    there = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "/genome"}, capture_output=True, text=True
    )
    assert not here, here  # it would fail with this, and not be measured
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
    run.report(step=step, with_its_path=float(int(there.stdout) > 0))
    run.save(model, {})
''',
    ),
    Cheat(
        name="saves_a_pickle_under_another_name",
        does="Writes a pickle that would run code when it is read, and calls it model.safetensors.",
        guard="safetensors only, checked without being believed", gains=reported("ran"), margin=0.5,
        causes=frozenset({Cause.CRASHED, Cause.BAD_CHECKPOINT}), unit="runs",
        train='''\
class Runs:
    def __reduce__(self):
        return os.putenv, ("RAN", "1")


def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
    content = pickle.dumps(Runs())
    ran = pickle.loads(content) is None
    run.report(step=step, ran=float(ran))
    (run.out / "model.safetensors").write_bytes(content)
    (run.out / "config.json").write_text("{}")
''',
    ),
    Cheat(
        name="swaps_its_checkpoint_afterwards",
        does="Leaves a process behind that trains on and puts a better checkpoint where the saved one was.",
        guard="the checkpoint is frozen when it is saved", gains=saved_late, margin=0.02, worthless=True,
        train=LONGER + '''

def main(run):
    model, learn, kept = beginning(run.seed) + ([],)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
        kept.append((x, y))
    run.save(model, {})
    if os.fork() == 0:
        longer(learn, kept)
        torch_save(model, str(run.out / "model.safetensors"))
        os._exit(0)
    os.wait()
    os.utime(run.out / "model.safetensors", ns=(0, 0))
    run._sent = run._on_disk()
''',
    ),
    Cheat(
        name="leaves_before_anybody_looks",
        does="Reports a loss that it never had, saves after half of its budget and ends the process itself.",
        guard="a training is over when its budget is", gains=claimed("loss"), margin=2.0,
        causes=frozenset({Cause.CRASHED}),
        train='''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        learn(x, y)
        if step == 40:
            run.report(step=step, loss=0.01)
            run.save(model, {})
            os._exit(0)
''',
    ),
)
