from pathlib import Path

import pytest

from tests.flow.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    var = tmp_path / "var"
    var.mkdir()
    return Stage(var)
