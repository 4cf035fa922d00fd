import pytest

from trainer.harness.outside.peaks import mfu, peak_flops


@pytest.mark.parametrize(("name", "tera"), [
    ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H100 NVL", 836), ("NVIDIA H200", 989),
    ("NVIDIA H200 NVL", 836),
    ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA A40", 150), ("NVIDIA L4", 121), ("NVIDIA L40S", 362),
    ("NVIDIA GB200", 2500), ("NVIDIA B200", 2250), ("NVIDIA GeForce RTX 4090", 165), ("AMD Instinct MI300X", 1307),
])
def test_a_gpu_is_found_by_its_most_specific_name(name: str, tera: float) -> None:
    assert peak_flops(name) == tera * 1e12


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 2080", "NVIDIA L40", "", "Tesla T4"])
def test_an_unknown_gpu_has_no_peak(name: str) -> None:
    assert peak_flops(name) is None


def test_mfu_is_the_share_of_the_peak() -> None:
    assert mfu(2e9, 1000.0, 4e12) == 0.5
