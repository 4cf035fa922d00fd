"""`manage.py build_image` where it cannot work."""

from pathlib import Path

from tests.flow.stage import Stage


def test_without_an_engine_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "var", {"DOCKER_HOST": "unix:///nonexistent.sock"})
    run = stage.manage("build_image")
    assert run.returncode == 4
    assert run.stderr.startswith("darwin: ")
    assert "Traceback" not in run.stderr
