"""Genomes that fail in every way the judge must survive, each with the cause that a person is told."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from unittest import mock

from sandbox import judging
from tests.trust import genomes
from trainer.contract import Cause
from trainer.harness.outside import judge
from trainer.harness.outside.judge import Asker

PATIENCE = 10.0  # instead of two minutes


@dataclass(frozen=True)
class Broken:
    """A genome that ends with `cause` and with `word` in its one sentence."""

    name: str
    cause: Cause
    word: str
    model: str = genomes.JUDGED
    train: str = genomes.MAIN
    alone: bool = False  # needs a container of its own
    while_it_runs: Callable[[], AbstractContextManager[None]] = nullcontext

    def made(self) -> Mapping[str, bytes]:
        return genomes.files(model=self.model, train=self.train)


@contextmanager
def impatient() -> Iterator[None]:
    """The judge waits for seconds instead of minutes."""
    with (
        mock.patch.object(judging, "LOAD_SECONDS", PATIENCE),
        mock.patch.dict(Asker.__init__.__kwdefaults__, seconds=PATIENCE),
        mock.patch.object(judge, "ANSWER_SECONDS", PATIENCE),
    ):
        yield


def loading(line: str) -> str:
    return f'''\
class Judged(Model):
    def to(self, device):
        {line}
        return super().to(device)
'''


def answering(line: str) -> str:
    return f'''\
class Judged(Model):
    def forward(self, tokens):
        logits = super().forward(tokens)
        {line}
'''


def training(line: str) -> str:
    return genomes.MAIN.replace("    run.save(model, {})\n", f"    {line}\n")


TABLE = (
    Broken("never_saves", Cause.NO_CHECKPOINT, "run.save", train=training("pass")),
    Broken("never_asks_for_text", Cause.NO_PROGRESS, "batch", train="def main(run):\n    pass\n"),
    Broken("raises_in_the_middle", Cause.CRASHED, "a step too far", train=training("raise OSError('a step too far')")),
    Broken("exits_in_the_middle", Cause.CRASHED, "code 3", train=training("os._exit(3)")),
    Broken("exits_well_before_it_is_done", Cause.CRASHED, "before it was done", train=training(
        "run.save(model, {}); os._exit(0)"
    )),
    Broken("exits_while_it_saves", Cause.CRASHED, "before it was done", train=training(
        "(run.out / 'model.safetensors').write_bytes(b'half'); os._exit(0)"
    )),
    Broken("saves_nothing_but_a_number_that_is_none", Cause.BAD_LOGITS, "finite", train=training(
        "[weight.data.fill_(float('nan')) for weight in model.parameters()]; run.save(model, {})"
    )),
    Broken("diverges", Cause.DIVERGED, "loss", train=training(
        "run.report(step=step + 1, loss=float('nan')); run.save(model, {})"
    )),
    Broken("says_that_its_checkpoint_has_ten_gigabytes", Cause.BAD_CHECKPOINT, "bytes", train=training(
        "asked = {'op': 'save', 'save': 0, 'file': 'model.safetensors', 'size': 10 << 30, 'offset': 0}; "
        "run._line.ask(asked, b'x')"
    )),
    Broken("writes_a_checkpoint_of_ten_gigabytes", Cause.CRASHED, "", alone=True, train=training(
        "os.truncate(os.open(run.out / 'model.safetensors', os.O_CREAT | os.O_WRONLY), 10 << 30); "
        "(run.out / 'config.json').write_text('{}')"
    )),
    Broken("saves_a_header_that_is_a_bomb", Cause.CRASHED, "refused", train=training(
        "(run.out / 'config.json').write_text('{}'); "
        "(run.out / 'model.safetensors').write_bytes((1 << 62).to_bytes(8, 'little') + b'{' * 4000)"
    )),
    Broken("raises_in_load", Cause.LOAD_FAILED, "nothing to load", model=loading("raise OSError('nothing to load')")),
    Broken("exits_in_load", Cause.LOAD_FAILED, "", model=loading("os._exit(0)")),
    Broken(
        "hangs_in_load", Cause.LOAD_FAILED, "longer than", model=loading("time.sleep(999)"), while_it_runs=impatient,
    ),
    Broken(
        "prints_for_ever_in_load", Cause.LOAD_FAILED, "longer than", alone=True, while_it_runs=impatient,
        model=loading("while True: os.write(1, b'x' * 65536)"),
    ),
    Broken("loads_no_module", Cause.LOAD_FAILED, "torch.nn.Module", model=(
        "class Judged(Model):\n    def to(self, device):\n        return 'a model'\n"
    )),
    Broken("raises_in_forward", Cause.BAD_LOGITS, "no such row", model=answering("raise IndexError('no such row')")),
    Broken("exits_in_forward", Cause.BAD_LOGITS, "in the middle", model=answering("os._exit(0)")),
    Broken(
        "hangs_in_forward", Cause.OUT_OF_TIME, "to answer", model=answering("time.sleep(999)"), while_it_runs=impatient,
    ),
    Broken("answers_too_few_tokens", Cause.BAD_LOGITS, "logits for 100 tokens", model=answering(
        "return logits[..., :100]"
    )),
    Broken("answers_the_last_position_only", Cause.BAD_LOGITS, "[B, T, V]", model=answering("return logits[:, -1:]")),
    Broken("answers_two_dimensions", Cause.BAD_LOGITS, "[B, T, V]", model=answering("return logits.flatten(0, 1)")),
    Broken("answers_whole_numbers", Cause.BAD_LOGITS, "floating-point", model=answering("return logits.long()")),
    Broken("answers_a_pair", Cause.BAD_LOGITS, "tuple", model=answering("return logits, None")),
    Broken("answers_a_million_columns", Cause.BAD_LOGITS, "", model=answering(
        "return logits[:, :, :1].expand(-1, -1, 1 << 20)"
    )),
    Broken("knows_one_length_only", Cause.BAD_LOGITS, "AssertionError", model=answering(
        "assert tokens.shape[1] == 16; return logits"
    )),
)
BROKEN = {one.name: one for one in TABLE}
