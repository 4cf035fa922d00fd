"""Operators on well-known settings: numbers and switches with a direction that the literature argues for."""

import re
from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.numbers import KNOBS, Turn, turned
from evolution.agents.operators.operator import Operator

BETA2 = r"_?(adam_?)?beta_?2"
BETAS = r"_?(adam_?)?betas"


def higher_learning_rate(module: cst.Module, rng: Random) -> cst.Module | None:
    """Twice the learning rate, as long as it stays at 4e-3 or below."""
    return turned(module, KNOBS["learning_rate"].pattern, lambda rate: rate * 2 if rate <= 2e-3 else None)


def lower_learning_rate(module: cst.Module, rng: Random) -> cst.Module | None:
    """Half the learning rate, as long as it stays at 3e-4 or above."""
    return turned(module, KNOBS["learning_rate"].pattern, lambda rate: rate / 2 if 6e-4 <= rate < 0.1 else None)


def smaller_batch(module: cst.Module, rng: Random) -> cst.Module | None:
    """Two thirds of the batch, a multiple of 8 when it is large, so half as many steps more from the same tokens."""

    def turn(size: float) -> float | None:
        if size < 6:
            return None
        return float(round(size / 12) * 8 if size >= 48 else round(size * 2 / 3))

    return turned(module, KNOBS["batch_size"].pattern, turn)


def shorter_warmup(module: cst.Module, rng: Random) -> cst.Module | None:
    """Half the warm-up, whether it is counted in steps or as a share of the budget."""

    def turn(length: float) -> float | None:
        if length >= 2:
            return float(round(length / 2))
        return length / 2 if length >= 0.02 and length != int(length) else None

    return turned(module, KNOBS["warmup"].pattern, turn)


def no_weight_decay(module: cst.Module, rng: Random) -> cst.Module | None:
    """Weight decay off."""
    return turned(module, KNOBS["weight_decay"].pattern, lambda decay: 0.0 if decay > 0 else None)


def larger_init(module: cst.Module, rng: Random) -> cst.Module | None:
    """An initial deviation of 0.02 becomes 0.04."""
    return turned(module, KNOBS["init_std"].pattern, lambda deviation: 0.04 if deviation == 0.02 else None)


def no_dropout(module: cst.Module, rng: Random) -> cst.Module | None:
    """Dropout off."""
    return turned(module, r"_?(\w+_)?(dropout|drop)(_p|_rate)?", lambda share: 0.0 if share > 0 else None)


def shorter_memory(module: cst.Module, rng: Random) -> cst.Module | None:
    """beta2 = 0.95: the second moment remembers 20 steps."""
    return _beta2(module, lambda beta: 0.95 if 0.95 < beta < 1 else None)


def longer_memory(module: cst.Module, rng: Random) -> cst.Module | None:
    """beta2 = 0.99: the second moment remembers 100 steps."""
    return _beta2(module, lambda beta: 0.99 if 0.8 <= beta < 0.99 else None)


def decay_to_zero(module: cst.Module, rng: Random) -> cst.Module | None:
    """The learning rate ends at zero."""
    return turned(module, r"_?(min_|final_)(learning_rate|lr)", lambda rate: 0.0 if rate > 0 else None)


def fewer_heads(module: cst.Module, rng: Random) -> cst.Module | None:
    """Half as many heads, each twice as wide."""
    return turned(module, r"_?(n_|num_)?heads?", lambda count: count / 2 if count >= 4 and count % 2 == 0 else None)


def _beta2(module: cst.Module, turn: Turn) -> cst.Module | None:
    """Turn beta2, whether it stands by itself or as the second of `betas`."""
    pairs = [
        (second, tree.expression(str(new)))
        for second in _second_betas(module) if (new := turn(float(second.evaluated_value))) is not None
    ]
    changed = tree.exchange(module, *pairs)
    return turned(changed, BETA2, turn) or (changed if pairs else None)


def _second_betas(module: cst.Module) -> list[cst.Float]:
    found = []
    for node in tree.walk(module):
        name, value = "", None
        if isinstance(node, cst.Arg) and node.keyword is not None:
            name, value = node.keyword.value, node.value
        elif pair := tree.assignment(node):
            name, value = tree.dotted(pair[0]), pair[1]
        if re.fullmatch(BETAS, name, re.IGNORECASE) and isinstance(value, cst.Tuple) and len(value.elements) == 2:
            second = value.elements[1].value
            found += [second] if isinstance(second, cst.Float) else []
    return found


OPERATORS = (
    Operator(
        name="higher_learning_rate",
        title="Twice the learning rate",
        hypothesis="On a short budget the steps are too small to get far: larger ones do.",
        rationale="Kaplan et al., Scaling Laws for Neural Language Models (2020), appendix D.6: small models take, and "
        "want, higher rates.",
        expected="Lower perplexity if training stays stable; MFU unchanged.",
        apply=higher_learning_rate,
    ),
    Operator(
        name="lower_learning_rate",
        title="Half the learning rate",
        hypothesis="The steps are so large that training bounces instead of settling.",
        rationale="Kaplan et al., Scaling Laws for Neural Language Models (2020), appendix D.6: the best rate falls as "
        "models grow.",
        expected="Lower perplexity if the loss is noisy now, higher if it is not; MFU unchanged.",
        apply=lower_learning_rate,
    ),
    Operator(
        name="smaller_batch",
        title="Two thirds of the batch, more steps",
        hypothesis="Below the critical batch size more steps on less text each learn more from the same tokens.",
        rationale="McCandlish et al., An Empirical Model of Large-Batch Training (2018): the critical size is small "
        "early in training.",
        expected="Lower perplexity at equal tokens; MFU drops, because each step has less work to share its overhead.",
        apply=smaller_batch,
    ),
    Operator(
        name="shorter_warmup",
        title="Half the warm-up",
        hypothesis="On a short budget warm-up is time lost once the optimiser has seen a few steps.",
        rationale="Ma & Yarats, On the Adequacy of Untuned Warmup for Adaptive Optimization (2019): about 2 / (1 - "
        "beta2) steps are enough.",
        expected="Slightly lower perplexity; MFU unchanged.",
        apply=shorter_warmup,
    ),
    Operator(
        name="no_weight_decay",
        title="No weight decay",
        hypothesis="A text seen once cannot be learned by heart, so there is nothing for decay to prevent.",
        rationale="Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019): decay is a regulariser, and the "
        "best amount depends on the length of training.",
        expected="Perplexity about the same on short budgets; MFU unchanged.",
        apply=no_weight_decay,
    ),
    Operator(
        name="larger_init",
        title="Initial weights twice as large",
        hypothesis="0.02 suits a width of about 2,500; narrower layers want larger weights for signals of unit size.",
        rationale="Glorot & Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks (2010), "
        "equation 12: the deviation falls with the root of the width.",
        expected="Lower perplexity early in training for narrow models; MFU unchanged.",
        apply=larger_init,
    ),
    Operator(
        name="no_dropout",
        title="No dropout",
        hypothesis="In a single pass over the text there is nothing to regularise, and dropout only slows learning.",
        rationale="Geiping & Goldstein, Cramming: Training a Language Model on a Single GPU in One Day (2022): dropout "
        "is off, because no text is seen twice.",
        expected="Lower perplexity on short budgets; MFU slightly higher.",
        apply=no_dropout,
    ),
    Operator(
        name="shorter_memory",
        title="beta2 = 0.95",
        hypothesis="A second moment that forgets faster follows the gradients of a short training better.",
        rationale="Brown et al., Language Models are Few-Shot Learners (2020), appendix B: beta2 = 0.95, and most "
        "since.",
        expected="Slightly lower perplexity with large batches; MFU unchanged.",
        apply=shorter_memory,
    ),
    Operator(
        name="longer_memory",
        title="beta2 = 0.99",
        hypothesis="With few tokens in a batch gradients are noisy, and a longer memory steadies the size of steps.",
        rationale="Karpathy, nanoGPT (2022), configuration for characters: a bit bigger because the number of tokens "
        "per step is small.",
        expected="Slightly lower perplexity with small batches; MFU unchanged.",
        apply=longer_memory,
    ),
    Operator(
        name="decay_to_zero",
        title="Learning rate falls to zero",
        hypothesis="What is left of the rate at the end is noise that the last steps add.",
        rationale="Bergsma et al., Straight to Zero (2025): a rate that ends at zero beats one that ends at a tenth.",
        expected="Slightly lower perplexity; MFU unchanged.",
        apply=decay_to_zero,
    ),
    Operator(
        name="fewer_heads",
        title="Half as many heads, twice as wide",
        hypothesis="In a narrow model heads of 32 numbers tell positions apart badly: fewer and wider ones see more.",
        rationale="Michel et al., Are Sixteen Heads Really Better than One? (2019); Kaplan et al. (2020), section 3.1: "
        "the shape matters little at the same size.",
        expected="Perplexity about the same; MFU higher, because the products in attention are larger.",
        apply=fewer_heads,
    ),
)
