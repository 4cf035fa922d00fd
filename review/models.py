"""What people decide. Append-only: the database refuses to change or delete a decision."""

from django.conf import settings
from django.db import models

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


class Decision(models.Model):
    """A reviewer's accept, edit, veto or undo, bound to the hash of what was shown.

    It takes effect at `effective_at`: ten seconds after a person made it, at once when a rule did.
    """

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="decisions")
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

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.variant} {self.verdict} by {self.author}"

    @property
    def author(self) -> str:
        return f"user:{self.reviewer.get_username()}" if self.reviewer else f"rule:{self.rule}"
