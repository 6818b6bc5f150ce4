"""The ledger on a node that forgets, stalls and reorganises."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.real.anvil import CHAIN_ID, Anvil, anvil, write_key
from web3 import Web3
from web3.types import FilterParams, LogReceipt, TxParams

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.ids import Round, TaskId
from zkpot_aggregator.deploy import deploy
from zkpot_aggregator.ledger.abi import block_hash_seen
from zkpot_aggregator.ledger.base import LedgerReverted, Receipt
from zkpot_aggregator.ledger.beacon import BeaconReplaced
from zkpot_aggregator.ledger.calls import (
    Call,
    CloseRound,
    CreateTask,
    DrawBeacon,
    FailRound,
    OpenRound,
    SealCommitments,
)
from zkpot_aggregator.ledger.endpoint import Endpoint
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger, open_for_audit
from zkpot_aggregator.ledger.settings import JsonRpcSettings
from zkpot_aggregator.ledger.views import BeaconDrawn, Phase, RoundView

pytestmark = [pytest.mark.chain, pytest.mark.enable_socket]

PATIENCE_S = 60.0
KEY = b"k" * 32
TASK = TaskId(b"T" * 32)
ONE = Round(1)
CREATE = CreateTask(TASK, 1, (), 0)
OPEN = OpenRound(TASK, ONE, TASK, b"r" * 32)
SEAL = SealCommitments(TASK, ONE, b"c" * 32, 3)
DRAW = DrawBeacon(TASK, ONE)
CLOSE = CloseRound(TASK, ONE, b"x" * 32, b"l" * 32, 3, 4)
NEXT = OpenRound(TASK, Round(2), CLOSE.record, b"r" * 32)
SUBMITTED: dict[str, list[Call]] = {
    "SEAL": [SEAL],
    "DRAW": [SEAL, DRAW],
    "CLOSE": [SEAL, DRAW, CLOSE],
}


def settings_for(node: Anvil, folder: Path, **more: Any) -> JsonRpcSettings:
    node.fund(KEY)
    return JsonRpcSettings(
        **{
            "chain_id": CHAIN_ID,
            "contract": deploy(node.url, KEY).address,
            "url": node.url,
            "key_file": write_key(folder / "key", KEY),
            "confirmations": 0,
            "poll_s": 0.01,
            "confirm_s": PATIENCE_S,
            **more,
        }
    )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Anvil]:
    """Blocks come when transactions do, and every few milliseconds."""
    with anvil(tmp_path) as running:
        yield running


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Anvil]:
    """Blocks come when a test mines them."""
    with anvil(tmp_path / "still", block_s=0) as running:
        yield running


def eventually(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "never came"
        time.sleep(0.01)


def patiently(ledger: JsonRpcLedger, call: Call) -> Receipt:
    """As the aggregator does: what may pass is asked again."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            return ledger.submit(call)
        except Transient:
            time.sleep(0.05)
        except LedgerReverted as reverted:
            if reverted.word != "early":
                raise
            height = ledger.round(TASK, ONE).draw_height
            ledger.wait_for_block(height + 1, PATIENCE_S)
    raise AssertionError(call)


def grown(ledger: JsonRpcLedger) -> RoundView:
    """The round; a chain that became shorter is read again once it is as long as before."""
    for _ in range(200):
        try:
            return ledger.round(TASK, ONE)
        except Transient:
            time.sleep(0.05)
    raise AssertionError("the chain did not grow")


def play(ledger: JsonRpcLedger, *calls: Call) -> None:
    for call in calls:
        patiently(ledger, call)


class TestReorganisation:
    @pytest.mark.parametrize("phase", ["SEAL", "DRAW", "CLOSE"])
    def test_of_what_is_not_confirmed_is_waited_out(
        self, node: Anvil, tmp_path: Path, phase: str
    ) -> None:
        """Depth 3 under a call that waits for 3 confirmations: nobody notices."""
        settings = settings_for(node, tmp_path, confirmations=3)
        before, last = SUBMITTED[phase][:-1], SUBMITTED[phase][-1]
        with (
            JsonRpcLedger.open(settings, tmp_path / "calls") as ledger,
            ThreadPoolExecutor() as thread,
        ):
            play(ledger, CREATE, OPEN, *before)
            if last is DRAW:
                ledger.wait_for_block(ledger.round(TASK, ONE).draw_height + 1, PATIENCE_S)
            node.stand_still()
            sent = node.web3.eth.get_transaction_count(ledger_address(ledger), "pending")
            submitting = thread.submit(patiently, ledger, last)
            eventually(lambda: node.web3.eth.get_transaction_count(ledger_address(ledger)) > sent)
            node.mine(2)
            node.reorganise(3)

            def done() -> bool:
                node.mine()
                return submitting.done()

            eventually(done)
            receipt = submitting.result()
            check_one_effect(ledger, last, receipt)

    @pytest.mark.parametrize("phase", ["SEAL", "DRAW", "CLOSE"])
    def test_of_what_stood_is_mended_with_the_stored_calls(
        self, node: Anvil, tmp_path: Path, phase: str
    ) -> None:
        """Depth 3 after the call was reported as done, found by the next process."""
        settings = settings_for(node, tmp_path)
        done = SUBMITTED[phase]
        with JsonRpcLedger.open(settings, tmp_path / "calls") as ledger:
            play(ledger, CREATE, OPEN, *done)
            before = ledger.round(TASK, ONE)
            node.stand_still()
            node.mine(2)
            node.reorganise(node.height - before.seal_block + 1)
            assert ledger.round(TASK, ONE).phase is Phase.OPEN
            node.go_on()
        phase_to_next: dict[str, Call] = {"SEAL": DRAW, "DRAW": CLOSE, "CLOSE": NEXT}
        following = phase_to_next[phase]
        with JsonRpcLedger.open(settings, tmp_path / "calls") as ledger:
            if following is CLOSE:
                # The beacon's block is another one now: this record may not stand.
                with pytest.raises(BeaconReplaced):
                    patiently(ledger, following)
                with pytest.raises(BeaconReplaced):
                    ledger.submit(following)
                patiently(ledger, FailRound(TASK, ONE, 7))
                assert ledger.round(TASK, ONE).phase is Phase.FAILED
                return
            if phase == "CLOSE":
                with pytest.raises(BeaconReplaced):
                    patiently(ledger, following)
                return
            patiently(ledger, following)
            after = ledger.round(TASK, ONE)
            assert (after.root, after.count) == (before.root, before.count)
            assert after.phase is Phase.DRAWN

    def test_that_spares_the_beacon_keeps_the_record(self, node: Anvil, tmp_path: Path) -> None:
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings, tmp_path / "calls") as ledger:
            play(ledger, CREATE, OPEN, SEAL, DRAW)
            node.stand_still()
            node.mine(3)
            beacon = ledger.round(TASK, ONE).beacon
            play(ledger, CLOSE)
            node.mine(2)
            node.reorganise(3)
            assert ledger.round(TASK, ONE).phase is Phase.DRAWN
            patiently(ledger, NEXT)
            view = ledger.round(TASK, ONE)
            assert (view.phase, view.record, view.beacon) == (Phase.CLOSED, CLOSE.record, beacon)

    def test_cached_events_are_dropped(self, node: Anvil, tmp_path: Path) -> None:
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings) as ledger:
            play(ledger, CREATE, OPEN, SEAL, DRAW)
            drawn = ledger.events(TASK)[-1]
            assert isinstance(drawn, BeaconDrawn)
            node.stand_still()
            node.reorganise(node.height - drawn.draw_height + 1)
            assert drawn not in ledger.events(TASK)
            patiently(ledger, DRAW)
            again = ledger.events(TASK)[-1]
            assert isinstance(again, BeaconDrawn)
            assert again.beacon != drawn.beacon
            assert ledger.round(TASK, ONE).beacon == again.beacon

    def test_events_that_go_while_they_are_read_are_dropped_later(
        self, node: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings) as ledger, JsonRpcLedger.open(settings) as other:
            play(ledger, CREATE, OPEN, SEAL, DRAW)
            node.stand_still()
            read = other._web3.eth.get_logs

            def read_just_before_it_changes(span: FilterParams) -> list[LogReceipt]:
                logs = read(span)
                monkeypatch.undo()
                node.reorganise(node.height - ledger.round(TASK, ONE).draw_height + 1)
                return logs

            monkeypatch.setattr(other._web3.eth, "get_logs", read_just_before_it_changes)
            drawn = other.events(TASK)[-1]
            assert isinstance(drawn, BeaconDrawn)
            assert drawn not in other.events(TASK)

    def test_back_to_a_snapshot(self, node: Anvil, tmp_path: Path) -> None:
        """The chain is shorter than what was seen."""
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings, tmp_path / "calls") as ledger:
            play(ledger, CREATE, OPEN)
            snapshot = node.ask("evm_snapshot")
            play(ledger, SEAL)
            assert len(ledger.events(TASK)) == 3
            node.ask("evm_revert", snapshot)
            assert grown(ledger).phase is Phase.OPEN
            patiently(ledger, DRAW)
            assert ledger.round(TASK, ONE).phase is Phase.DRAWN


def ledger_address(ledger: JsonRpcLedger) -> Any:
    from web3 import Web3

    return Web3.to_checksum_address(ledger._account.address)


def check_one_effect(ledger: JsonRpcLedger, call: Call, receipt: Receipt) -> None:
    assert ledger.submit(call) == receipt
    kinds = [type(event) for event in ledger.events(TASK)]
    assert len(kinds) == len(set(kinds)), kinds


class TestTransactions:
    def test_a_stuck_one_is_sent_again_with_a_higher_fee(
        self, still: Anvil, tmp_path: Path
    ) -> None:
        with ThreadPoolExecutor() as thread:
            still.ask("evm_setAutomine", True)
            settings = settings_for(still, tmp_path, resend_s=0.3)
            still.ask("evm_setAutomine", False)
            with JsonRpcLedger.open(settings) as ledger:
                submitting = thread.submit(ledger.submit, CREATE)
                offers = []

                def offered() -> int:
                    for fields in pending(still):
                        if fields["maxFeePerGas"] not in offers:
                            offers.append(fields["maxFeePerGas"])
                    return len(offers)

                eventually(lambda: offered() >= 3)
                assert len(pending(still)) == 1
                still.mine()
                receipt = submitting.result(PATIENCE_S)
                assert ledger.submit(CREATE) == receipt
        first, second, third = (int(offer, 16) for offer in offers[:3])
        assert second >= 1.25 * first
        assert third >= 1.25 * second

    def test_fees_stop_at_their_limit(self, still: Anvil, tmp_path: Path) -> None:
        still.ask("evm_setAutomine", True)
        settings = settings_for(still, tmp_path, resend_s=0.05)
        still.ask("evm_setAutomine", False)
        base = still.web3.eth.get_block("latest")["baseFeePerGas"]
        low = replace(settings, max_fee_gwei=(2 * base + 2 * 10**9) / 10**9)
        with JsonRpcLedger.open(low) as ledger, pytest.raises(Transient, match="max_fee_gwei"):
            ledger.submit(CREATE)

    def test_closing_ends_the_wait_for_a_block(self, still: Anvil, tmp_path: Path) -> None:
        """Or who stops a program would wait for it as long as the program for its transaction."""
        still.ask("evm_setAutomine", True)
        settings = settings_for(still, tmp_path, confirm_s=600)
        still.ask("evm_setAutomine", False)
        with ThreadPoolExecutor() as thread:
            with JsonRpcLedger.open(settings) as ledger:
                submitting = thread.submit(ledger.submit, CREATE)
                eventually(lambda: bool(pending(still)))
            with pytest.raises(Transient, match="no longer asked"):
                submitting.result(PATIENCE_S)

    def test_the_next_process_takes_over_what_is_pending(
        self, still: Anvil, tmp_path: Path
    ) -> None:
        still.ask("evm_setAutomine", True)
        settings = settings_for(still, tmp_path, confirm_s=1.0)
        still.ask("evm_setAutomine", False)
        with JsonRpcLedger.open(settings) as ledger, pytest.raises(Transient, match="confirmed"):
            ledger.submit(CREATE)
        (left,) = pending(still)
        patient = replace(settings, confirm_s=PATIENCE_S)
        with JsonRpcLedger.open(patient) as ledger, ThreadPoolExecutor() as thread:
            submitting = thread.submit(ledger.submit, CREATE)
            time.sleep(0.2)
            (now,) = pending(still)
            assert now["nonce"] == left["nonce"]
            still.mine()
            submitting.result(PATIENCE_S)
            assert len(ledger.events(TASK)) == 1

    def test_what_was_pending_may_come_into_a_block_just_before_the_simulation(
        self, still: Anvil, tmp_path: Path
    ) -> None:
        class Meanwhile(JsonRpcLedger):
            def _simulate(self, call: Call, transaction: TxParams) -> None:
                still.mine()
                super()._simulate(call, transaction)

        still.ask("evm_setAutomine", True)
        settings = settings_for(still, tmp_path, confirm_s=1.0)
        still.ask("evm_setAutomine", False)
        with JsonRpcLedger.open(settings) as ledger, pytest.raises(Transient, match="confirmed"):
            ledger.submit(CREATE)
        with Meanwhile.open(settings) as ledger:
            receipt = ledger.submit(CREATE)
            assert [event.block for event in ledger.events(TASK)] == [receipt.block]

    @pytest.mark.parametrize("lost", [False, True])
    def test_no_gap_after_a_kill(self, still: Anvil, tmp_path: Path, lost: bool) -> None:
        """Pending transactions of a dead process never leave a nonce nobody fills."""
        still.ask("evm_setAutomine", True)
        settings = settings_for(still, tmp_path, confirm_s=1.0)
        still.ask("evm_setAutomine", False)
        with JsonRpcLedger.open(settings) as ledger, pytest.raises(Transient):
            ledger.submit(CREATE)
        (left,) = pending(still)
        if lost:
            still.ask("anvil_dropTransaction", left["hash"])
        still.ask("evm_setAutomine", True)
        with JsonRpcLedger.open(replace(settings, confirm_s=PATIENCE_S)) as ledger:
            play(ledger, CREATE, OPEN, SEAL)
            assert ledger.round(TASK, ONE).phase is Phase.SEALED
            assert len(ledger.events(TASK)) == 3
        assert pending(still) == []

    def test_a_transaction_the_node_forgets_is_sent_again(
        self, still: Anvil, tmp_path: Path
    ) -> None:
        still.ask("evm_setAutomine", True)
        settings = settings_for(still, tmp_path)
        still.ask("evm_setAutomine", False)
        with JsonRpcLedger.open(settings) as ledger, ThreadPoolExecutor() as thread:
            submitting = thread.submit(ledger.submit, CREATE)
            eventually(lambda: len(pending(still)) == 1)
            (first,) = pending(still)
            still.ask("anvil_dropTransaction", first["hash"])
            eventually(lambda: len(pending(still)) == 1)
            assert pending(still)[0]["hash"] == first["hash"]
            still.mine()
            submitting.result(PATIENCE_S)

    def test_gas_limit(self, node: Anvil, tmp_path: Path) -> None:
        settings = settings_for(node, tmp_path, gas_limit=100_000)
        with JsonRpcLedger.open(settings) as ledger, pytest.raises(Fatal, match="gas_limit"):
            ledger.submit(CREATE)

    def test_an_account_without_money(self, node: Anvil, tmp_path: Path) -> None:
        settings = settings_for(node, tmp_path)
        poor = replace(settings, key_file=write_key(tmp_path / "poor", b"p" * 32))
        with JsonRpcLedger.open(poor) as ledger, pytest.raises(Fatal, match="cannot pay"):
            ledger.submit(CREATE)


def pending(node: Anvil) -> list[dict[str, str]]:
    content = node.ask("txpool_content")
    return [
        fields
        for kind in ("pending", "queued")
        for by_nonce in content[kind].values()
        for fields in by_nonce.values()
    ]


class TestBlockHash:
    def test_contracts_see_every_hash_that_headers_have(self, tmp_path: Path) -> None:
        """Also one that begins with 0xEF, as no contract's code may."""
        with anvil(tmp_path, block_s=0) as node, closing(Endpoint(node.url, 60)) as endpoint:
            web3 = Web3(endpoint)
            found = False
            while not found:
                node.mine(0x80)
                for height in range(node.height - 0x7F, node.height):
                    header = bytes(web3.eth.get_block(height)["hash"])
                    assert block_hash_seen(web3, height) == header
                    found = found or header[0] == 0xEF

    def test_of_a_block_long_gone_is_zero(self, tmp_path: Path) -> None:
        with anvil(tmp_path) as node, closing(Endpoint(node.url, 60)) as endpoint:
            node.mine(0x200)
            assert block_hash_seen(Web3(endpoint), 1) == bytes(32)


def saved(node: Anvil, state: Path) -> bytes:
    """What anvil has written to `state`, once that is no older than the call."""
    height, found = node.height, b""

    def written() -> bool:
        nonlocal found
        found = state.read_bytes() if state.exists() else b""
        try:
            reached: int = json.loads(found)["best_block_number"]
        except ValueError:  # it is being written
            return False
        return reached >= height

    eventually(written)
    return found


def lose(node: Anvil, state: Path, kept: bytes) -> None:
    """Kills the node; what it has written since `kept` was saved is gone, or was half written."""
    node.server.kill()
    state.write_bytes(kept)


class TestNode:
    def test_it_comes_back_with_its_state_after_kill(self, tmp_path: Path) -> None:
        """Between rounds: anvil's BLOCKHASH of blocks from before is not their header's hash."""
        state = tmp_path / "state.json"
        options = ("--state", str(state), "--state-interval", "1", "--preserve-historical-states")
        with anvil(tmp_path, *options) as node:
            settings = settings_for(node, tmp_path)
            with JsonRpcLedger.open(settings, tmp_path / "calls") as ledger:
                play(ledger, CREATE, OPEN)
                kept = saved(node, state)
                lose(node, state, kept)
                with pytest.raises(Transient):
                    ledger.task(TASK)
                node.start()
                assert ledger.round(TASK, ONE).phase is Phase.OPEN
                play(ledger, SEAL, DRAW, CLOSE)
                assert ledger.round(TASK, ONE).phase is Phase.CLOSED

    @pytest.mark.parametrize("drawn", [False, True])
    def test_a_beacon_of_its_forgotten_past_is_refused_and_the_round_can_fail(
        self, tmp_path: Path, drawn: bool
    ) -> None:
        state = tmp_path / "state.json"
        options = ("--state", str(state), "--state-interval", "1", "--preserve-historical-states")
        with anvil(tmp_path, *options) as node:
            settings = settings_for(node, tmp_path)
            with JsonRpcLedger.open(settings, tmp_path / "calls") as ledger:
                play(ledger, CREATE, OPEN, SEAL)
                height = ledger.round(TASK, ONE).draw_height
                eventually(lambda: node.height > height)
                kept = saved(node, state)
                if drawn:
                    patiently(ledger, DRAW)
                lose(node, state, kept)
                node.start()
                assert grown(ledger).phase is Phase.SEALED
                with pytest.raises(BeaconReplaced):
                    patiently(ledger, CLOSE if drawn else DRAW)
                patiently(ledger, FailRound(TASK, ONE, 7))
                view = ledger.round(TASK, ONE)
                assert (view.phase, view.beacon) == (Phase.FAILED, bytes(32))
                # Nothing of the lost draw stands in the way of what follows.
                lose(node, state, kept)
                node.start()
                patiently(ledger, replace(NEXT, parent=TASK))

    def test_another_chain(self, node: Anvil, tmp_path: Path) -> None:
        settings = replace(settings_for(node, tmp_path), chain_id=1)
        with JsonRpcLedger.open(settings) as ledger, pytest.raises(Fatal, match="expected 1"):
            ledger.submit(CREATE)

    def test_another_contract(self, node: Anvil, tmp_path: Path) -> None:
        settings = replace(settings_for(node, tmp_path), contract="0x" + "ab" * 20)
        with JsonRpcLedger.open(settings) as ledger, pytest.raises(Fatal, match="hashes to"):
            ledger.identity()

    def test_code_that_changes_is_found_before_the_next_round(
        self, node: Anvil, tmp_path: Path
    ) -> None:
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings) as ledger:
            play(ledger, CREATE)
            node.ask("anvil_setCode", settings.contract, "0x6001")
            with pytest.raises(Fatal, match="hashes to") as error:
                ledger.submit(OPEN)
            assert error.value.exit_code is ExitCode.LEDGER

    def test_without_a_key_calls_are_simulated_only(self, node: Anvil, tmp_path: Path) -> None:
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings) as ledger:
            play(ledger, CREATE)
        with JsonRpcLedger.open(replace(settings, key_file=None)) as reader:
            assert reader.task(TASK).last_round == 0
            with pytest.raises(Fatal, match=r"would send 132 bytes for about \d+ gas") as error:
                reader.submit(OPEN)
            assert error.value.exit_code is ExitCode.KEY
            with pytest.raises(LedgerReverted):
                reader.submit(OpenRound(TASK, ONE, b"w" * 32, b"r" * 32))
            assert reader.task(TASK).last_round == 0

    def test_reading_for_an_audit(self, node: Anvil, tmp_path: Path) -> None:
        settings = settings_for(node, tmp_path)
        with JsonRpcLedger.open(settings) as ledger:
            play(ledger, CREATE)
            with open_for_audit(node.url, settings.contract) as reader:
                assert reader.identity() == ledger.identity()
                assert reader.events(TASK) == ledger.events(TASK)

    def test_the_key_as_a_systemd_credential(
        self, node: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = settings_for(node, tmp_path, key_file=None, key_credential="ledger.key")
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        with pytest.raises(Fatal, match="LoadCredential"):
            JsonRpcLedger.open(settings)
        write_key(tmp_path / "ledger.key", KEY).chmod(0o440)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        with JsonRpcLedger.open(settings) as ledger:
            play(ledger, CREATE)


class TestDeploy:
    def test_once_per_account(self, node: Anvil) -> None:
        node.fund(KEY)
        made = deploy(node.url, KEY, confirmations=1)
        found = deploy(node.url, KEY)
        assert made.fresh
        assert not found.fresh
        assert (made.contract, made.code_hash) == (found.contract, found.code_hash)
        assert found.block == made.block
        node.fund(b"o" * 32)
        assert deploy(node.url, b"o" * 32).contract != made.contract

    def test_one_that_was_cut_short_is_finished(self, still: Anvil) -> None:
        still.fund(KEY)
        with ThreadPoolExecutor() as thread:
            for _ in range(2):
                thread.submit(deploy, still.url, KEY)
            eventually(lambda: len(pending(still)) == 1)
            time.sleep(0.3)
            still.ask("evm_setAutomine", True)
            still.mine()
        assert not deploy(still.url, KEY).fresh

    def test_without_a_key(self, node: Anvil) -> None:
        with pytest.raises(Fatal, match="would send") as error:
            deploy(node.url, None)
        assert error.value.exit_code is ExitCode.KEY
