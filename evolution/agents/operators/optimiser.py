"""Operators on the rule that turns gradients into steps."""

import re
from collections.abc import Sequence
from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Operator

MUON = '''
class Muon({torch}.optim.AdamW):
    """AdamW, except that matrices inside the blocks take orthogonalised steps (Jordan et al. 2024).

    Their learning rate is 20 times that of AdamW: 0.02 where AdamW takes 1e-3. Their direction turns slowly, and
    finding it is what costs, so it is kept for some steps.
    """

    def __init__(self, parameters, *, model, momentum=0.95, stretch=20.0, refresh=2, **settings):
        super().__init__(parameters, **settings)
        stacks = [part for part in model.modules() if isinstance(part, ({nn}.ModuleList, {nn}.Sequential))]
        self.matrices = {{p for stack in stacks for p in stack.parameters() if p.ndim == 2}}
        self.momentum, self.stretch, self.refresh = momentum, stretch, refresh

    @{torch}.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p in self.matrices:
                    self.step_matrix(p, group["lr"], group["weight_decay"])
                    p.grad = None  # so that AdamW leaves it alone
        return super().step(closure)

    def step_matrix(self, p, lr, weight_decay):
        state = self.state[p]
        if not state:
            state["momentum"], state["age"] = {torch}.zeros_like(p), 0
        state["momentum"].lerp_(p.grad, 1 - self.momentum)
        if state["age"] % self.refresh == 0:
            state["update"] = orthogonal(p.grad.lerp(state["momentum"], self.momentum))
        state["age"] += 1
        rate = self.stretch * lr * max(1, p.size(0) / p.size(1)) ** 0.5
        p.mul_(1 - lr * weight_decay).add_(state["update"], alpha=-rate)
'''

ORTHOGONAL = '''
def orthogonal(matrix, steps=3):
    """The nearest matrix whose singular values are about 1: a quintic Newton-Schulz iteration.

    It runs on x @ x.T, which is smaller than x, and is applied to x once at the end.
    """
    x = (matrix.T if matrix.size(0) > matrix.size(1) else matrix).float()
    x = x / (x.norm() + 1e-7)
    gram, product = x @ x.T, None
    for step in range(steps):
        factor = {torch}.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        factor.diagonal().add_(3.4445)
        product = factor if product is None else factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor
    x = product @ x
    return (x.T if matrix.size(0) > matrix.size(1) else x).to(matrix.dtype)
'''

LION = '''
class Lion({torch}.optim.Optimizer):
    """Steps of one size in the direction of the momentum's sign (Chen et al. 2023, algorithm 2).

    Its steps are larger than AdamW's, so it takes half the learning rate and twice the weight decay.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(parameters, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @{torch}.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, decay, (beta1, beta2) = group["lr"] / 2, group["lr"] * group["weight_decay"], group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                if p not in self.state:
                    self.state[p]["momentum"] = {torch}.zeros_like(p)
                momentum = self.state[p]["momentum"]
                p.mul_(1 - decay).add_(momentum.lerp(p.grad, 1 - beta1).sign_(), alpha=-lr)
                momentum.lerp_(p.grad, 1 - beta2)
'''


CAUTIOUS = '''
class Cautious({torch}.optim.AdamW):
    """AdamW whose steps leave out what points against the present gradient (Liang et al. 2024)."""

    @{torch}.no_grad()
    def step(self, closure=None):
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [p.clone() for p in moved]
        result = super().step(closure)
        for p, old in zip(moved, before):
            step = p - old
            agrees = step * p.grad < 0
            p.copy_(old + step * agrees * (agrees.numel() / (agrees.sum() + 1)))
        return result
'''


def muon(module: cst.Module, rng: Random) -> cst.Module | None:
    """AdamW becomes Muon for the matrices inside the blocks and stays AdamW for the rest."""
    found, torch, nn = _adamw(module), tree.local(module, "torch"), tree.local(module, "torch.nn")
    if found is None or torch is None or nn is None:
        return None
    model = _model(module, found)
    if not model:
        return None
    first, *rest = found.args
    given = cst.ensure_type(tree.expression(f"f(model={model}, x=x)"), cst.Call).args[0]
    arguments = [first, given, *rest] if rest else [*tree.with_argument(found, f"model={model}").args]
    new = found.with_changes(func=cst.Name("Muon"), args=arguments)
    changed = tree.define(tree.exchange(module, (found, new)), ORTHOGONAL.format(torch=torch))
    return tree.define(changed, MUON.format(torch=torch, nn=nn))


def _adamw(module: cst.Module) -> cst.Call | None:
    """The first place where AdamW is built for some parameters."""
    return next((call for call in tree.calls(module, "AdamW") if call.args and call.args[0].keyword is None), None)


def _model(module: cst.Module, call: cst.Call) -> str:
    """What the function around `call` calls the model: the thing whose parameters() it asks for."""
    around = [node for node in tree.walk(module) if isinstance(node, cst.FunctionDef) and tree.holds(node, call)]
    for asked in tree.calls(around[-1] if around else module, "named_parameters", "parameters"):
        if isinstance(asked.func, cst.Attribute) and tree.dotted(asked.func.value):
            return tree.dotted(asked.func.value)
    return ""


def lion(module: cst.Module, rng: Random) -> cst.Module | None:
    """AdamW becomes Lion."""
    found, torch = _adamw(module), tree.local(module, "torch")
    if found is None or torch is None:
        return None
    known, last = ("lr", "betas", "weight_decay"), found.args[-1]
    kept = [a for a in found.args if not a.star and (a.keyword is None or a.keyword.value in known)]
    kept[-1] = kept[-1].with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    changed = tree.exchange(module, (found, found.with_changes(func=cst.Name("Lion"), args=kept)))
    return tree.define(changed, LION.format(torch=torch))


def cautious(module: cst.Module, rng: Random) -> cst.Module | None:
    """AdamW leaves out the parts of a step that the gradient of now disagrees with."""
    found, torch = _adamw(module), tree.local(module, "torch")
    if found is None or torch is None or re.search(r"class \w+\([\w.]*AdamW\)", module.code):
        return None
    changed = tree.exchange(module, (found, found.with_changes(func=cst.Name("Cautious"))))
    return tree.define(changed, CAUTIOUS.format(torch=torch))


def nadam(module: cst.Module, rng: Random) -> cst.Module | None:
    """AdamW becomes NAdam with the same decoupled weight decay."""
    found = _adamw(module)
    known = ("lr", "betas", "eps", "weight_decay", "foreach", "fused")
    if found is None or any(a.star or (a.keyword is not None and a.keyword.value not in known) for a in found.args):
        return None
    func = tree.expression(tree.code(found.func).replace("AdamW", "NAdam"))
    if not isinstance(func, cst.Attribute):
        return None  # imported by its own name
    last = found.args[-1]
    kept = [a for a in found.args if a.keyword is None or a.keyword.value != "fused"]  # NAdam has no such kernel
    kept[-1] = kept[-1].with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    new = found.with_changes(func=func, args=kept)
    return tree.exchange(module, (found, tree.with_argument(new, "decoupled_weight_decay=True")))


def undecayed_embeddings(module: cst.Module, rng: Random) -> cst.Module | None:
    """Where matrices decay and the rest does not, embeddings join the rest."""
    nn = tree.local(module, "torch.nn")
    if nn is None or tree.mentions(module, "embeddings"):
        return None
    for function in (node for node in tree.walk(module) if isinstance(node, cst.FunctionDef)):
        tests = [node for node in tree.walk(function) if isinstance(node, cst.Comparison) and _by_dimensions(node)]
        asked = tree.calls(function, "parameters", "named_parameters")
        models = [tree.dotted(call.func.value) for call in asked if isinstance(call.func, cst.Attribute)]
        if len(tests) != 2 or not any(models):
            continue
        first = next(one for one in function.body.body if any(tree.holds(one, call) for call in [*asked, *tests]))
        assert isinstance(first, tree.Statement)  # noqa: S101 the body of a function that has such lines
        line = f"embeddings = {{part.weight for part in {models[0]}.modules() if isinstance(part, {nn}.Embedding)}}\n"
        pairs = [(node, tree.expression(_but_embeddings(node))) for node in tests]
        return tree.exchange(module, *pairs, (first, tree.before(_changed(first, pairs), line)))
    return None


def _by_dimensions(node: cst.Comparison) -> bool:
    return bool(re.fullmatch(r"\w+\.(dim\(\)|ndim) (>=|<) 2", tree.code(node)))


def _but_embeddings(node: cst.Comparison) -> str:
    code = tree.code(node)
    name = code.partition(".")[0]
    return f"({code} and {name} not in embeddings)" if ">=" in code else f"({code} or {name} in embeddings)"


def _changed(
    statement: tree.Statement, pairs: Sequence[tuple[cst.CSTNode, cst.CSTNode]]
) -> tree.Statement:
    """`statement` with those of `pairs` exchanged that are in it."""
    inside = cst.Module([statement])
    changed = tree.exchange(inside, *(pair for pair in pairs if tree.holds(statement, pair[0]))).body[0]
    assert isinstance(changed, tree.Statement)  # noqa: S101 an expression in it was exchanged
    return changed


def fused_optimiser(module: cst.Module, rng: Random) -> cst.Module | None:
    """AdamW updates all its weights in one kernel."""
    found = _adamw(module)
    if found is None or any(a.star for a in found.args) or tree.positional(found, 99, "fused") is not None:
        return None
    return tree.exchange(module, (found, tree.with_argument(found, "fused=True")))


OPERATORS = (
    Operator(
        name="muon",
        title="Muon for the matrices in the blocks",
        hypothesis="Steps whose singular values are all alike learn rare directions as fast as common ones.",
        rationale="Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024), with its learning "
        "rate of 0.02; Liu et al., Muon is Scalable for LLM Training (2025), found it twice as efficient as AdamW. "
        "Here the direction is found anew at every second step, and by three rounds of the iteration instead of five: "
        "it costs a third, and most of the gain stays.",
        expected="Much lower perplexity at equal tokens; finding the direction costs about an eighth of the time of a "
        "small model on a CPU, so MFU drops.",
        apply=muon,
    ),
    Operator(
        name="lion",
        title="Lion instead of AdamW",
        hypothesis="The sign of the momentum is enough of a direction, and needs no second moment.",
        rationale="Chen et al., Symbolic Discovery of Optimization Algorithms (2023), algorithm 2 and section 5 for "
        "the scale of its settings.",
        expected="Perplexity about the same; one moment less to keep and update, so MFU slightly higher.",
        apply=lion,
    ),
    Operator(
        name="cautious",
        title="Steps that agree with the gradient",
        hypothesis="Momentum that points against the gradient of now undoes what it has just learned.",
        rationale="Liang et al., Cautious Optimizers: Improving Training with One Line of Code (2024), algorithm 1.",
        expected="Slightly lower perplexity; three passes over the weights more for each step, so MFU lower.",
        apply=cautious,
    ),
    Operator(
        name="nadam",
        title="Nesterov momentum in Adam",
        hypothesis="Looking one step ahead along the momentum corrects it before it overshoots.",
        rationale="Dozat, Incorporating Nesterov Momentum into Adam (2016), with decoupled weight decay as in AdamW.",
        expected="Perplexity the same or slightly lower; MFU unchanged.",
        apply=nadam,
    ),
    Operator(
        name="undecayed_embeddings",
        title="No weight decay on embeddings",
        hypothesis="A rare token is seen seldom and decays all the time: without decay it keeps what it learned.",
        rationale="Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019), decay apart from the gradient; "
        "OLMo Team, 2 OLMo 2 Furious (2024), section 3: embeddings are left out of it.",
        expected="Perplexity about the same on short budgets; MFU unchanged.",
        apply=undecayed_embeddings,
    ),
    Operator(
        name="fused_optimiser",
        title="Fused AdamW",
        hypothesis="Updating all weights in one kernel saves a pass over memory for each of them.",
        rationale="PyTorch documentation of torch.optim.AdamW: fused implementations are the fastest; the arithmetic "
        "is the same.",
        expected="Perplexity unchanged; MFU higher, most of all for small models and small batches.",
        apply=fused_optimiser,
    ),
)
