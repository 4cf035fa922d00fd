"""import_genome and check_genome as far as they go without a sandbox."""

import io
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from evolution.errors import BadInput
from evolution.inspection import Finding, inspect
from evolution.options import Options, plan
from tests import cast
from tests.trainer.adapters.tiny import CONFIG, TINY

pytestmark = pytest.mark.django_db


@pytest.fixture
def settings_var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "DARWIN_VAR", tmp_path / "var")
    (tmp_path / "var").mkdir()
    return tmp_path / "var"


def import_tiny(*words: str, name: str = "tiny") -> str:
    out = io.StringIO()
    call_command("import_genome", str(TINY), "--name", name, "--config", CONFIG, *words, stdout=out)
    return out.getvalue()


def findings(directory: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in inspect(directory)}


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_an_imported_genome_is_found_by_its_name(settings_var: Path) -> None:
    said = import_tiny()
    assert f"tiny is in {settings_var / 'genomes' / 'tiny'}" in said
    text = settings_var / "text"
    text.write_bytes(cast.TEXT)
    planned = plan(Options(name="mine", genome="tiny", data=str(text)))
    assert planned.genome.command == ("python", "train.py", CONFIG)
    assert planned.files["train.py"] == (TINY / "train.py").read_bytes()


def test_what_is_left_out_is_said(settings_var: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "data" / "tiny_char").mkdir(parents=True)
    (checkout / ".git").mkdir()
    (checkout / ".git" / "config").write_text("")
    (checkout / "data" / "tiny_char" / "train.bin").write_bytes(bytes(10))
    (checkout / "huge.py").write_bytes(b"#" * (5 << 20))
    (checkout / "elsewhere.py").symlink_to("/etc/passwd")
    for name in ("train.py", "model.py", "configurator.py"):
        (checkout / name).write_bytes((TINY / name).read_bytes())
    out = io.StringIO()
    call_command("import_genome", str(checkout), "--name", "tiny", stdout=out)
    files = {path.name for path in (settings_var / "genomes" / "tiny").rglob("*") if path.is_file()}
    assert files == {"train.py", "model.py", "configurator.py", "genome.toml"}
    assert "left out: data/tiny_char/train.bin, elsewhere.py, huge.py" in out.getvalue()


@pytest.mark.parametrize(("words", "said"), [
    (["--set", "n_embd"], "KEY=VALUE"),
    (["--set", "n_experts=4"], "no setting n_experts"),
    (["--config", "config/none.py"], "no config/none.py"),
])
def test_a_setting_that_cannot_be_is_named(settings_var: Path, words: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        import_tiny(*words)
    assert not (settings_var / "genomes" / "tiny").exists()


@pytest.mark.parametrize("name", ["builtin", "../up", "A B", ""])
def test_a_name_that_cannot_be_is_refused(settings_var: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name"):
        import_tiny(name=name)


def test_a_name_that_is_taken_is_refused(settings_var: Path) -> None:
    import_tiny()
    with pytest.raises(BadInput, match="exists"):
        import_tiny()


def test_the_name_of_an_experiment_is_refused(settings_var: Path) -> None:
    cast.experiment("demo")
    with pytest.raises(BadInput, match="champion"):
        import_tiny(name="demo")


def test_what_is_a_genome_already_is_not_imported(settings_var: Path) -> None:
    import_tiny()
    with pytest.raises(BadInput, match="a genome already"):
        call_command("import_genome", str(settings_var / "genomes" / "tiny"), "--name", "again")


# --- check_genome ---------------------------------------------------------------------------------------------------


@pytest.fixture
def genome(settings_var: Path) -> Path:
    import_tiny()
    return settings_var / "genomes" / "tiny"


def test_a_good_genome_has_nothing_missing(genome: Path) -> None:
    found = findings(genome)
    assert all(finding.passed for finding in found.values()), found
    assert found["budget"].detail.startswith("128 tokens in one iteration")


def test_the_builtin_genome_has_nothing_missing() -> None:
    found = findings(settings.BASE_DIR / "trainer" / "genome")
    assert all(finding.passed for finding in found.values()), found


@pytest.mark.parametrize(("change_of", "name", "said"), [
    (("genome.toml", "context = 16", "context = 0"), "manifest", "context"),
    (("genome.toml", '"nanogpt"', '"lightning"'), "manifest", "no adapter “lightning”"),
    (("genome.toml", '"train.py"', '"run.py"'), "files", "no run.py"),
    (("genome.toml", "trainer.adapters.nanogpt.inside:", "model:"), "functions", "model.py defines no load"),
    (("genome.toml", '["*.py", "config/*.py"]', '["src/*.py"]'), "editable", "matches no file"),
    (("train.py", "import math", "import wandb"), "imports", "wandb is not installed"),
    (("train.py", "import math", "import math ("), "imports", "train.py"),
    (("train.py", '"openwebtext"', '"/home/me/openwebtext"'), "paths", "train.py:"),
    (("train.py", '"openwebtext"', '"sk-abcdefghijklmnopqrstuvwx"'), "secrets", "train.py:"),
])
def test_what_is_missing_is_named(genome: Path, change_of: tuple[str, str, str], name: str, said: str) -> None:
    path, before, after = change_of
    change(genome / path, before, after)
    finding = findings(genome)[name]
    assert not finding.passed
    assert said in finding.detail


def test_a_key_is_not_printed_again(genome: Path) -> None:
    change(genome / "train.py", '"openwebtext"', '"sk-abcdefghijklmnopqrstuvwx"')
    assert "abcdefgh" not in findings(genome)["secrets"].detail


def test_settings_that_say_no_batch_are_named(genome: Path) -> None:
    change(genome / CONFIG, "batch_size = 8", "batch_size = min(8, 9)")
    change(genome / "train.py", "batch_size = 12", "batch_size = min(8, 9)")
    assert "batch_size" in findings(genome)["budget"].detail


@pytest.mark.parametrize(("edit", "code"), [(None, None), (("import math", "import wandb"), 2)])
def test_a_static_check_ends_with_its_code(genome: Path, edit: tuple[str, str] | None, code: int | None) -> None:
    if edit:
        change(genome / "train.py", *edit)
    out = io.StringIO()
    if code is None:
        call_command("check_genome", str(genome), "--static", stdout=out)
    else:
        with pytest.raises(SystemExit) as end:
            call_command("check_genome", str(genome), "--static", stdout=out)
        assert end.value.code == code
        assert "missing imports" in out.getvalue()


def test_a_directory_that_is_no_genome_is_told_what_to_add(tmp_path: Path) -> None:
    assert "genome.toml" in findings(tmp_path)["manifest"].detail
    assert "not a directory" in findings(tmp_path / "none")["manifest"].detail
