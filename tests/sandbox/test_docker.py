"""The Docker driver from outside: what the engine says it does, compared with what was promised."""

import gc
import io
import json
import tarfile
from contextlib import closing
from functools import partial
from typing import Any

import docker
import pytest
from django.conf import settings

from sandbox.drivers.base import SandboxUnavailable
from sandbox.drivers.docker import Docker, _client
from sandbox.limits import installation
from tests.sandbox.boxes import MB, SMALL, job, wait
from trainer.harness.outside.overlap import search

pytestmark = pytest.mark.docker


@pytest.fixture
def inspected() -> dict[str, Any]:
    driver = Docker()
    box = driver.start(job("", labels={"experiment": "7"}))
    try:
        wait(box)
        with closing(docker.from_env()) as engine:
            found: dict[str, Any] = engine.api.inspect_container(f"darwin-{installation()}-{box.name}")
        return found
    finally:
        box.remove()


def test_every_guard_is_on(inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]
    wanted = {
        "NetworkMode": "none", "ReadonlyRootfs": True, "CapDrop": ["ALL"], "CapAdd": None, "Privileged": False,
        "SecurityOpt": ["no-new-privileges:true"], "PidsLimit": SMALL.pids, "Memory": SMALL.memory_bytes,
        "MemorySwap": SMALL.memory_bytes, "NanoCpus": int(SMALL.cpus * 1e9), "ShmSize": 64 * MB, "Init": True,
        "IpcMode": "private", "CgroupnsMode": "private", "OomScoreAdj": 800, "AutoRemove": False, "PidMode": "",
        "UTSMode": "", "UsernsMode": "",
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "2", "max-size": str(MB)}},
    }
    assert {name: host[name] for name in wanted} == wanted
    assert not any(host[name] for name in ("Binds", "Devices", "PortBindings", "VolumesFrom", "Links"))
    assert {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]} == {
        "core": (0, 0), "nofile": (4096, 4096), "fsize": (8 * MB, 8 * MB),
    }
    assert not inspected["Config"]["Tty"]
    assert inspected["Config"]["User"] == "10001:10001"


def test_every_area_states_its_options(inspected: dict[str, Any]) -> None:
    areas = {path: set(options.split(",")) for path, options in inspected["HostConfig"]["Tmpfs"].items()}
    assert set(areas) == {"/tmp", "/out", "/cache"}
    for options in areas.values():
        assert {"nosuid", "nodev", "uid=10001", "gid=10001", "mode=0700"} <= options
    assert f"size={SMALL.out_bytes}" in areas["/out"]
    assert "noexec" in areas["/tmp"]
    assert "noexec" in areas["/out"]
    assert "exec" in areas["/cache"]


def test_every_mount_is_read_only_and_none_is_the_engine_or_our_state(inspected: dict[str, Any]) -> None:
    assert inspected["Mounts"]
    for mount in inspected["Mounts"]:
        assert not mount["RW"]
        assert "docker.sock" not in mount["Source"]
        # Of var/ only the empty directory that masks other packages.
        assert not mount["Source"].startswith(str(settings.DARWIN_VAR)) or mount["Source"].endswith("/empty")


def test_name_and_labels_say_whose_it_is(inspected: dict[str, Any]) -> None:
    labels = inspected["Config"]["Labels"]
    assert labels["darwin.experiment"] == "7"
    assert labels["darwin.installation"] == installation()
    assert float(labels["darwin.deadline"]) > 0


def test_a_gpu_is_asked_for_by_its_uuid_and_no_other_is_shown() -> None:
    wanted = job("")
    with_gpu = Docker().options(type(wanted)(**{**vars(wanted), "gpu": "GPU-1234"}))
    assert [request["DeviceIDs"] for request in with_gpu["device_requests"]] == [["GPU-1234"]]
    without = Docker().options(wanted)
    assert without["device_requests"] is None
    assert without["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_without_an_engine_the_reason_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr("sandbox.drivers.docker.client", partial(_client.__wrapped__, 0))  # past the one of the process
    with pytest.raises(SandboxUnavailable, match="start one, or use bubblewrap"):
        Docker().check()
    gc.collect()  # the SDK leaves the socket open with which it did not reach an engine


def test_all_of_a_built_image_is_searched_for_held_out_text(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, planted = io.BytesIO(), bytes(range(48, 112))
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("usr/share/known.txt")
        entry.size = 3000 + len(planted)
        tar.addfile(entry, io.BytesIO(b"x" * 3000 + planted))
    with closing(docker.from_env()) as engine:
        answer = engine.api.import_image_from_data(archive.getvalue(), repository="darwin-test-search", tag="1")
        try:
            monkeypatch.setattr(Docker, "_trainer_image", lambda self: json.loads(answer)["status"])
            with Docker().visible() as visible:
                hits = search(visible, [planted, bytes(reversed(planted))])
            assert [hit.needle for hit in hits] == [planted]
            assert not visible[0].exists()
        finally:
            engine.images.remove("darwin-test-search:1")
