"""The small parts: configuration, access lists, proofs remembered, and the replay's output."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.protocol.fakes import FakeProofSystem
from tests.protocol.rounds import make_round
from tests.validate.members import fleet
from tests.validate.test_rounds import play
from tests.validate.world import VALIDATORS, Lie, Operator

from zkpot.cid import cid_text, object_cid_from_digest, split_object
from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.ids import DeviceId, Digest, TaskId
from zkpot.link.base import matches
from zkpot.proof.together import VerifiesMany, verify_together
from zkpot.statement import Statement
from zkpot.verify import rebuild_statement
from zkpot.wire import topics
from zkpot.wire.topics import Kind
from zkpot_aggregator.audit.audit import Sources
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.embedded.access import Account, readable, writable
from zkpot_aggregator.mosquitto import BrokerPlan, access_list, certificates_script
from zkpot_aggregator.ui.fault import replay_report
from zkpot_aggregator.validate.config import ValidateConfig
from zkpot_aggregator.validate.remember import RememberingSystem

TEMPLATE = Path(__file__).parents[2] / "deploy" / "validator.toml"
TASK = TaskId(bytes(32))
OTHER = DeviceId(bytes([9]) * 20)


def test_the_template_is_a_configuration(tmp_path: Path) -> None:
    config = load_config(ValidateConfig, TEMPLATE)
    assert config.task_id == TASK
    assert config.key_file == TEMPLATE.parent / "validator.key"
    for text, what in (
        (TEMPLATE.read_text().replace('task = "00', 'task = "0'), "task"),
        (TEMPLATE.read_text().replace('operator_key = "00', 'operator_key = "'), "operator_key"),
        (TEMPLATE.read_text().replace('kind = "kubo"', 'kind = "kubo"\nkeep_rounds = 3'), "keep"),
    ):
        path = tmp_path / "validator.toml"
        path.write_text(text)
        with pytest.raises(Fatal, match=what) as caught:
            load_config(ValidateConfig, path)
        assert caught.value.exit_code is ExitCode.CONFIG


# --- brokers --------------------------------------------------------------------------------


def test_a_validator_writes_under_its_own_name_alone() -> None:
    own = VALIDATORS[0].id
    account = Account(own, "", is_validator=True)

    def may_write(topic: str) -> bool:
        return any(matches(topic, each) for each in writable(account))

    assert may_write(topics.endorsement(TASK, own, 3))
    assert may_write(topics.fault(TASK, own))
    assert may_write(topics.up(own, Kind.WANT))
    for topic in (
        topics.endorsement(TASK, OTHER, 3),
        topics.fault(TASK, OTHER),
        topics.task_round(TASK),
        topics.up(own, Kind.COMMITMENT),
        topics.up(OTHER, Kind.WANT),
        topics.down(own, Kind.BLOCK),
        topics.status(own),
    ):
        assert not may_write(topic), topic


def test_a_validator_hears_what_it_needs_and_no_more() -> None:
    own = VALIDATORS[0].id
    account = Account(own, "", is_validator=True)
    wanted = topics.validator_subscriptions(own, TASK)
    for topic in (
        topics.up(OTHER, Kind.COMMITMENT),
        topics.up(OTHER, Kind.BLOCK),
        topics.down(own, Kind.BLOCK),
        topics.task_round(TASK),
    ):
        assert sum(matches(topic, each) for each in wanted) == 1
        assert any(matches(topic, each) for each in readable(account))
    for topic in (topics.down(OTHER, Kind.RECEIPT), topics.to_prover(OTHER, own, Kind.JOB)):
        assert not any(matches(topic, each) for each in (*wanted, *readable(account)))


def test_a_device_hears_the_validators_and_writes_nothing_in_their_name() -> None:
    device = Account(OTHER, "")
    topic = topics.endorsement(TASK, VALIDATORS[0].id, 3)
    listened = topics.device_subscriptions(OTHER, TASK)
    assert sum(matches(topic, each) for each in listened) == 1
    assert any(matches(topic, each) for each in readable(device))
    assert not any(matches(topic, each) for each in writable(device))


def test_mosquittos_files_name_the_validators() -> None:
    name = Account(VALIDATORS[0].id, "").username
    plan = BrokerPlan(OTHER, [], validators=[VALIDATORS[0].id])
    assert f"user {name}\ntopic write zkpot/1/device/{name}/up/want\n" in access_list(plan)
    assert name in certificates_script(plan)


# --- proofs ---------------------------------------------------------------------------------


class Counting(FakeProofSystem):
    """Counts what it is asked; knows nothing of many proofs at once."""

    asked = 0

    def verify(self, statement: Statement, proof: bytes) -> None:
        """See `ProofSystem.verify`."""
        Counting.asked += 1
        super().verify(statement, proof)


def claims() -> list[tuple[Statement, bytes]]:
    """Honest claims of one round, in the order of its devices."""
    made = make_round()
    return [
        (
            rebuild_statement(made.proof_terms(), each.key.id, made.count(each)),
            made.proof_object(each).proof,
        )
        for each in made.devices
    ]


def test_what_was_found_valid_is_not_verified_again() -> None:
    honest = claims()
    made = make_round()
    system = RememberingSystem(Counting(made.system.shape, made.system.batch_size))
    assert isinstance(system, VerifiesMany)
    bent = [*honest[:-1], (honest[-1][0], b"not a proof")]
    Counting.asked = 0
    for _ in range(2):
        outcomes = verify_together(system, bent)
        assert [each and each.reason for each in outcomes] == [None] * 4 + [Reason.PROOF_INVALID]
    # Once each, and each time: the refused one together with the others, then by itself.
    assert Counting.asked == 4 + 2 * 2
    system.verify(*honest[0])
    assert Counting.asked == 4 + 2 * 2
    with pytest.raises(Rejected):
        system.verify(honest[0][0], honest[1][1])
    system.forget()
    system.verify(*honest[0])
    assert Counting.asked == 4 + 2 * 2 + 2


def test_no_proof_at_all_is_not_an_empty_proof() -> None:
    made = make_round()
    fake = FakeProofSystem(made.system.shape, made.system.batch_size, wellformed=False)
    system, context = RememberingSystem(fake), Digest(bytes(32))
    commitment = fake.commitments.commit(made.devices[0].opening)
    system.verify_wellformed(commitment, context, None)
    with pytest.raises(Rejected) as caught:
        system.verify_wellformed(commitment, context, b"")
    assert caught.value.reason is Reason.COMMITMENT_NOT_WELLFORMED


# --- the command ----------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
def test_a_report_is_replayed_from_a_file_and_by_cid(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> tuple[Operator, bytes, MemoryStore]:
        operator = Operator()
        with fleet(tmp_path, operator, 1) as found:
            await play(found, Lie(total=lambda total: replace(total, blinding=bytes(16))))
            member = found.members[0]
            (report,) = member.sent(topics.fault(operator.task_id, member.key.id))
            return operator, report, member.content

    operator, report, content = asyncio.run(main())
    content.blocks |= operator.content.blocks
    found = Sources(operator.ledger, content, lambda _task: operator.system)
    path = tmp_path / "report"
    path.write_bytes(report)
    record = operator.ledger.round(operator.task_id, operator.number).record
    root = split_object(report, [object_cid_from_digest(record)])[0]
    assert root in content.pins()
    for name in (str(path), cid_text(root)):
        code = replay_report(name, operator.task_id, found, json_output=as_json)
        assert code is ExitCode.AUDIT_FAILED
        said = capsys.readouterr().out
        if as_json:
            facts = json.loads(said)
            assert facts["confirmed"]
            assert (facts["check"], facts["code"]) == ("sum", "sum-mismatch")
            assert facts["rests_on"] is None
        else:
            assert "\nconfirmed: found sum-mismatch" in said
    with pytest.raises(Fatal, match="no file and no CID"):
        replay_report("nowhere", operator.task_id, found, json_output=as_json)
