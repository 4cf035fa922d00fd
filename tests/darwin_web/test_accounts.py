"""Coming in: one-time links, passwords, and the limit on guessing."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from darwin_web.accounts import guessing, links
from darwin_web.models import LoginFailure, LoginLink


def follow(client: Client, token: str) -> int:
    return client.get(reverse("login_link", args=[token])).status_code


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_a_link_logs_in_whom_it_was_made_for(client: Client, reviewer: User) -> None:
    assert follow(client, links.make(reviewer)) == 302
    assert client.session["_auth_user_id"] == str(reviewer.pk)


def test_a_link_works_once(reviewer: User) -> None:
    token = links.make(reviewer)
    first, second = Client(), Client()
    assert follow(first, token) == 302
    assert follow(second, token) == 410
    assert not is_in(second)


def test_a_used_link_says_how_to_get_another(client: Client, reviewer: User) -> None:
    token = links.make(reviewer)
    links.spend(token)
    assert "manage.py link" in client.get(reverse("login_link", args=[token])).content.decode()


def test_whoever_is_in_already_may_click_the_link_again(client: Client, reviewer: User) -> None:
    token = links.make(reviewer)
    follow(client, token)
    assert follow(client, token) == 302


def test_a_link_expires(client: Client, reviewer: User) -> None:
    token = links.make(reviewer)
    LoginLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert follow(client, token) == 410


def test_a_link_to_a_closed_account_is_worthless(client: Client, reviewer: User) -> None:
    token = links.make(reviewer)
    User.objects.filter(pk=reviewer.pk).update(is_active=False)
    assert follow(client, token) == 410


def test_a_preview_does_not_use_a_link_up(client: Client, reviewer: User) -> None:
    token = links.make(reviewer)
    assert client.head(reverse("login_link", args=[token])).status_code == 405
    assert follow(client, token) == 302


def test_the_database_does_not_know_the_token(reviewer: User) -> None:
    token = links.make(reviewer)
    assert token not in str(LoginLink.objects.values_list())


def test_an_unknown_token_lets_nobody_in(client: Client, db: None) -> None:
    assert follow(client, "x" * 43) == 410


def test_the_owner_is_made_once_and_without_a_password(db: None) -> None:
    assert links.owner() == links.owner()
    assert not links.owner().has_usable_password()


def log_in(client: Client, username: str, password: str) -> int:
    return client.post(reverse("login"), {"username": username, "password": password}).status_code


def test_a_password_logs_in(client: Client, reviewer: User) -> None:
    assert log_in(client, "rita", "rita's password") == 302
    assert is_in(client)


def test_after_ten_wrong_passwords_even_the_right_one_waits(client: Client, reviewer: User) -> None:
    for _ in range(guessing.PER_ADDRESS):
        assert log_in(client, "rita", "wrong") == 200
    assert log_in(client, "rita", "rita's password") == 429
    assert not is_in(client)


def test_guessing_from_many_addresses_is_slow_too(reviewer: User) -> None:
    for number in range(guessing.PER_ACCOUNT):
        guessing.note_failure(address=f"10.0.0.{number}", username="rita")
    assert guessing.too_many(address="10.0.1.1", username="rita")
    assert not guessing.too_many(address="10.0.1.1", username="olga")


def test_a_link_works_while_passwords_wait(client: Client, reviewer: User) -> None:
    for _ in range(guessing.PER_ADDRESS):
        log_in(client, "rita", "wrong")
    assert follow(client, links.make(reviewer)) == 302


def test_the_limit_is_lifted_after_ten_minutes(client: Client, reviewer: User) -> None:
    for _ in range(guessing.PER_ADDRESS):
        log_in(client, "rita", "wrong")
    LoginFailure.objects.update(at=timezone.now() - guessing.WINDOW)
    assert log_in(client, "rita", "rita's password") == 302


def test_logging_out_needs_a_post(client: Client, reviewer: User) -> None:
    client.force_login(reviewer)
    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout")).status_code == 302
    assert not is_in(client)


def test_login_does_not_lead_to_another_host(client: Client, reviewer: User) -> None:
    reply = client.post(reverse("login"), {
        "username": "rita", "password": "rita's password", "next": "https://elsewhere.example/",
    })
    assert "elsewhere" not in reply["Location"]


@pytest.mark.parametrize("name", ["login", "login_link"])
def test_the_pages_before_login_are_reachable(client: Client, db: None, name: str) -> None:
    address = reverse(name, args=["nothing"] if name == "login_link" else [])
    assert client.get(address).status_code in (200, 410)
