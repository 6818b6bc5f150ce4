from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, split_digits
from zkpot.errors import ExitCode, Fatal
from zkpot.model import Shape
from zkpot_agent.data.files import CsvSource, NpzSource
from zkpot_agent.data.source import DATA_GROUP, DataSource, load_samples, open_source

ENTRIES = EntryPoints(
    EntryPoint(name, value, DATA_GROUP)
    for name, value in {
        "digits": "zkpot_agent.data.digits:DigitsSource",
        "npz": "zkpot_agent.data.files:NpzSource",
        "csv": "zkpot_agent.data.files:CsvSource",
        "synthetic": "zkpot_agent.data.synthetic:SyntheticSource",
        "absent": "package_that_nobody_installed:Source",
    }.items()
)
SHAPE = Shape((3, 4), (), 8)


def test_digits_is_this_devices_part() -> None:
    source = open_source(
        "digits", {"devices": 3, "index": 1, "alpha": 0.5, "seed": 4}, entries=ENTRIES
    )
    samples = load_samples(source, DIGITS_SPEC.shape)
    assert samples.digest == split_digits(3, 0.5, 4).devices[1].digest
    assert (source.features, source.classes) == (64, 10)


def test_synthetic() -> None:
    source = open_source("synthetic", {"features": 3, "classes": 4, "samples": 50}, entries=ENTRIES)
    assert load_samples(source, SHAPE).size == 50


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("digits", {"devices": 3, "index": 3}, "index 3 of 3"),
        ("digits", {"devices": 3, "index": 0, "alpha": 0}, "alpha 0"),
        ("digits", {"devices": 3}, "missing a required argument: 'index'"),
        ("digits", {"devices": 3, "index": 0, "colour": 1}, "colour"),
        ("digits", {"devices": "3", "index": 0.5}, "devices is '3', expected int; index is 0.5"),
        ("digits", {"devices": 3, "index": True}, "index is True, expected int"),
        ("digits", {"devices": 51, "index": 0, "seed": -1}, "at most 50; seed -1"),
        ("synthetic", {"features": 0, "classes": 999, "samples": 1}, "features is 0.*classes"),
        ("synthetic", {"features": 1, "classes": 2, "samples": 1, "seed": -1}, "negative"),
    ],
)
def test_wrong_parameters_are_a_config_error(
    name: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        open_source(name, parameters, entries=ENTRIES)
    assert caught.value.exit_code is ExitCode.CONFIG


def test_unknown_plugin_lists_the_known_ones() -> None:
    with pytest.raises(Fatal, match=r"'camera'.*digits, npz, synthetic") as caught:
        open_source("camera", {}, entries=ENTRIES)
    assert caught.value.exit_code is ExitCode.DEPENDENCY


def test_unknown_plugin_among_the_installed_ones() -> None:
    with pytest.raises(Fatal, match="no plug-in 'camera'"):
        open_source("camera", {})


def test_plugin_with_a_missing_package_is_named() -> None:
    with pytest.raises(Fatal, match="package_that_nobody_installed") as caught:
        open_source("absent", {}, entries=ENTRIES)
    assert caught.value.exit_code is ExitCode.DEPENDENCY


def test_two_packages_with_one_name_are_refused() -> None:
    twice = EntryPoints(EntryPoint("digits", value, DATA_GROUP) for value in ("a:b", "c:d"))
    with pytest.raises(Fatal, match="several"):
        open_source("digits", {}, entries=twice)


def test_npz_and_csv_give_the_same_samples(tmp_path: Path) -> None:
    inputs = np.array([[1, 2, 3], [0, 255, 7]])
    labels = np.array([0, 3])
    np.savez(tmp_path / "a.npz", inputs=inputs, labels=labels)
    (tmp_path / "a.csv").write_text("x,kind,y,z\n1,0,2,3\n\n0,3,255,7\n")
    sources: list[DataSource] = [
        NpzSource(str(tmp_path / "a.npz"), classes=4),
        CsvSource(str(tmp_path / "a.csv"), classes=4, label="kind"),
    ]
    for source in sources:
        samples = load_samples(source, SHAPE)
        assert np.array_equal(samples.inputs, inputs)
        assert np.array_equal(samples.labels, labels)
        assert samples.inputs.dtype == np.uint8
        assert source.features == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one column 'label'"),
        ("a,b\n1,2\n", "one column 'label'"),
        ("a,label\n1,x\n", "line 2.*'x'"),
        ("a,label\n1,2\n256,0\n", r"line 3.*range\(0, 256\)"),
        ("a,label\n1\n", "line 2: 1 values, not 2"),
        ("a,label\n", "expected"),
    ],
)
def test_broken_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises(Fatal, match=message) as caught:
        CsvSource(str(path), classes=4).load()
    assert caught.value.exit_code is ExitCode.CONFIG


def test_broken_npz(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    good = {"inputs": np.zeros((2, 3), np.uint8), "labels": np.zeros(2, np.uint8)}
    for arrays, message in (
        ({"inputs": good["inputs"]}, "labels"),
        (good | {"labels": np.zeros(3, np.uint8)}, r"\(3,\)"),
        (good | {"inputs": np.zeros((2, 3))}, "float64"),
        (good | {"inputs": np.full((2, 3), 256)}, "0 and 255"),
        (good | {"labels": np.array([-1, 0])}, "0 and 255"),
        (good | {"inputs": np.array([[{}], [{}]])}, "allow_pickle"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(Fatal, match=message):
            NpzSource(str(path), classes=4).load()
    np.save(tmp_path / "plain.npy", good["inputs"])
    for data in (b"", b"no archive", b"PK\x03\x04", (tmp_path / "plain.npy").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(Fatal, match="cannot be used"):
            NpzSource(str(path), classes=4).load()


@pytest.mark.parametrize("kind", [NpzSource, CsvSource])
def test_absent_file(tmp_path: Path, kind: type[NpzSource | CsvSource]) -> None:
    with pytest.raises(Fatal, match="No such file"):
        kind(str(tmp_path / "absent"), classes=2).load()


class _Fixed:
    features = 3

    def __init__(self, inputs: object, labels: object, classes: int = 4) -> None:
        self._inputs, self._labels, self.classes = inputs, labels, classes

    def load(self) -> Batch:
        return Batch(np.array(self._inputs), np.array(self._labels))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_Fixed(np.zeros((1, 3)), np.zeros(1, np.uint8)), "float64"),
        (_Fixed(np.zeros((1, 2), np.uint8), np.zeros(1, np.uint8)), r"expected \[M, 3\]"),
        (_Fixed(np.zeros((1, 3), np.uint8), np.zeros(2, np.uint8)), r"labels are \(2,\)"),
        (_Fixed(np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8)), "M > 0"),
        (_Fixed(np.zeros((1, 3), np.uint8), np.full(1, 4, np.uint8)), "label 4"),
        (_Fixed(np.zeros((1, 3), np.uint8), np.zeros(1, np.uint8), 5), "5 classes"),
    ],
)
def test_samples_that_do_not_fit_the_task(source: _Fixed, message: str) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        load_samples(source, SHAPE)
    assert caught.value.exit_code is ExitCode.CONFIG
