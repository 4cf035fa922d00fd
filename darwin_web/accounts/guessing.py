"""A limit on wrong passwords, counted in the database so that restarts and several web processes share it."""

from datetime import timedelta

from django.utils import timezone

from darwin_web.models import LoginFailure

WINDOW = timedelta(minutes=10)
PER_ADDRESS = 10
PER_ACCOUNT = 20  # a stranger can close the password form for an account, but never its one-time links


def too_many(*, address: str, username: str) -> bool:
    """Whether so many wrong passwords came lately from `address`, or for `username`, that we do not even look."""
    recent = LoginFailure.objects.filter(at__gt=timezone.now() - WINDOW)
    return (
        recent.filter(address=address).count() >= PER_ADDRESS
        or recent.filter(username=username).count() >= PER_ACCOUNT
    )


def note_failure(*, address: str, username: str) -> None:
    LoginFailure.objects.filter(at__lt=timezone.now() - 6 * WINDOW).delete()
    LoginFailure.objects.create(address=address[:64], username=username[:150])


def forget_failures(*, address: str, username: str) -> None:
    LoginFailure.objects.filter(address=address, username=username).delete()
