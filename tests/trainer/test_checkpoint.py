import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from trainer.contract import CONFIG_FILE, MODEL_FILE
from trainer.harness.outside import checkpoint
from trainer.harness.outside.checkpoint import BadCheckpoint, Uploads, config, parameters


def model(tensors: dict[str, Any], data: bytes) -> bytes:
    header = json.dumps(tensors).encode()
    return len(header).to_bytes(8, "little") + header + data


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = model(
    {"__metadata__": {"format": "pt"}, "a": tensor([2, 3], 0, 24), "b": tensor([4], 24, 32, "BF16")}, bytes(32)
)
CONFIG = b'{"vocab_size": 256}'


def save(uploads: Uploads, content: bytes = GOOD, description: bytes = CONFIG) -> bool:
    uploads.write(MODEL_FILE, content, offset=0, size=len(content))
    return uploads.write(CONFIG_FILE, description, offset=0, size=len(description))


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path, max_bytes=1000)


def test_a_complete_pair_is_kept(uploads: Uploads, tmp_path: Path) -> None:
    assert save(uploads)
    assert (tmp_path / MODEL_FILE).read_bytes() == GOOD
    assert (tmp_path / CONFIG_FILE).read_bytes() == CONFIG


def test_the_last_complete_pair_is_kept(uploads: Uploads, tmp_path: Path) -> None:
    save(uploads)
    newer = model({"a": tensor([1], 0, 4)}, b"1234")
    uploads.write(MODEL_FILE, newer, offset=0, size=len(newer))
    assert (tmp_path / MODEL_FILE).read_bytes() == GOOD
    uploads.write(CONFIG_FILE, b"{}", offset=0, size=2)
    assert (tmp_path / MODEL_FILE).read_bytes() == newer
    assert (tmp_path / CONFIG_FILE).read_bytes() == b"{}"


def test_chunks_may_be_repeated_and_continued_by_another_server(uploads: Uploads, tmp_path: Path) -> None:
    uploads.write(MODEL_FILE, GOOD[:50], offset=0, size=len(GOOD))
    uploads.write(MODEL_FILE, GOOD[50:90], offset=50, size=len(GOOD))
    later = Uploads(tmp_path, max_bytes=1000)
    later.write(MODEL_FILE, GOOD[50:90], offset=50, size=len(GOOD))
    later.write(MODEL_FILE, GOOD[90:], offset=90, size=len(GOOD))
    assert later.write(CONFIG_FILE, CONFIG, offset=0, size=len(CONFIG))
    assert (tmp_path / MODEL_FILE).read_bytes() == GOOD


def test_a_pair_that_was_complete_when_the_server_died_is_kept(tmp_path: Path) -> None:
    complete = tmp_path / "complete"
    complete.mkdir()
    (tmp_path / MODEL_FILE).write_bytes(GOOD)  # the one file was already moved, the other not
    (complete / CONFIG_FILE).write_bytes(CONFIG)
    Uploads(tmp_path, max_bytes=1000)
    assert (tmp_path / CONFIG_FILE).read_bytes() == CONFIG
    assert not complete.exists()


@pytest.mark.parametrize(("name", "offset", "size", "length"), [
    (MODEL_FILE, 0, 1001, 10), (CONFIG_FILE, 0, 65 << 10, 10), ("../evil", 0, 10, 10), ("other.bin", 0, 10, 10),
    (MODEL_FILE, 5, 10, 10), (MODEL_FILE, -1, 10, 5), (MODEL_FILE, 0, 10, 0), (CONFIG_FILE, 0, 10, 10),
    (MODEL_FILE, 5, 100, 10),
])
def test_sizes_names_and_order_are_checked(uploads: Uploads, name: str, offset: int, size: int, length: int) -> None:
    (uploads._folder / "incoming").mkdir()
    with pytest.raises(BadCheckpoint):
        uploads.write(name, bytes(length), offset=offset, size=size)


@pytest.mark.parametrize("content", [
    b"", b"1234", bytes(8), (1 << 60).to_bytes(8, "little") + bytes(50),
    model({}, b""), model({"a": []}, b""), model({"a": tensor([2], 0, 4)}, bytes(4)),
    model({"a": tensor([1], 0, 4, "COMPLEX")}, bytes(4)), model({"a": tensor([1], 4, 8)}, bytes(8)),
    model({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, bytes(4)), model({"a": tensor([1], 0, 4)}, bytes(5)),
    model({"a": tensor([-1, -1], 0, 4)}, bytes(4)), model({"a": tensor([True], 0, 4)}, bytes(4)),
    model({"a": tensor([1], 0, 4)}, bytes(3)), b"\x80\x04\x95" + bytes(100),
    (200_000).to_bytes(8, "little") + b"[" * 200_000,
])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / MODEL_FILE
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint):
        parameters(path)


def test_parameters_are_counted_by_the_shapes(tmp_path: Path) -> None:
    path = tmp_path / MODEL_FILE
    path.write_bytes(GOOD)
    assert parameters(path) == 10


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 60_000])
def test_a_config_that_is_no_object_is_refused(uploads: Uploads, tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(content)
    with pytest.raises(BadCheckpoint):
        config(tmp_path / CONFIG_FILE)


def test_a_refused_pair_leaves_the_one_before(uploads: Uploads, tmp_path: Path) -> None:
    save(uploads)
    with pytest.raises(BadCheckpoint):
        save(uploads, content=b"not a model at all")
    assert (tmp_path / MODEL_FILE).read_bytes() == GOOD
    assert save(uploads)


def test_the_same_tensors_are_the_same_whatever_the_header_says(tmp_path: Path) -> None:
    weights = {"a": np.ones((2, 3), dtype=np.float32), "b": np.zeros(4, dtype=np.float32)}
    one, other, changed = (tmp_path / name for name in ("one", "other", "changed"))
    safetensors.numpy.save_file(weights, one)
    safetensors.numpy.save_file(weights, other, metadata={"format": "pt"})
    assert checkpoint.same_tensors(one, other)
    safetensors.numpy.save_file({**weights, "b": np.full(4, 1e-30, dtype=np.float32)}, changed)
    assert not checkpoint.same_tensors(one, changed)
    safetensors.numpy.save_file({"a": weights["a"]}, changed)
    assert not checkpoint.same_tensors(one, changed)
    safetensors.numpy.save_file({**weights, "a": weights["a"].reshape(3, 2)}, changed)
    assert not checkpoint.same_tensors(one, changed)
