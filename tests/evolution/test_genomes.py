"""The git store, and how a genome's directory is read."""

import os
import subprocess
from pathlib import Path

import pytest

from evolution import genomes
from evolution.errors import BadInput, Infrastructure
from evolution.genomes import Store, read_directory, sweep
from evolution.models import Experiment
from tests import cast

FILES = {"a.py": b"one = 1\n", "deep/b.py": b"two = 2\n"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "genomes.git")


def save(store: Store, files: dict[str, bytes], *parents: str, number: int = 0) -> str:
    return store.commit(files, parents=parents, message="m", author="operator:x", number=number)


def test_what_is_committed_comes_back(store: Store) -> None:
    assert store.files(save(store, FILES)) == FILES


def test_the_same_commit_twice_is_one_commit(store: Store) -> None:
    assert save(store, FILES) == save(store, FILES)
    assert list(store.refs()) == [0]


def test_a_ref_without_a_row_is_replaced_by_other_files(store: Store) -> None:
    save(store, FILES)
    other = save(store, {"a.py": b"other\n"})
    assert store.refs() == {0: other}


def test_a_crossover_has_two_parents_and_their_base_is_found(store: Store) -> None:
    root = save(store, FILES)
    left, right = (save(store, {**FILES, name: b"x\n"}, root, number=n) for n, name in ((1, "l.py"), (2, "r.py")))
    save(store, {**FILES, "l.py": b"x\n", "r.py": b"x\n"}, left, right, number=3)
    assert store.merge_base(left, right) == root
    assert store.refs()[3] != root


def test_a_difference_is_a_patch_that_git_applies(store: Store, tmp_path: Path) -> None:
    old = save(store, FILES)
    new = save(store, {"a.py": b"one = 11\n", "c.py": b"three = 3\n"}, old, number=1)
    store.checkout(old, tmp_path / "tree")
    (tmp_path / "patch").write_text(store.diff(old, new))
    subprocess.run(["git", "apply", str(tmp_path / "patch")], cwd=tmp_path / "tree", check=True)
    assert read_directory(tmp_path / "tree") == store.files(new)


def test_a_checkout_can_be_read_by_the_sandboxes_user(store: Store, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store.checkout(save(store, FILES), tmp_path / "tree")
    finally:
        os.umask(before)
    assert oct((tmp_path / "tree" / "deep").stat().st_mode)[-3:] == "755"
    assert oct((tmp_path / "tree" / "deep" / "b.py").stat().st_mode)[-3:] == "644"


def test_an_unknown_commit_is_said_in_a_sentence(store: Store) -> None:
    with pytest.raises(Infrastructure, match="not in the experiment's repository"):
        store.files("0" * 40)


def test_a_missing_repository_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Infrastructure, match="not a readable git repository"):
        Store(tmp_path)


@pytest.mark.django_db
def test_the_sweep_finds_refs_that_no_row_knows(experiment: Experiment) -> None:
    commit = save(genomes.store_of(experiment), FILES, number=7)
    assert sweep(experiment) == {7: commit}


def test_caches_and_version_control_are_no_part_of_a_genome(tmp_path: Path) -> None:
    cast.genome(tmp_path)
    for name in (".git/config", "__pycache__/model.pyc", "old.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert read_directory(tmp_path) == cast.FILES


def test_a_link_is_not_followed_out_of_a_genome(tmp_path: Path) -> None:
    cast.genome(tmp_path / "genome")
    (tmp_path / "genome" / "secret.py").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="link or a special file"):
        read_directory(tmp_path / "genome")


def test_a_linked_directory_is_not_followed_either(tmp_path: Path) -> None:
    cast.genome(tmp_path / "genome")
    (tmp_path / "genome" / "folder").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="link or a special file"):
        read_directory(tmp_path / "genome")


def test_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.py")
    with pytest.raises(BadInput, match="special file"):
        read_directory(tmp_path)


def test_weights_in_a_genome_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(genomes.MAX_FILE_BYTES + 1)
    with pytest.raises(BadInput, match="larger than 4 MB"):
        read_directory(tmp_path)
