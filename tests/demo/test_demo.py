"""The demonstration from outside: what it prints, what it survives, what it refuses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.demo.conftest import QUICK, WAIT_S, Demo, Outcome, ended

from zkpot.cid import cid_text, object_cid_from_digest
from zkpot.errors import ExitCode
from zkpot.record import Record, SignedRecord, decode_object
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.ui.directory import open_directory

pytestmark = [pytest.mark.demo, pytest.mark.prover]

KIND_TO_CODE = {
    "false-count": "proof-invalid",
    "stolen-proof": "context-mismatch",
    "other-model": "commitment-mismatch",
    "equivocate": "equivocation",
    "replay": "stale-round",
    "garbage": "proof-malformed",
}
"""Those that no deadline is needed for."""

Finished = Callable[[], tuple[Demo, Outcome]]


def clean(outcome: Outcome, rounds: int = 2) -> None:
    """It went well to the end, and its audit says so."""
    assert outcome.status == ExitCode.OK, outcome.stderr
    said = outcome.said
    assert [round_["round"] for round_ in said["rounds"]] == list(range(1, rounds + 1))
    assert all(round_["failure"] is None for round_ in said["rounds"]), said["rounds"]
    assert said["audit"]["ok"] is True


def test_the_quick_demonstration_prints_what_is_documented(finished: Finished) -> None:
    demo, outcome = finished()
    clean(outcome)
    said = outcome.said
    assert said["proof_system"] == "sumcheck/1"
    assert said["aggregation"] == "secure"
    assert "sums of 2 models or more" in outcome.stderr
    assert bytes.fromhex(said["task"])
    assert said["directory"] == str(demo.directory)
    for round_ in said["rounds"]:
        accepted = {entry["device"]: entry["correct"] for entry in round_["accepted"]}
        assert len(accepted) + len(round_["rejected"]) == 3
        assert all(entry.keys() == {"device", "code"} for entry in round_["rejected"])
        assert accepted[round_["leader"]] == round_["correct"] == max(accepted.values())
        assert round_["total"] == 20
        for entry in round_["accepted"]:
            low, high = entry["interval"]
            assert 0 <= low <= entry["correct"] / 20 <= high <= 1
        assert round_["record_cid"].startswith("bafyrei")
        assert set(round_["seconds"]) >= {"committing", "proving", "closing"}
        assert 0 <= round_["overhead_share"] <= 1
    first, second = said["rounds"]
    assert second["accuracy_before"] == first["accuracy_after"]
    assert second["accuracy_after"] > first["accuracy_before"] + 0.3
    assert said["audit"]["checks"] > 20
    calls = {
        "CreateTask": 1,
        "OpenRound": 2,
        "SealCommitments": 2,
        "DrawBeacon": 2,
        "CloseRound": 2,
    }
    assert {call: len(costs) for call, costs in said["gas"].items()} == calls
    assert all(cost > 20_000 for costs in said["gas"].values() for cost in costs)


def test_the_same_command_again_shows_the_finished_task(finished: Finished) -> None:
    demo, outcome = finished()
    again = demo.run(*QUICK)
    clean(again)
    assert again.said["rounds"] == outcome.said["rounds"]
    assert again.said["audit"] == outcome.said["audit"]


def test_other_options_on_the_same_directory_are_refused(finished: Finished) -> None:
    demo, _ = finished()
    outcome = demo.run("--devices", "4", "--rounds", "2", "--batch", "20")
    assert outcome.status == ExitCode.USAGE
    assert outcome.stdout == ""
    assert "other options" in outcome.stderr


def command(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    words = (*words[:-1], words[-1], "--dir", str(directory), "--json")
    return subprocess.run(
        [sys.executable, "-m", "zkpot_aggregator", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )


def test_audit_and_round_show_read_the_directory(finished: Finished) -> None:
    demo, outcome = finished()
    audited = command(demo.directory, "audit")
    assert audited.returncode == ExitCode.OK
    assert json.loads(audited.stdout) == outcome.said["audit"]
    shown = command(demo.directory, "round", "show")
    assert shown.returncode == ExitCode.OK
    assert [found["round"] for found in json.loads(shown.stdout)] == [1, 2]


def test_secrets_are_for_the_owner_alone(finished: Finished) -> None:
    demo, _ = finished()
    assert demo.directory.stat().st_mode & 0o777 == 0o700
    secret = [*demo.directory.rglob("*.key"), *demo.directory.rglob("*password*")]
    secret += demo.directory.rglob("pool.cbor")
    assert len(secret) >= 3 + 2 + 4 + 1
    assert [path for path in secret if path.is_file() and path.stat().st_mode & 0o077] == []


def test_every_device_has_the_final_model(finished: Finished) -> None:
    demo, _ = finished()
    opened = open_directory(demo.directory)
    head = object_cid_from_digest(opened.ledger.task(opened.task_id).head)
    signed = decode_object(SignedRecord, get_object(opened.content, head))
    record = decode_object(Record, get_object(opened.content, signed.record))
    for number in range(3):
        facts = demo.directory / "devices" / f"{number:02}" / "state" / "global-model.json"
        assert json.loads(facts.read_text())["model"] == cid_text(record.model_after)


# --- cheats ---------------------------------------------------------------------------------


def byzantine(*kinds: str) -> list[str]:
    """The options that make one device cheat in each of these ways."""
    return [word for kind in kinds for word in ("--byzantine", f"{kind}:1")]


def device_ids(demo: Demo, number: int) -> list[str]:
    """The devices' ids; those that cheat come last, in the order of the options."""
    found = []
    for index in range(number):
        config = demo.directory / "devices" / f"{index:02}" / "agent.toml"
        shown = subprocess.run(
            [sys.executable, "-m", "zkpot_agent", "status", "--json", "--config", str(config)],
            capture_output=True,
            text=True,
            check=True,
            timeout=WAIT_S,
        )
        found.append(json.loads(shown.stdout)["device"])
    return found


def codes(outcome: Outcome) -> dict[str, set[str]]:
    """Why messages of each device were rejected; a group has no device."""
    found: dict[str, set[str]] = {}
    for round_ in outcome.said["rounds"]:
        for entry in round_["rejected"]:
            found.setdefault(entry["device"], set()).add(entry["code"])
    return found


def test_every_kind_of_cheating_has_its_own_code(demo: Demo) -> None:
    cheats = byzantine(*KIND_TO_CODE)
    outcome = demo.run("--devices", "8", "--rounds", "2", "--batch", "20", *cheats)
    clean(outcome)
    assert len(set(KIND_TO_CODE.values())) == len(KIND_TO_CODE)
    devices, found = device_ids(demo, 8), codes(outcome)
    for device, kind in zip(devices[2:], KIND_TO_CODE, strict=True):
        assert KIND_TO_CODE[kind] in found.get(device, set()), (kind, found)
    # An honest model may count less than the gate wants, on a batch that nobody could foresee.
    for device in devices[:2]:
        assert found.get(device, set()) <= {"below-gate"}


def test_silence_after_a_commitment_is_noted(demo: Demo) -> None:
    """Whoever else is too slow for so short a deadline is noted as well."""
    options = ("--devices", "4", "--rounds", "1", "--batch", "8", "--deadline-s", "8")
    outcome = demo.run(*options, *byzantine("silent-after-commit"))
    assert outcome.status == ExitCode.OK, outcome.stderr
    assert codes(outcome)[device_ids(demo, 4)[3]] == {"no-submission"}


def test_attacks_on_the_model_are_left_to_gate_and_rule(demo: Demo) -> None:
    kinds = ("sign-flip", "gaussian", "label-flip", "free-rider")
    options = ("--devices", "9", "--rounds", "2", "--aggregation", "plain:median")
    outcome = demo.run(*options, *byzantine(*kinds))
    clean(outcome)
    assert "aggregate: operator-trusted" in outcome.said["audit"]["assumptions"]
    first, second = outcome.said["rounds"]
    # Against a model that knows nothing yet, everything passes the gate.
    assert len(first["accepted"]) == 9
    assert set().union(*codes(outcome).values()) <= {"below-gate"}
    assert second["accuracy_after"] > first["accuracy_before"] + 0.2


def test_a_wrong_vector_spoils_its_group_alone(demo: Demo) -> None:
    """Eight devices make two groups: the round closes with the other one's sum."""
    outcome = demo.run("--devices", "8", "--rounds", "1", "--batch", "20", *byzantine("wrong-sum"))
    clean(outcome, rounds=1)
    (round_,) = outcome.said["rounds"]
    (spoilt,) = [entry for entry in round_["rejected"] if "group" in entry]
    assert (spoilt["device"], spoilt["code"]) == ("", "sum-mismatch")
    assert device_ids(demo, 8)[7] in {entry["device"] for entry in round_["accepted"]}
    (audited,) = outcome.said["audit"]["rounds"]
    assert (audited["accepted"], audited["summed"]) == (8, 4)


@pytest.mark.parametrize("aggregation", ["secure", "plain:fedavg"])
def test_a_lying_aggregator_never_gets_a_clean_audit(demo: Demo, aggregation: str) -> None:
    """Leaders refuse each kind of lie; one that is told after their signature, the audit finds."""
    options = ("--devices", "3", "--rounds", "4", "--batch", "8", "--aggregation", aggregation)
    outcome = demo.run(*options, *byzantine("lying-aggregator"))
    assert outcome.status == ExitCode.AUDIT_FAILED, outcome.stderr
    said = outcome.said
    assert [round_["failure"] for round_ in said["rounds"]] == ["nobody-signed"] * 3 + [None]
    assert said["audit"]["ok"] is False
    fault = said["audit"]["fault"]
    assert (fault["round"], fault["check"], fault["code"]) == (4, "sum", "sum-mismatch")


# --- interruptions --------------------------------------------------------------------------


# Every phase is interrupted on the driver alone, in tests/aggregator; here, each test is a run.

SMALL = ("--devices", "2", "--rounds", "1", "--batch", "20")


def test_one_interruption_after_another(demo: Demo) -> None:
    """Each time from where the last left it, with a broker that has forgotten everything."""
    for phase in ("opening", "proving"):
        with demo.started(*SMALL) as process:
            demo.wait_for(phase, 1, process)
            process.send_signal(signal.SIGINT)
            interrupted = ended(process)
        assert interrupted.status == ExitCode.INTERRUPTED, interrupted.stderr
        assert interrupted.stdout == ""
        assert demo.processes() == []
    outcome = demo.run(*SMALL)
    clean(outcome, rounds=1)
    assert {entry["code"] for entry in outcome.said["rounds"][0]["rejected"]} <= {"below-gate"}


def test_a_killed_demonstration_leaves_no_process_and_goes_on(demo: Demo) -> None:
    with demo.started(*SMALL) as process:
        demo.wait_for("committing", 1, process)
        assert len(demo.commands()) == 3  # an aggregator and two agents
        process.kill()
        demo.wait_for_silence()
    clean(demo.run(*SMALL), rounds=1)


def test_a_killed_aggregator_ends_the_demonstration_which_goes_on(demo: Demo) -> None:
    with demo.started(*SMALL) as process:
        demo.wait_for("recording", 1, process)
        os.kill(demo.pid_of("zkpot_aggregator", "aggregator/"), signal.SIGKILL)
        outcome = ended(process)
    assert outcome.status == ExitCode.FAILURE
    assert "the aggregator ended with -9" in outcome.stderr
    assert outcome.stdout == ""
    clean(demo.run(*SMALL), rounds=1)


def test_a_killed_agent_stalls_nobody(demo: Demo) -> None:
    """Two of three are enough, and the deadline passes the third over."""
    options = ("--devices", "3", "--rounds", "1", "--batch", "20", "--deadline-s", "30")
    with demo.started(*options) as process:
        demo.wait_for("proving", 1, process)
        os.kill(demo.pid_of("zkpot_agent", "devices/02/"), signal.SIGKILL)
        outcome = ended(process)
    clean(outcome, rounds=1)
    assert "device 2 ended early" in outcome.stderr
    assert len(outcome.said["rounds"][0]["accepted"]) >= 2


def test_no_device_left_ends_the_demonstration(demo: Demo) -> None:
    with demo.started(*SMALL) as process:
        demo.wait_for("committing", 1, process)
        for number in range(2):
            os.kill(demo.pid_of("zkpot_agent", f"devices/{number:02}/"), signal.SIGKILL)
        outcome = ended(process)
    assert outcome.status == ExitCode.FAILURE
    assert "every device has ended early" in outcome.stderr
    assert "device 1 ended with -9" in outcome.stderr
    assert outcome.stdout == ""
