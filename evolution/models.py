"""What a population is made of. Fields and questions only: the verbs that write are in their own files."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models


class Status(models.TextChoices):
    """Where a variant is on its road. Each is the inbox of the next station."""

    DRAFTED = "drafted", "waiting for its first checks"
    SCREENED = "screened", "waiting for a few steps in the sandbox"
    CHECKED = "checked", "checked, on its way to review"
    IN_REVIEW = "in_review", "waiting for a person"
    APPROVED = "approved", "waiting for a sandbox"
    TRAINING = "training", "running in a sandbox"
    MEASURED = "measured", "judged, waiting for selection"
    SURVIVED = "survived", "kept by selection"
    CULLED = "culled", "measured, not kept"
    DUPLICATE = "duplicate", "the same code as an earlier variant"
    STILLBORN = "stillborn", "failed the checks before review"
    VETOED = "vetoed", "turned down by a reviewer"
    SUPERSEDED = "superseded", "replaced by a reviewer's edit"
    CANCELLED = "cancelled", "called off"
    FAILED = "failed", "failed in the sandbox by its own fault"
    REJECTED = "rejected", "refused by the judge"


class ExperimentStatus(models.TextChoices):
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    FINISHED = "finished", "finished"
    STOPPED = "stopped", "stopped"
    FAILED = "failed", "failed"


class ReviewMode(models.TextChoices):
    HUMAN = "human", "a person decides on every proposal"
    AUTO = "auto", "every proposal that passes the checks is trained"
    POLICY = "policy", "what looks harmless is trained, the rest waits for a person"


class Selection(models.TextChoices):
    TOURNAMENT = "tournament", "tournament"
    ROULETTE = "roulette", "fitness-proportional (the paper's), on perplexity"
    ROULETTE_MFU = "roulette_mfu", "fitness-proportional (the paper's), on MFU alone"
    ROULETTE_ALL = "roulette_all", "fitness-proportional (the paper's), on perplexity and MFU"
    PARETO = "pareto", "perplexity and MFU, front by front"


class Kind(models.TextChoices):
    """How a variant came to be."""

    BASELINE = "baseline", "baseline"
    MUTATION = "mutation", "mutation"
    CROSSOVER = "crossover", "crossover"
    EDIT = "edit", "reviewer's edit"
    PATCH = "patch", "a person's patch"
    REPAIR = "repair", "repair"


class Mode(models.TextChoices):
    """How an agent is asked to write its change."""

    OPERATORS = "operators", "built-in operators"
    EDITS = "edits", "search/replace edits"
    DIFF = "diff", "a unified diff"
    FILE = "file", "whole files"
    CHUNKS = "chunks", "functions and classes, each with a probability (the paper's)"


class MemoryMode(models.TextChoices):
    """What of the memory an agent's brief holds: the switch for ablations."""

    ON = "on", "everything that may be recalled"
    FROZEN = "frozen", "what was known when it was frozen"
    OFF = "off", "nothing is recalled"


class Pace(models.TextChoices):
    GENERATIONS = "generations", "generation by generation"
    STEADY = "steady", "steady: a free place is filled at once, nobody waits for the slowest"


class Role(models.TextChoices):
    VIEWER = "viewer", "may look"
    REVIEWER = "reviewer", "may decide"
    OWNER = "owner", "may do everything"


class Experiment(models.Model):
    """One evolution campaign: a starting genome, data, objective, budget, agents and a review policy."""

    slug = models.SlugField(unique=True, max_length=60)
    name = models.CharField(max_length=80)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    status = models.CharField(max_length=12, choices=ExperimentStatus, default=ExperimentStatus.RUNNING)
    reason = models.TextField(blank=True)  # why it is paused, stopped or failed
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    genome = models.CharField(max_length=500)  # "builtin", or the directory it was read from
    genome_sha256 = models.CharField(max_length=64, blank=True)
    data = models.CharField(max_length=500)  # "builtin", or the file it was read from
    data_sha256 = models.CharField(max_length=64, blank=True)
    agent = models.CharField(max_length=500, default="builtin")  # builtin, openai or replay:FILE
    review = models.CharField(max_length=10, choices=ReviewMode, default=ReviewMode.HUMAN)
    selection = models.CharField(max_length=12, choices=Selection, default=Selection.TOURNAMENT)
    sandbox = models.CharField(max_length=12, default="docker")  # pinned at creation: docker or bubblewrap
    image = models.CharField(max_length=200, blank=True)  # pinned at creation: what the sandbox runs on
    population = models.PositiveIntegerField(default=10)  # proposals per generation
    survivors = models.PositiveIntegerField(default=4)
    generations = models.PositiveIntegerField(default=5)  # bred generations; generation 0 is the baseline
    budget_tokens = models.PositiveBigIntegerField(null=True)
    budget_seconds = models.FloatField(null=True)
    seed = models.PositiveBigIntegerField(default=0)  # of the search; trials use their own screening seed
    confirm_pairs = models.PositiveIntegerField(default=8)  # of a contest, at most; 0: the lowest number leads
    noise = models.JSONField(default=dict)  # what `manage.py calibrate` found; empty before
    preset = models.CharField(max_length=40, blank=True)  # a named set of options, such as "darwin-paper"
    elites = models.PositiveIntegerField(default=1)  # the best so many always survive (elitism)
    pace = models.CharField(max_length=12, choices=Pace, default=Pace.GENERATIONS)
    repair_tries = models.PositiveIntegerField(default=1)  # for one broken idea
    memory = models.CharField(max_length=8, choices=MemoryMode, default=MemoryMode.ON)
    frozen_at = models.DateTimeField(null=True)  # of a frozen memory: nothing newer is recalled
    budget_usd = models.FloatField(null=True)  # for calls of models: in all, per day, and per strategy
    budget_usd_day = models.FloatField(null=True)
    budget_usd_strategy = models.FloatField(null=True)

    generation = models.PositiveIntegerField(default=0)  # the one under way
    baseline = models.ForeignKey("Variant", null=True, on_delete=models.SET_NULL, related_name="+")
    champion = models.ForeignKey("Variant", null=True, on_delete=models.SET_NULL, related_name="+")
    replies_used = models.PositiveIntegerField(default=0)  # of a replay agent's file

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.slug

    @property
    def folder(self) -> Path:
        return Path(settings.DARWIN_VAR) / "experiments" / self.slug

    @property
    def is_plain(self) -> bool:
        """The paper's loop and nothing beside it: no crossover, no steering by health, nobody's opinion."""
        return self.preset == "darwin-paper"

    @property
    def is_over(self) -> bool:
        return self.status in (ExperimentStatus.FINISHED, ExperimentStatus.STOPPED, ExperimentStatus.FAILED)


class Membership(models.Model):
    """What a person may do in one experiment. Superusers may do everything everywhere."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=Role)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["experiment", "user"], name="one_role_per_person")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.experiment}"


class Strategy(models.Model):
    """A way of proposing, as data: who is asked, how, and with which instructions. Its record is read from the rows."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="strategies")
    name = models.SlugField(max_length=60)
    provider = models.CharField(max_length=500)  # builtin, openai, replay:FILE, or a name of the providers' file
    mode = models.CharField(max_length=12, choices=Mode)
    model = models.CharField(max_length=200, blank=True)  # empty: DARWIN_MODEL
    temperature = models.FloatField(null=True)  # None: the provider's default of ours
    instructions = models.TextField(blank=True)  # added to the prompt
    operators = models.JSONField(default=list)  # families or names of built-in operators; empty: all of them
    chunk_probability = models.FloatField(default=0.4)  # that a function or class is changed, in mode chunks
    share = models.FloatField(default=1.0)  # of calls before anything is known of it; 0: switched off
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["experiment", "name"], name="one_strategy_per_name")]

    def __str__(self) -> str:
        return self.name


class Generation(models.Model):
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="generation_rows")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["experiment", "number"], name="one_row_per_generation")]

    def __str__(self) -> str:
        return f"generation {self.number} of {self.experiment}"


class Variant(models.Model):
    """A genome in the population, and the proposal that made it. Never deleted."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="variants")
    number = models.PositiveIntegerField()  # v31; counts from 0, the baseline, within the experiment
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="variants")
    kind = models.CharField(max_length=10, choices=Kind)
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    other_parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="other_children")
    commit = models.CharField(max_length=40)
    code_hash = models.CharField(max_length=64, blank=True)  # of the normalised syntax trees, for duplicates
    status = models.CharField(max_length=12, choices=Status, default=Status.DRAFTED)
    reason = models.TextField(blank=True)  # why it has this status, in one sentence
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    # the proposal
    author = models.CharField(max_length=200)  # "operator:rms_norm", "agent:gpt-…", "user:anna", "system"
    proposer = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="proposed")  # the peer
    title = models.CharField(max_length=200)
    hypothesis = models.TextField(blank=True)
    rationale = models.TextField(blank=True)
    expected = models.TextField(blank=True)
    lines_changed = models.PositiveIntegerField(default=0)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    cost_usd = models.FloatField(default=0)
    strategy = models.ForeignKey(Strategy, null=True, on_delete=models.PROTECT, related_name="variants")
    family = models.CharField(max_length=40, blank=True)  # the kind of change: normalisation, optimiser, schedule …
    regions = models.JSONField(default=list)  # what was changed: "model.py:Block.forward", …
    shingles = models.JSONField(default=list)  # a sketch of the changed code, for the nearest neighbour
    nearest = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")  # an earlier change
    similarity = models.FloatField(null=True)  # to the nearest, 0 … 1

    # what the judge measured; NULL with a reason, never 0
    val_loss = models.FloatField(null=True)  # nats per token, corrected by the prefix audit
    val_loss_error = models.FloatField(null=True)  # standard error of the sampled text, nats
    perplexity = models.FloatField(null=True)
    bits_per_byte = models.FloatField(null=True)
    mfu = models.FloatField(null=True)  # 0 … 1
    tokens_per_second = models.FloatField(null=True)
    flops_per_token = models.FloatField(null=True)
    parameters = models.PositiveBigIntegerField(null=True)
    train_seconds = models.FloatField(null=True)  # wall clock, first batch to last
    device_seconds = models.FloatField(null=True)  # CPU seconds of the cgroup, or GPU seconds
    weights_sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "number"], name="one_variant_per_number"),
            models.CheckConstraint(condition=models.Q(status__in=[s.value for s in Status]), name="known_status"),
        ]
        indexes = [
            models.Index(fields=["status"]),
            models.Index(fields=["experiment", "code_hash"]),
        ]

    def __str__(self) -> str:
        return f"v{self.number}"

    @property
    def is_measured(self) -> bool:
        return self.perplexity is not None


class Transition(models.Model):
    """One move of one variant. Append-only."""

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="transitions")
    old = models.CharField(max_length=12, choices=Status)
    new = models.CharField(max_length=12, choices=Status)
    actor = models.CharField(max_length=200)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.variant}: {self.old} -> {self.new}"


class Check(models.Model):
    """One preflight check of one variant and what it found."""

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="checks")
    name = models.CharField(max_length=40)  # "path gate", "parse", "names", "new", "a few steps"
    passed = models.BooleanField()
    detail = models.TextField(blank=True)
    seconds = models.FloatField(default=0)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["variant", "name"], name="one_verdict_per_check")]

    def __str__(self) -> str:
        return f"{self.variant} {self.name}: {'passed' if self.passed else 'failed'}"


class Replicate(models.Model):
    """A confirmation run of a variant, with a seed that was drawn after the variant was approved.

    The row is the sandbox's inbox while it is `wanted` and has no verdict. Judged on the private text.
    """

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="replicates")
    seed = models.PositiveBigIntegerField()
    drawn_at = models.DateTimeField()  # of the seed, for whichever variant it was drawn
    wanted = models.BooleanField(default=True)  # False: its contest was decided without it
    verdict = models.CharField(max_length=10, blank=True)  # as of a trial: measured, failed, rejected or cancelled
    reason = models.TextField(blank=True)
    ended_at = models.DateTimeField(null=True)
    val_loss = models.FloatField(null=True)  # nats per token, on the private text
    perplexity = models.FloatField(null=True)
    mfu = models.FloatField(null=True)
    tokens_per_second = models.FloatField(null=True)
    device_seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["variant", "seed"], name="one_replicate_per_seed")]

    def __str__(self) -> str:
        return f"{self.variant} with seed {self.seed}"


class ContestOutcome(models.TextChoices):
    OPEN = "open", "under way"
    PROMOTED = "promoted", "the challenger is the champion now"
    FUTILE = "futile", "the challenger is not better"
    UNDECIDED = "undecided", "all pairs were run, and the evidence is not enough"
    VOID = "void", "called off"


class Contest(models.Model):
    """Champion against challenger on paired confirmation runs. Contest j promotes at an e-value of 100·j·(j+1)."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="contests")
    number = models.PositiveIntegerField()  # j, from 1
    generation = models.PositiveIntegerField()  # the last one that had ended when it was opened
    champion = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="defences")
    challenger = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="challenges")
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=ContestOutcome, default=ContestOutcome.OPEN)
    reason = models.TextField(blank=True)
    seeds = models.JSONField(default=list)  # of its pairs, in the order in which they count
    pairs = models.PositiveIntegerField(default=0)  # complete ones that were counted
    e_value = models.FloatField(default=1.0)
    gain = models.FloatField(null=True)  # mean of the champion's loss − the challenger's, nats; positive is better
    gain_low = models.FloatField(null=True)  # its 95 % interval; None with fewer than two pairs
    gain_high = models.FloatField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "number"], name="one_contest_per_number"),
            models.UniqueConstraint(
                fields=["experiment"], condition=models.Q(outcome="open"), name="one_open_contest"
            ),
        ]

    def __str__(self) -> str:
        return f"contest {self.number}: {self.challenger} against {self.champion}"


class CallState(models.TextChoices):
    RESERVED = "reserved", "asked, and its highest price set aside"
    DONE = "done", "answered"
    FAILED = "failed", "not answered, or the answer was of no use"


class Call(models.Model):
    """One call of a language model. Its price is reserved before it and settled after; never deleted."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="calls")
    strategy = models.ForeignKey(Strategy, null=True, on_delete=models.PROTECT, related_name="calls")
    target = models.ForeignKey(Variant, null=True, on_delete=models.PROTECT, related_name="+")
    purpose = models.CharField(max_length=12)  # propose, again, repair, merge, assess or explain
    model = models.CharField(max_length=200)  # that was asked
    answered = models.CharField(max_length=200, blank=True)  # that said it answered
    state = models.CharField(max_length=10, choices=CallState, default=CallState.RESERVED)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    reserved_usd = models.FloatField(default=0)
    cost_usd = models.FloatField(null=True)  # None: the price of this model is not known
    error = models.TextField(blank=True)  # one sentence
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["experiment", "started_at"])]

    def __str__(self) -> str:
        return f"{self.purpose} by {self.model}: {self.state}"


class Moment(models.TextChoices):
    BEFORE = "before", "before review"
    AFTER = "after", "after measurement"


class Opinion(models.TextChoices):
    SOUND = "sound", "sound"
    DOUBTFUL = "doubtful", "doubtful"
    HARMFUL = "harmful", "harmful"
    CONFIRMED = "confirmed", "the hypothesis holds"
    REFUTED = "refuted", "the hypothesis does not hold"
    OPEN = "open", "the result decides nothing"


class Assessment(models.Model):
    """What a peer says of a proposal before review, or of its result. Opinions only; nothing is decided by them."""

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="assessments")
    moment = models.CharField(max_length=8, choices=Moment)
    assessor = models.CharField(max_length=200)  # "agent:gpt-…", or "record" for an operator's own numbers
    peer = models.ForeignKey(Variant, null=True, on_delete=models.PROTECT, related_name="+")  # whose agent it is
    opinion = models.CharField(max_length=10, choices=Opinion, blank=True)  # empty: none, as of a short record
    is_what_it_says = models.BooleanField(null=True)
    risk = models.CharField(max_length=6, blank=True)  # low, medium or high
    text = models.TextField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["variant", "moment", "assessor"], name="one_opinion_per_assessor")
        ]

    def __str__(self) -> str:
        return f"{self.assessor} on {self.variant}: {self.opinion or self.text[:40]}"


class CorrectionAction(models.TextChoices):
    PIN = "pin", "always recalled"
    UNPIN = "unpin", "recalled by relevance again"
    CORRECT = "correct", "recalled in these words"
    REVOKE = "revoke", "never recalled"
    RESTORE = "restore", "recalled again, as it was"


class Correction(models.Model):
    """What a person changed about what the memory says of a variant. Append-only: the last word counts."""

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="corrections")
    action = models.CharField(max_length=8, choices=CorrectionAction)
    text = models.TextField(blank=True)  # the new words, or the reason
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.action} {self.variant} by {self.actor}"


class Event(models.Model):
    """The outbox: everything that happened, written in the transaction in which it happened.

    One writer drains it into the journal; the pages are told "experiment 7 is at event 812" and read the rows.
    """

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="events")
    variant = models.ForeignKey(Variant, null=True, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=40)  # docs/memory.md lists every kind
    actor = models.CharField(max_length=200)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)
    journaled = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["journaled", "experiment", "id"])]

    def __str__(self) -> str:
        return f"{self.kind} by {self.actor}"
