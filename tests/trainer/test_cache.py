import stat
from pathlib import Path

from trainer import cache


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    cache.write(tmp_path / "new", "a key", b"payload")
    assert bytes(cache.read(tmp_path / "new", "a key") or b"") == b"payload"
    assert cache.read(tmp_path / "new", "another key") is None


def test_a_file_under_another_name_is_not_believed(tmp_path: Path) -> None:
    cache.write(tmp_path, "one", b"payload of one")
    (path,) = tmp_path.iterdir()
    cache.write(tmp_path, "two", b"payload of two")
    (other,) = set(tmp_path.iterdir()) - {path}
    path.replace(other)
    assert cache.read(tmp_path, "two") is None


def test_a_file_cut_short_is_not_believed(tmp_path: Path) -> None:
    cache.write(tmp_path, "key", b"payload")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.read(tmp_path, "key") is None
    path.write_bytes(b"")
    assert cache.read(tmp_path, "key") is None


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    cache.write(tmp_path / "new", "key", b"tokens of held-out text")
    (path,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_without_a_folder_or_a_disk_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    cache.write(None, "key", b"payload")
    assert cache.read(None, "key") is None
    (tmp_path / "file").write_bytes(b"")
    cache.write(tmp_path / "file", "key", b"payload")
    assert cache.read(tmp_path / "file", "key") is None
