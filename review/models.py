"""What people decide. Append-only: the database refuses to change or delete a decision."""

from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q

from evolution.errors import Refused
from evolution.models import Variant


class Verdict(models.TextChoices):
    ACCEPT = "accept", "accepted"
    EDIT = "edit", "accepted with edits"
    VETO = "veto", "vetoed"
    UNDO = "undo", "undone"


class VetoReason(models.TextChoices):
    """The short list a reviewer chooses from; the text beside it says the rest."""

    WRONG = "wrong", "does not do what it says"
    BREAKS = "breaks", "will not train"
    CHEATS = "cheats", "games the score"
    COSTLY = "costly", "not worth its cost"
    KNOWN = "known", "was tried before"
    UNCLEAR = "unclear", "hard to read or too large"
    OTHER = "other", "another reason"


class Risk(models.IntegerChoices):
    """How closely a proposal should be read; numbers, so that the queue sorts by it."""

    LOW = 1, "low"
    MEDIUM = 2, "med"
    HIGH = 3, "high"


class DecisionSet(models.QuerySet["Decision"]):
    """Decisions can be made and read, nothing else."""

    def live(self) -> "DecisionSet":
        """Verdicts that stand: neither undone nor an undo. A variant has at most one."""
        return self.filter(undone_by=None).exclude(verdict=Verdict.UNDO)

    def update(self, **_: Any) -> NoReturn:
        raise Refused("A decision is never changed: undo it, or withdraw it, with a decision of its own.")

    def delete(self) -> NoReturn:
        raise Refused("A decision is never deleted: undo it, or withdraw it, with a decision of its own.")


class Decision(models.Model):
    """A reviewer's accept, edit, veto or undo, bound to the hash of what was shown.

    It takes effect at `effective_at`: ten seconds after a person made it, at once when a rule did.
    """

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="decisions")
    turn = models.PositiveIntegerField()  # 1, 2, …: of two reviewers who race for one turn the database refuses one
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    rule = models.CharField(max_length=100, blank=True)  # who decided when no person did
    verdict = models.CharField(max_length=10, choices=Verdict)
    category = models.CharField(max_length=10, choices=VetoReason, blank=True)
    reason = models.TextField(blank=True)
    shown_sha256 = models.CharField(max_length=64)
    replacement = models.ForeignKey(Variant, null=True, on_delete=models.PROTECT, related_name="replaces")
    undoes = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="undone_by")
    created_at = models.DateTimeField(auto_now_add=True)
    effective_at = models.DateTimeField()

    objects = DecisionSet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["variant", "turn"], name="one_decision_per_turn"),
            models.CheckConstraint(
                condition=Q(verdict="undo", undoes__isnull=False) | (~Q(verdict="undo") & Q(undoes__isnull=True)),
                name="an_undo_undoes_something",
            ),
        ]
        indexes = [models.Index(fields=["effective_at"])]

    def __str__(self) -> str:
        return f"{self.variant} {self.verdict} by {self.author}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise Refused("A decision is never changed: undo it, or withdraw it, with a decision of its own.")
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise Refused("A decision is never deleted: undo it, or withdraw it, with a decision of its own.")

    @property
    def author(self) -> str:
        return f"user:{self.reviewer.get_username()}" if self.reviewer else f"rule:{self.rule}"


class Evidence(models.Model):
    """What reading a proposal's syntax tree found, once, before anybody saw it."""

    variant = models.OneToOneField(Variant, on_delete=models.PROTECT, related_name="evidence")
    risk = models.PositiveSmallIntegerField(choices=Risk)
    flags = models.JSONField(default=list)  # [{"kind", "level", "path", "line", "text"}, …]
    nearest = models.ForeignKey(Variant, null=True, on_delete=models.PROTECT, related_name="+")  # earlier, most similar
    similarity = models.FloatField(null=True)  # 0 … 1, of the changed lines
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.variant}: {self.get_risk_display()} risk"
