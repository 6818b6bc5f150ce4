"""A whole small task on mosquitto, anvil and IPFS, each a process of its own, then its audit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.round import round_spans, split
from tests.real.task_rig import command, run_task, task_rig

pytest.importorskip("zkpot_prover")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.ipfs,
    pytest.mark.prover,
    pytest.mark.enable_socket,
    pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning"),
]

DEVICES, ROUNDS = 2, 2
MEMBERS = 3


def test_it_runs_and_audits_from_the_chain_and_ipfs(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with task_rig(tmp_path, DEVICES, ROUNDS) as rig:
        task = run_task(rig)
        for number in range(1, ROUNDS + 1):
            seconds = split(*round_spans(rig, number), 0.0)
            record_property(f"seconds of round {number}", seconds)
            assert all(v > 0 for what, v in seconds.items() if what != "masking_s"), seconds
        where = ["--ledger", rig.node.url, "--contract", rig.contract, "--task", task]
        first = ["--first-block", rig.first_block]
        report = json.loads(command("audit", *where, *first, "--content", rig.ipfs.url, "--json"))
    assert report["ok"], report
    assert report["complete"]
    assert [each["phase"] for each in report["rounds"]] == ["closed"] * ROUNDS
    assert "beacon: operator-controlled" not in report["assumptions"]


def test_validators_make_secure_rounds_final(tmp_path: Path) -> None:
    with task_rig(tmp_path, MEMBERS, ROUNDS, validators=2, aggregation="secure") as rig:
        task = run_task(rig)
        where = ["--ledger", rig.node.url, "--contract", rig.contract, "--task", task]
        first = ["--first-block", rig.first_block]
        report = json.loads(command("audit", *where, *first, "--content", rig.ipfs.url, "--json"))
    assert report["ok"], report
    assert [each["standing"] for each in report["rounds"]] == ["final"] * ROUNDS
    assert "validators: none" not in report["assumptions"]
