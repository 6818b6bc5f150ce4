"""Which tests of the agent run under emulation, and which do not and why."""

from tests.aarch64.emulation import ROOT

TESTED = ("agent", "data", "device", "export", "journal", "train", "wire")

AGGREGATOR = "zkpot_aggregator"
"""Test files that import it are left out: it is not on a device, nor is what it needs."""

MANY_STARTS = "starts processes, each of which takes an emulated Python long"

IMPOSSIBLE = {
    "tests/agent/test_budget.py::test_in_real_child_processes": MANY_STARTS,
    "tests/agent/test_secure.py::test_over_real_child_processes": MANY_STARTS,
    "tests/device/test_deb.py": "builds the package with the host's tools",
    "tests/export/test_exact.py::test_default_delegates_are_exact_too": (
        "LiteRT's default delegate, which the agent leaves off, ends with a segmentation fault"
    ),
}
"""Cannot run, or would say nothing about the processor."""

LONG = (
    "tests/agent/test_machine_stateful.py",
    "tests/agent/test_secure.py::test_a_power_cut_in_any_step_changes_nothing",
    "tests/device/test_install_power_cut.py",
    *(f"tests/export/test_exact.py::test_50_random_models[{seed}]" for seed in range(1, 10)),
    "tests/train/test_mlp.py::test_federated_rounds_on_skewed_digits",
    "tests/train/test_mlp.py::test_size_of_mnist_with_a_shift",
    "tests/wire/test_codec.py::test_a_mutated_encoding_is_another_value_or_rejected",
    "tests/wire/test_codec.py::test_random_bytes_are_read_or_rejected",
    "tests/wire/test_codec.py::test_well_formed_cbor_is_read_or_rejected",
)
"""Minutes under emulation, for what other tests show of the processor."""


def needs_the_aggregator() -> list[str]:
    """Test files that import what no device has."""
    return [
        str(path.relative_to(ROOT))
        for folder in TESTED
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
        if AGGREGATOR in path.read_text() or "tests.device.lone_round" in path.read_text()
    ]


def pytest_arguments() -> list[str]:
    """For `pytest`, from the root of the repository."""
    return [
        *(f"tests/{folder}" for folder in TESTED),
        *(f"--ignore={path}" for path in needs_the_aggregator()),
        *(f"--deselect={name}" for name in (*IMPOSSIBLE, *LONG)),
    ]
