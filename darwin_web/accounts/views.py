"""Coming in and going out."""

from typing import Any

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from darwin_web.accounts import links
from darwin_web.accounts.guessing import forget_failures, note_failure, too_many

BACKEND = "django.contrib.auth.backends.ModelBackend"


class PasswordLogin(LoginView):
    """The form for people who have set a password."""

    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if too_many(**self._who()):
            return render(request, "accounts/too_many.html", status=429)
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        note_failure(**self._who())
        return super().form_invalid(form)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        forget_failures(**self._who())
        return super().form_valid(form)

    def _who(self) -> dict[str, str]:
        return {
            "address": self.request.META.get("REMOTE_ADDR", ""),
            "username": self.request.POST.get("username", ""),
        }


# Only GET: a HEAD request, as link previews send it, must not use the link up.
@login_not_required
@never_cache
@require_GET
def login_link(request: HttpRequest, token: str) -> HttpResponseBase:
    """Log in whom `token` belongs to. A second click of somebody who is in already leads to the same page."""
    user = links.spend(token)
    if user is not None:
        login(request, user, backend=BACKEND)
        return redirect("overview")
    if request.user.is_authenticated:
        return redirect("overview")
    return render(request, "accounts/link_over.html", status=410)
