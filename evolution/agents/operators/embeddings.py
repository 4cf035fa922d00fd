"""Operators on what a token is turned into before the first block, and on who may read it again."""

from dataclasses import dataclass
from random import Random

import libcst as cst

from evolution.agents.operators import blocks, tree
from evolution.agents.operators.operator import Operator

# Rows of the tables: a text of bytes uses a few thousand pairs, and many triples that are seen too rarely to matter.
BIGRAMS, TRIGRAMS = 4096, 8192

PAIRS = '''
def pairs(tokens, rows):
    """A row for each token and the one before it, by a hash. tokens: (B, T) -> (B, T)"""
    return (tokens + 36313 * {functional}.pad(tokens, (1, -1))) % rows
'''

TRIPLES = '''
def triples(tokens, rows):
    """A row for each token and the two before it, by a hash. tokens: (B, T) -> (B, T)"""
    before = {functional}.pad(tokens, (2, -1))
    return (tokens + 36313 * before[:, 1:] + 27191 * before[:, :-1]) % rows
'''


@dataclass(frozen=True)
class Entry:
    """Where tokens enter a stack of blocks, in a file that can be changed there."""

    stack: blocks.Stack
    tokens: str  # the argument of forward
    width: str  # of the stream, as the code writes it
    made: tree.Statement  # the line that makes the table of embeddings
    nn: str
    torch: str
    functional: str


def entry(module: cst.Module) -> Entry | None:
    stack, nn, torch = blocks.stack(module), tree.local(module, "torch.nn"), tree.local(module, "torch")
    functional = tree.local(module, "torch.nn.functional")
    start = tree.method(stack.owner, "__init__") if stack else None
    if stack is None or nn is None or torch is None or functional is None or start is None:
        return None
    tables, given = tree.calls(start, "Embedding"), list(stack.forward.params.params[1:])
    width = tree.positional(tables[0], 1, "embedding_dim") if tables else None
    made = tree.statement_of(start, tables[0]) if tables else None
    if width is None or made is None or not given:
        return None
    return Entry(stack, given[0].name.value, tree.code(width), made, nn, torch, functional)


def bigram_embedding(module: cst.Module, rng: Random) -> cst.Module | None:
    """What is added to the embeddings: one for each token together with the token before it."""
    return _with_table(module, "bigrams", BIGRAMS, "pairs", PAIRS)


def trigram_embedding(module: cst.Module, rng: Random) -> cst.Module | None:
    """What is added to the embeddings: one for each token together with the two before it."""
    return _with_table(module, "trigrams", TRIGRAMS, "triples", TRIPLES)


def _with_table(module: cst.Module, name: str, rows: int, row: str, source: str) -> cst.Module | None:
    """A table of embeddings called `name`, looked up at `row`, which `source` defines."""
    found = entry(module)
    if found is None or tree.mentions(module, name):
        return None
    x = found.stack.stream
    table = f"self.{name} = {found.nn}.Embedding({rows}, {found.width})\n"
    line = f"{x} = {x} + self.{name}({row}({found.tokens}, {rows}))\n"
    changed = tree.exchange(
        module, (found.made, tree.after(found.made, table)), (found.stack.loop, tree.before(found.stack.loop, line))
    )
    return tree.define(changed, source.format(functional=found.functional))


def embedding_shortcut(module: cst.Module, rng: Random) -> cst.Module | None:
    """Every block reads a learned share of the embeddings beside the stream."""
    found = entry(module)
    if found is None or tree.mentions(module, "shortcut"):
        return None
    x = found.stack.stream
    run = next(
        call for call in tree.walk(found.stack.loop.body) if isinstance(call, cst.Call)
        and call.args and tree.code(call.args[0].value) == x
    ) if _plain(found.stack) else None
    if run is None:
        return None
    weight = f"self.shortcut = {found.nn}.Parameter({found.torch}.zeros({found.width}))  # past the blocks\n"
    read = tree.expression(f"{x} + self.shortcut * embedded")
    return tree.exchange(
        module, (found.made, tree.after(found.made, weight)),
        (found.stack.loop, tree.before(
            _with(found.stack.loop, run.args[0].value, read), f"embedded = {x}\n",
        )),
    )


def _plain(stack: blocks.Stack) -> bool:
    """Whether a block of the loop is given the stream itself."""
    return any(
        isinstance(call, cst.Call) and call.args and tree.code(call.args[0].value) == stack.stream
        for call in tree.walk(stack.loop.body)
    )


def _with(loop: cst.For, old: cst.CSTNode, new: cst.CSTNode) -> tree.Statement:
    changed = tree.exchange(cst.Module([loop]), (old, new)).body[0]
    assert isinstance(changed, tree.Statement)  # noqa: S101 it is the loop
    return changed


def scaled_embeddings(module: cst.Module, rng: Random) -> cst.Module | None:
    """The stream is multiplied by the root of its width before the first block."""
    stack = blocks.stack(module)
    line = f"{stack.stream} = {stack.stream} * {stack.stream}.size(-1) ** 0.5\n" if stack else ""
    if stack is None or line.strip() in module.code:
        return None
    return tree.exchange(module, (stack.loop, tree.before(stack.loop, line)))


OPERATORS = (
    Operator(
        name="bigram_embedding",
        title="An embedding for each pair of tokens",
        hypothesis="Which token follows a pair of them is a matter of counting: a table of pairs learns it at once and "
        "leaves the blocks to what lies further back.",
        rationale="Huang et al., Over-Tokenized Transformer: Vocabulary is Generally Worth Scaling (2025): embeddings "
        "of n-grams on the way in, hashed where there are too many.",
        expected="Lower perplexity on bytes and characters; more weights but hardly more arithmetic, so MFU drops "
        "slightly.",
        apply=bigram_embedding,
    ),
    Operator(
        name="trigram_embedding",
        title="An embedding for each three tokens",
        hypothesis="Three letters say more of the next than two, and a table learns them without a block's help.",
        rationale="Huang et al., Over-Tokenized Transformer: Vocabulary is Generally Worth Scaling (2025), with "
        "embeddings of 1 to 3 tokens, hashed.",
        expected="Lower perplexity on bytes and characters; more weights but hardly more arithmetic, so MFU drops "
        "slightly.",
        apply=trigram_embedding,
    ),
    Operator(
        name="embedding_shortcut",
        title="Blocks read the embeddings again",
        hypothesis="What a token is gets lost among what blocks have added; each may look at it again.",
        rationale="Jordan et al., modded-nanogpt (2024): every block gets a learned mix of its input and the "
        "embeddings; here one mix for all blocks, which starts at none.",
        expected="Slightly lower perplexity; no visible effect on MFU.",
        apply=embedding_shortcut,
    ),
    Operator(
        name="scaled_embeddings",
        title="Embeddings times the root of the width",
        hypothesis="Embeddings drawn for an output layer are too small for a stream that blocks add to: a factor "
        "brings them to its size, and lets them move faster.",
        rationale="Vaswani et al., Attention Is All You Need (2017), section 3.4: the shared weights are multiplied by "
        "the root of the width on the way in.",
        expected="Lower perplexity on small budgets; MFU unchanged.",
        apply=scaled_embeddings,
    ),
)
