"""A new one-time login link."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandParser
from django.urls import reverse

from darwin_web.accounts import links
from darwin_web.management.base import Code, DarwinCommand
from darwin_web.supervision import readiness
from darwin_web.supervision.lock import note, running
from evolution.errors import BadInput


class Command(DarwinCommand):
    help = "Print a new link that logs somebody in, once, within 24 hours. Without --user: the owner."
    examples = ("manage.py link", "manage.py link --user anna")
    codes = (Code.DONE, Code.BAD_INPUT, Code.INFRASTRUCTURE)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", metavar="NAME", help="whom it logs in")

    def handle(self, *args: Any, user: str | None, **options: Any) -> None:
        token = links.make(_user(user) if user else links.owner())
        self.stdout.write(_address() + reverse("login_link", args=[token]))
        if not running(settings.DARWIN_VAR):
            self.stderr.write("DARWIN is not running on this machine: start it with make run, then open the link.")


def _user(name: str) -> User:
    try:
        return User.objects.get(username=name, is_active=True)
    except User.DoesNotExist:
        raise BadInput(f"there is no open account {name}: manage.py createsuperuser makes one") from None


def _address() -> str:
    """Where the running web process answers, which may have been started with another PORT than ours."""
    return str(note(settings.DARWIN_VAR).get("address") or readiness.address())
