"""Keys and SRS: what is refused, what is rebuilt, what is missing."""

import logging
import sys
from pathlib import Path

import pytest

from zkpot.errors import Reason, Rejected
from zkpot.model import Shape
from zkpot.proof.ezkl import engine, srs
from zkpot.proof.ezkl.backend import EzklSystem
from zkpot.proof.system import Obstacle, ProvingFailed, no_progress

pytestmark = pytest.mark.prover

TINY = Shape((2, 2), (), 8)


def demo(cache_dir: Path) -> EzklSystem:
    return EzklSystem(TINY, 2, cache_dir, "insecure-demo")


@pytest.mark.parametrize(
    "name", ["", "demo", "insecure", "Insecure-Demo", "sha256:ff", "sha256:" + "G" * 64, "/srs"]
)
def test_an_unnamed_srs_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="srs") as rejected:
        EzklSystem(TINY, 2, tmp_path, name)
    assert rejected.value.reason is Reason.TASK_INVALID


def test_a_missing_pinned_srs_says_where_to_put_it(tmp_path: Path) -> None:
    name = "sha256:" + "0" * 64
    with pytest.raises(ProvingFailed, match="put sha256:0") as failed:
        EzklSystem(TINY, 2, tmp_path, name).prepare(no_progress)
    assert failed.value.obstacle is Obstacle.UNAVAILABLE


def test_a_pinned_srs_is_used_and_a_changed_one_refused(tmp_path: Path) -> None:
    source = srs.locate(tmp_path / "demo", srs.INSECURE_DEMO, 12)
    name = srs.install(tmp_path, source)
    system = EzklSystem(TINY, 2, tmp_path, name)
    assert system.keys.layout.logrows < 12
    system.prepare(no_progress)
    stored = srs.locate(tmp_path, name, 9)
    data = bytearray(stored.read_bytes())
    data[100] ^= 1
    stored.write_bytes(data)
    with pytest.raises(ProvingFailed, match="the task pins") as failed:
        EzklSystem(TINY, 2, tmp_path, name).prepare(no_progress)
    assert failed.value.obstacle is Obstacle.UNAVAILABLE


def test_the_second_preparation_makes_nothing(
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    def progress(what: str, fraction: float) -> None:
        seen.append(what)

    demo(tmp_path).prepare(progress)
    assert "making the keys" in seen
    seen.clear()
    demo(tmp_path).prepare(progress)
    assert "making the keys" not in seen


@pytest.mark.parametrize("kind", ["proving.key", "verification.key", "circuit.ezkl"])
def test_a_corrupt_key_is_made_again(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    demo(tmp_path).prepare(no_progress)
    (path,) = tmp_path.glob(f"keys-*/{kind}")
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with caplog.at_level(logging.WARNING):
        demo(tmp_path).prepare(no_progress)
    assert "corrupt" in caplog.text
    if kind != "circuit.ezkl":  # ezkl writes that file differently each time
        assert path.read_bytes() == good


def test_a_planted_verification_key_is_not_used(tmp_path: Path) -> None:
    """A key beside the manifest that another shape's setup made."""
    other = EzklSystem(Shape((3, 2), (), 8), 2, tmp_path / "other", "insecure-demo")
    planted = other.keys.for_verifying.verification_key.read_bytes()
    path = demo(tmp_path).keys.for_verifying.verification_key
    good = path.read_bytes()
    assert planted != good
    path.write_bytes(planted)
    assert demo(tmp_path).keys.for_verifying.verification_key.read_bytes() == good


@pytest.mark.parametrize("package", ["ezkl", "onnx.helper"])
def test_a_missing_package_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what import takes for "not there"
    with pytest.raises(ProvingFailed, match=r"zkpot\[ezkl\]") as failed:
        demo(tmp_path).prepare(no_progress)
    assert failed.value.obstacle is Obstacle.UNAVAILABLE


def test_another_version_of_ezkl_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PINNED_VERSION", "23.0.6")
    with pytest.raises(ProvingFailed, match=r"ezkl 23\.0\.5 is installed") as failed:
        demo(tmp_path).prepare(no_progress)
    assert failed.value.obstacle is Obstacle.UNAVAILABLE
