"""What the backend takes for granted of ezkl 23.0.5; an upgrade that breaks one fails by name."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zkpot.errors import Reason
from zkpot.model import Shape
from zkpot.proof import child
from zkpot.proof.ezkl import circuit, engine, layout
from zkpot.proof.ezkl.backend import PROOF_BYTES, EzklSystem
from zkpot.proof.ezkl.points import (
    POINT_BYTES,
    SCALAR_MODULUS,
    felt,
    felts,
    read_point,
    weighted_sum,
)
from zkpot.proof.system import no_progress

pytestmark = pytest.mark.prover


def test_prefix_order_is_the_order_of_the_inputs(system: EzklSystem, case: Any) -> None:
    keys = system.keys.for_verifying
    tensors = circuit.batch_tensors(system.shape, case.statement.batch)
    messages = [
        system.commitments.message(case.opening),
        *(felts(tensor) for tensor in tensors),
        [felt(int.from_bytes(case.statement.context, "big"))],
    ]
    assert len(messages) == len(circuit.INPUT_NAMES)
    for position, message in enumerate(messages):
        point = case.proof[position * POINT_BYTES : (position + 1) * POINT_BYTES]
        assert engine.commit(keys, message) == point


def test_commitments_are_linear_up_to_the_commitment_to_zeros(system: EzklSystem) -> None:
    """C(a) + C(b) = C(a + b) + U, and U does not depend on the length."""

    def point(message: list[int]) -> tuple[int, int]:
        data = engine.commit(system.keys.for_verifying, felts(message))
        return read_point(data, Reason.COMMITMENT_MALFORMED, "point")

    a, b = [5, SCALAR_MODULUS - 3, 1 << 200], [7, 11, 13]
    zero = point([0])
    assert point([0] * 31) == zero
    left = weighted_sum([point(a), point(b)], [1, 1])
    total = [x + y for x, y in zip(a, b, strict=True)]
    assert left == weighted_sum([point(total), zero], [1, 1])


def test_ezkl_ignores_bytes_behind_a_proof(system: EzklSystem, case: Any) -> None:
    """Why the one length of a proof is checked before ezkl sees it."""
    instances = [
        felt(case.statement.count),
        felt(int.from_bytes(case.statement.context, "big")),
    ]
    engine.verify(system.keys.for_verifying, instances, case.proof + bytes(32))


@pytest.mark.parametrize(
    ("widths", "batch_size"),
    [((2, 2), 2), ((1, 1, 2), 3), ((3, 4), 4), ((2, 3, 3, 3), 4), ((30, 16, 2), 24)],
)
def test_every_shape_has_the_same_proof_length(
    widths: tuple[int, ...],
    batch_size: int,
    system_for: Any,
    make_statement: Any,
    thetas: Any,
    batches: Any,
) -> None:
    shape = Shape(widths, (0,) * (len(widths) - 2), 8)
    system = system_for(shape, batch_size)
    rng = np.random.default_rng(2)
    theta, batch = thetas(shape, rng, -9, 10), batches(shape, batch_size, rng, 16)
    statement, opening = make_statement(system, theta, batch)
    assert len(system.prove(statement, opening, no_progress)) == PROOF_BYTES


def test_verification_keys_are_reproducible(
    system: EzklSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fresh processes, each with its own hash seeds, derive one key from the shape."""
    import asyncio

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    jobs = importlib.import_module("ezkl_jobs")
    (tmp_path / "srs").write_bytes(system.keys.for_verifying.srs.read_bytes())

    async def derive() -> list[str]:
        return [
            await child.run(jobs.derive_key, system.shape, 4, tmp_path / f"{n}", tmp_path / "srs")
            for n in range(5)
        ]

    digests = asyncio.run(derive())
    own = hashlib.sha256(system.keys.for_verifying.verification_key.read_bytes()).hexdigest()
    assert set(digests) == {own}


def test_the_order_of_range_checks_changes_the_key(system: EzklSystem, tmp_path: Path) -> None:
    """Why settings are put into a canonical form: ezkl writes this list in any order."""
    ezkl = engine.ezkl_module()
    keys = system.keys.for_verifying
    settings = json.loads(keys.settings.read_bytes())
    settings["required_range_checks"].reverse()
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    graph = tmp_path / "circuit.onnx"
    graph.write_bytes(circuit.build(system.shape, 4))
    files = [str(tmp_path / name) for name in ("compiled", "vk", "pk")]
    ezkl.compile_circuit(str(graph), files[0], str(tmp_path / "settings.json"))
    ezkl.setup(*files, str(keys.srs))
    assert (tmp_path / "vk").read_bytes() != keys.verification_key.read_bytes()


@pytest.mark.parametrize("widths", [(4, 3, 2), (64, 32, 10)])
def test_measurements_vary_less_than_the_margin(widths: tuple[int, ...], tmp_path: Path) -> None:
    shape = Shape(widths, (0,), 16)
    batch_size, base, limbs, logrows = 32, 8192, 2, 14
    graph = tmp_path / "circuit.onnx"
    graph.write_bytes(circuit.build(shape, batch_size))
    cells = [
        int(layout._generate(graph, base, limbs, logrows)["total_assignments"]) for _ in range(25)
    ]
    margin = 32 + layout.INNER_COLUMNS * layout.usable_rows(logrows) // 200
    assert max(cells) - min(cells) < margin


def test_canonical_settings_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    graph = circuit.build(Shape((4, 3, 2), (0,), 16), 4)
    shape = Shape((4, 3, 2), (0,), 16)
    assert len({layout.measure(shape, 4, graph).settings for _ in range(8)}) == 1
    assert circuit.build(shape, 4) == graph


def test_demo_srs_is_different_each_time(tmp_path: Path) -> None:
    """Why `insecure-demo` works within one cache only."""
    ezkl = engine.ezkl_module()
    for name in ("first", "second"):
        ezkl.gen_srs(str(tmp_path / name), 8)
    assert (tmp_path / "first").read_bytes() != (tmp_path / "second").read_bytes()
