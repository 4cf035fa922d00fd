"""Who came in, and by which link. Accounts themselves are Django's."""

from django.conf import settings
from django.db import models


class LoginLink(models.Model):
    """A link that logs one person in, once. Only the hash of its token is kept."""

    token_sha256 = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"login link of {self.user}"


class LoginFailure(models.Model):
    """A wrong password, kept for a while so that guessing is slow."""

    address = models.CharField(max_length=64)  # where it came from
    username = models.CharField(max_length=150)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["address", "at"]), models.Index(fields=["username", "at"])]

    def __str__(self) -> str:
        return f"wrong password for {self.username} from {self.address}"
