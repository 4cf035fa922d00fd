"""Which environment each part gets: only what calls models has their keys."""

import json
from pathlib import Path

import pytest

from darwin_web import diagnosis
from darwin_web.supervision import programs
from evolution.errors import BadInput


@pytest.fixture
def source(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"other": {"model": "large", "key_env": "PLAIN_NAME"}}))
    return {
        "DARWIN_PROVIDERS": str(file), "PLAIN_NAME": "canary", "OPENAI_API_KEY": "canary", "DARWIN_MODEL": "m",
        "DOCKER_HOST": "d", "HOME": "/h",
    }


@pytest.mark.parametrize(("keys", "docker"), [(False, False), (False, True)])
def test_neither_web_nor_sandbox_gets_a_key_of_any_provider(keys: bool, docker: bool, source: dict[str, str]) -> None:
    got = programs.environment(keys=keys, docker=docker, source=source)
    assert "canary" not in got.values()
    assert got["HOME"] == "/h"


def test_what_calls_models_gets_them(source: dict[str, str]) -> None:
    assert programs.environment(keys=True, docker=False, source=source)["PLAIN_NAME"] == "canary"


def test_a_file_of_providers_that_cannot_be_read_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="DARWIN_PROVIDERS names"):
        programs.environment(keys=False, docker=False, source={"DARWIN_PROVIDERS": str(tmp_path / "gone.json")})


def test_the_doctor_names_providers_and_missing_keys_and_no_key(
    source: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARWIN_PROVIDERS", source["DARWIN_PROVIDERS"])
    found = list(diagnosis._providers())
    assert [(one.name, one.state) for one in found] == [("Provider: other", diagnosis.State.WARNING)]
    monkeypatch.setenv("PLAIN_NAME", "canary")
    found = list(diagnosis._providers())
    assert [one.state for one in found] == [diagnosis.State.OK]
    assert "canary" not in str(found)
    monkeypatch.setenv("DARWIN_PROVIDERS", "/gone.json")
    assert [one.state for one in diagnosis._providers()] == [diagnosis.State.BROKEN]
