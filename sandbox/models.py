"""Training runs: a trial is one run of one variant with one seed, an attempt is one try at running it."""

from django.db import models
from django.db.models import Q

from evolution.models import Variant


class Purpose(models.TextChoices):
    CHECK = "check", "a few steps, before review"
    SCORE = "score", "the full budget, then the judge"
    CONFIRM = "confirm", "the full budget with another seed, judged on the private text"


class Verdict(models.TextChoices):
    """How a trial ended."""

    MEASURED = "measured", "measured"
    FAILED = "failed", "failed"
    REJECTED = "rejected", "rejected by the judge"
    CANCELLED = "cancelled", "cancelled"


class Trial(models.Model):
    """One training run of a variant with one seed. `verdict` is empty while it is not over."""

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="trials")
    purpose = models.CharField(max_length=10, choices=Purpose)
    seed = models.PositiveBigIntegerField()
    budget_tokens = models.PositiveBigIntegerField(null=True)
    budget_seconds = models.FloatField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    verdict = models.CharField(max_length=10, choices=Verdict, blank=True)
    cause = models.CharField(max_length=40, blank=True)  # trainer.contract.Cause
    detail = models.TextField(blank=True)  # short, for people
    result = models.JSONField(default=dict)  # every measured number and hash

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["variant", "purpose", "seed"], name="one_trial_per_seed"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.variant} with seed {self.seed}"


class AttemptState(models.TextChoices):
    WAITING = "waiting", "waiting for a runner"
    STARTING = "starting", "starting its container"
    TRAINING = "training", "training"
    JUDGING = "judging", "being judged"
    ENDED = "ended", "over"


ACTIVE = [AttemptState.WAITING, AttemptState.STARTING, AttemptState.TRAINING, AttemptState.JUDGING]


class Attempt(models.Model):
    """One try at running a trial. Every write carries the fence: a runner that lost its lease changes nothing."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    device = models.CharField(max_length=80)  # "cpu:0" on host X, or a GPU's UUID
    state = models.CharField(max_length=10, choices=AttemptState, default=AttemptState.WAITING)
    fence = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=120, blank=True)  # host:pid of the runner
    lease_expires = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    progress_at = models.DateTimeField(null=True)
    progress = models.FloatField(default=0)  # 0 … 1 of the budget
    container = models.CharField(max_length=120, blank=True)
    exit_code = models.IntegerField(null=True)
    cause = models.CharField(max_length=40, blank=True)
    log_tail = models.TextField(blank=True)  # of the training only; untrusted text
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["trial", "number"], name="one_attempt_per_number"),
            models.UniqueConstraint(fields=["device"], condition=~Q(state="ended"), name="one_attempt_per_device"),
            models.UniqueConstraint(fields=["trial"], condition=~Q(state="ended"), name="one_attempt_at_a_time"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.trial}"


class Point(models.Model):
    """Claimed numbers a variant reported at one step, with what the text server had counted by then."""

    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="points")
    step = models.PositiveBigIntegerField()
    tokens = models.PositiveBigIntegerField()  # counted by the text server
    seconds = models.FloatField()  # by the text server's clock, since the first batch
    loss = models.FloatField(null=True)  # claimed, nats
    numbers = models.JSONField(default=dict)  # claimed, whatever else was reported

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["trial", "id"])]

    def __str__(self) -> str:
        return f"step {self.step} of {self.trial}"
