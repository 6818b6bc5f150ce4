"""The chain in a directory: it comes back the same, or not at all."""

import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from web3.types import TxParams, TxReceipt

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.ids import Round, TaskId
from zkpot_aggregator.ledger.base import Ledger, LedgerConflict, LedgerReverted
from zkpot_aggregator.ledger.calls import (
    Address,
    Attest,
    Call,
    CloseRound,
    CreateTask,
    DrawBeacon,
    FailRound,
    OpenRound,
    SealCommitments,
)
from zkpot_aggregator.ledger.chainlog import ChainLog
from zkpot_aggregator.ledger.contract import Account, ContractLedger
from zkpot_aggregator.ledger.embedded import KEY_NAME, LOG_NAME, EmbeddedLedger
from zkpot_aggregator.ledger.views import Phase

pytestmark = pytest.mark.chain

TASK = TaskId(b"T" * 32)


def play(directory: Path) -> None:
    with EmbeddedLedger.open(directory) as ledger:
        ledger.submit(CreateTask(TASK, 1, (), 0))
        ledger.submit(OpenRound(TASK, Round(1), TASK, b"r" * 32))
        ledger.submit(SealCommitments(TASK, Round(1), b"c" * 32, 3))
        ledger.wait_for_block(ledger.round(TASK, Round(1)).draw_height + 1, 30)
        ledger.submit(DrawBeacon(TASK, Round(1)))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("played")
    play(directory)
    return directory


@pytest.fixture
def chain(played: Path, tmp_path: Path) -> Path:
    """A copy of a played chain."""
    for name in (LOG_NAME, KEY_NAME):
        (tmp_path / name).write_bytes((played / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    return tmp_path


def fails(directory: Path, code: ExitCode, *words: str) -> None:
    """Neither a writer nor, where the state is at fault, a reader gets anything."""
    with pytest.raises(Fatal) as error:
        EmbeddedLedger.open(directory).close()
    assert error.value.exit_code is code
    if code is ExitCode.STATE:
        with pytest.raises(Fatal) as error:
            EmbeddedLedger.open_read_only(directory)
    for word in words:
        assert word in str(error.value)


class TestReopening:
    def test_everything_is_there_and_goes_on(self, chain: Path) -> None:
        with EmbeddedLedger.open_read_only(chain) as before:
            events, view = before.events(TASK), before.round(TASK, Round(1))
            identity = before.identity()
        with EmbeddedLedger.open(chain) as ledger:
            assert ledger.identity() == identity
            assert (ledger.events(TASK), ledger.round(TASK, Round(1))) == (events, view)
            close = CloseRound(TASK, Round(1), b"x" * 32, b"l" * 32, 3, 4)
            receipt = ledger.submit(close)
        with EmbeddedLedger.open(chain) as ledger:
            assert ledger.submit(close) == receipt
            assert ledger.round(TASK, Round(1)).phase is Phase.CLOSED

    def test_reading_changes_nothing_and_needs_no_key(self, chain: Path) -> None:
        (chain / KEY_NAME).unlink()
        before = {path.name: path.read_bytes() for path in chain.iterdir()}
        with EmbeddedLedger.open_read_only(chain) as reader:
            assert reader.round(TASK, Round(1)).phase is Phase.DRAWN
            reader.wait_for_block(1, timeout_s=0)
            with pytest.raises(Fatal):
                reader.wait_for_block(1000, timeout_s=0)
            with pytest.raises(Fatal) as error:
                reader.submit(CloseRound(TASK, Round(1), b"x" * 32, b"l" * 32, 3, 4))
            assert error.value.exit_code is ExitCode.KEY
            with pytest.raises(LedgerReverted):
                reader.submit(CloseRound(TASK, Round(1), bytes(32), b"l" * 32, 3, 4))
        assert {path.name: path.read_bytes() for path in chain.iterdir()} == before

    def test_readers_beside_one_writer(self, chain: Path) -> None:
        with EmbeddedLedger.open(chain) as writer:
            with pytest.raises(Fatal, match="another process") as error:
                EmbeddedLedger.open(chain)
            assert error.value.exit_code is ExitCode.STATE
            writer.submit(CloseRound(TASK, Round(1), b"x" * 32, b"l" * 32, 3, 4))
            with EmbeddedLedger.open_read_only(chain) as reader:
                assert reader.round(TASK, Round(1)).phase is Phase.CLOSED
        writer.close()
        EmbeddedLedger.open(chain).close()

    def test_two_directories_are_two_chains(self, played: Path, tmp_path: Path) -> None:
        with (
            EmbeddedLedger.open(tmp_path / "new" / "chain") as other,
            EmbeddedLedger.open_read_only(played) as ledger,
        ):
            assert other.identity().contract != ledger.identity().contract
            assert other.identity().code_hash == ledger.identity().code_hash


class _Overtaken:
    """An account whose transactions arrive just after somebody else's same call."""

    def __init__(self, account: Account, other: Ledger, call: Call) -> None:
        self._account = account
        self._other = other
        self._call = call

    @property
    def address(self) -> Address:
        return self._account.address

    def send(self, transaction: TxParams) -> TxReceipt:
        self._other.submit(self._call)
        return self._account.send(transaction)

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        self._account.wait_for_block(height, timeout_s)


class TestRaces:
    def sealed(self, directory: Path) -> EmbeddedLedger:
        ledger = EmbeddedLedger.open(directory)
        ledger.submit(CreateTask(TASK, 1, (), 0))
        ledger.submit(OpenRound(TASK, Round(1), TASK, b"r" * 32))
        ledger.submit(SealCommitments(TASK, Round(1), b"c" * 32, 3))
        ledger.wait_for_block(ledger.round(TASK, Round(1)).draw_height + 1, 30)
        return ledger

    def test_somebody_else_s_draw_is_as_good(self, tmp_path: Path) -> None:
        with self.sealed(tmp_path) as ledger:
            stranger = ledger.for_key(b"s" * 32)
            draw = DrawBeacon(TASK, Round(1))
            account = _Overtaken(ledger._account, stranger, draw)
            overtaken = ContractLedger(ledger._web3, ledger.identity().contract, account)
            assert overtaken.submit(draw) == stranger.submit(draw)
            assert ledger.round(TASK, Round(1)).phase is Phase.DRAWN

    def test_a_call_that_no_longer_fits_is_fatal(self, tmp_path: Path) -> None:
        """Two processes of one operator: the second one has to find out."""
        with self.sealed(tmp_path) as ledger:
            fail = FailRound(TASK, Round(1), 60)
            account = _Overtaken(ledger._account, ledger, fail)
            overtaken = ContractLedger(ledger._web3, ledger.identity().contract, account)
            with pytest.raises(LedgerConflict):
                overtaken.submit(DrawBeacon(TASK, Round(1)))

    def test_a_vote_on_what_others_settled_just_before_is_refused(self, tmp_path: Path) -> None:
        """Fatal would end each validator whose vote shares a block with the quorum's last."""
        keys = b"u" * 32, b"v" * 32
        with EmbeddedLedger.open(tmp_path) as ledger:
            slow, quick = (ledger.for_key(key) for key in keys)
            validators = tuple(each._account.address for each in (slow, quick))
            ledger.submit(CreateTask(TASK, 1, validators, 1))
            ledger.submit(OpenRound(TASK, Round(1), TASK, b"r" * 32))
            ledger.submit(SealCommitments(TASK, Round(1), b"c" * 32, 3))
            ledger.wait_for_block(ledger.round(TASK, Round(1)).draw_height + 1, 30)
            ledger.submit(DrawBeacon(TASK, Round(1)))
            ledger.submit(CloseRound(TASK, Round(1), b"R" * 32, b"l" * 32, 1, 2))
            vote = Attest(TASK, Round(1), b"R" * 32)
            account = _Overtaken(slow._account, quick, vote)
            overtaken = ContractLedger(ledger._web3, ledger.identity().contract, account)
            with pytest.raises(LedgerReverted, match="phase"):
                overtaken.submit(vote)
            assert ledger.round(TASK, Round(1)).phase is Phase.FINAL

    def test_late_blocks(self, chain: Path) -> None:
        with EmbeddedLedger.open(chain) as ledger:
            with pytest.raises(Transient):
                ledger.wait_for_block(10_000, timeout_s=0.05)
            ledger.wait_for_block(1, timeout_s=0)


class TestKey:
    def test_it_is_for_its_owner_only(self, chain: Path, played: Path) -> None:
        assert (played / KEY_NAME).stat().st_mode & 0o777 == 0o600
        (chain / KEY_NAME).chmod(0o640)
        fails(chain, ExitCode.KEY, "chmod 600")

    @pytest.mark.parametrize("text", ["", "zz", "00" * 32 + "\n", "ab" * 31, "é" * 32])
    def test_corrupt(self, chain: Path, text: str) -> None:
        (chain / KEY_NAME).write_text(text)
        fails(chain, ExitCode.KEY, "corrupt")

    def test_missing_is_not_made_anew(self, chain: Path) -> None:
        (chain / KEY_NAME).unlink()
        fails(chain, ExitCode.KEY, KEY_NAME)
        assert not (chain / KEY_NAME).exists()

    def test_another_one(self, chain: Path) -> None:
        (chain / KEY_NAME).write_text("ab" * 32 + "\n")
        fails(chain, ExitCode.KEY, "belongs to")

    def test_no_chain_to_read(self, tmp_path: Path) -> None:
        with pytest.raises(Fatal) as error:
            EmbeddedLedger.open_read_only(tmp_path)
        assert error.value.exit_code is ExitCode.STATE


def lines_of(chain: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (chain / LOG_NAME).read_bytes().splitlines()]


def write_lines(chain: Path, lines: list[dict[str, Any]], *, relink: bool) -> None:
    """As a forger would who knows the format: with `relink` the links are right again."""
    link = bytes(32)
    text = b""
    for fields in lines:
        if relink:
            content = {name: value for name, value in fields.items() if name != "link"}
            encoded = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
            link = hashlib.sha256(link + encoded).digest()
            fields = content | {"link": link.hex()}  # noqa: PLW2901
        text += json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    (chain / LOG_NAME).write_bytes(text)


def others(value: Any) -> list[Any]:
    """Values near this one, of the same and of other types."""
    match value:
        case int():
            return [value + 1, value - 1, float(value), str(value), -value, 1 << 70, True, None]
        case str():
            flipped = ("1" if value[0] == "0" else "0") + value[1:]
            return [flipped, value[:-2], value + "00", "", value.upper(), "zz", 7, None]
        case list():
            longer = [*value, "00"] if value else ["00", "0102"]
            return [longer, value[:-1] if value else [""], [7], None, "", value * 2 or ["c0"]]
    raise AssertionError(value)


class TestTampering:
    @pytest.mark.parametrize("relink", [False, True])
    def test_each_field_of_each_entry(self, chain: Path, relink: bool) -> None:
        lines = lines_of(chain)
        for number, fields in enumerate(lines):
            for name, value in fields.items():
                for other in others(value):
                    if other == value and type(other) is type(value):
                        continue
                    if relink and name == "link":
                        continue
                    changed = [dict(line) for line in lines]
                    changed[number][name] = other
                    write_lines(chain, changed, relink=relink)
                    with pytest.raises(Fatal) as error:
                        EmbeddedLedger.open_read_only(chain)
                    assert error.value.exit_code is ExitCode.STATE
                    assert f"{LOG_NAME}, entry {number}" in str(error.value), (name, other)

    @pytest.mark.parametrize("relink", [False, True])
    def test_missing_added_and_swapped_entries(self, chain: Path, relink: bool) -> None:
        lines = lines_of(chain)
        swapped = [*lines[:2], lines[3], lines[2], *lines[4:]]
        for changed in (
            lines[1:],
            lines[:2] + lines[3:],
            [*lines, lines[-1]],
            swapped,
            [*lines[:2], {**lines[2], "more": 1}, *lines[3:]],
            [{**lines[0], "more": 1}, *lines[1:]],
            [lines[0], {k: v for k, v in lines[1].items() if k != "time_s"}, *lines[2:]],
            [{k: v for k, v in lines[0].items() if k != "operator"}, *lines[1:]],
        ):
            write_lines(chain, changed, relink=relink)
            fails(chain, ExitCode.STATE, LOG_NAME, "restore")

    def test_random_bits(self, chain: Path) -> None:
        raw = (chain / LOG_NAME).read_bytes()
        rng = random.Random(5)
        for _ in range(100):
            changed = bytearray(raw)
            changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            (chain / LOG_NAME).write_bytes(changed)
            with pytest.raises(Fatal):
                EmbeddedLedger.open_read_only(chain)

    def test_random_bits_of_transactions_under_right_links(self, chain: Path) -> None:
        lines = lines_of(chain)
        rng = random.Random(6)
        numbers = [number for number, line in enumerate(lines) if line.get("transactions")]
        for _ in range(60):
            changed = [dict(line) for line in lines]
            number = rng.choice(numbers[1:])
            raw = bytearray.fromhex(lines[number]["transactions"][0])
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            changed[number]["transactions"] = [raw.hex()]
            write_lines(chain, changed, relink=True)
            with pytest.raises(Fatal) as error:
                EmbeddedLedger.open_read_only(chain)
            assert f"entry {number}:" in str(error.value)

    def test_other_spellings_of_the_same(self, chain: Path) -> None:
        raw = (chain / LOG_NAME).read_bytes()
        for changed in (
            raw.replace(b'":', b'": ', 1),
            b"\n" + raw,
            raw + b"\n",
            raw.replace(b"\n", b"\r\n", 1),
            b"",
            b"[]\n",
            b"7\n" + raw,
            b"\xff\n",
            raw.replace(b"{", b'{"height":1,', 2),
        ):
            (chain / LOG_NAME).write_bytes(changed)
            fails(chain, ExitCode.STATE, LOG_NAME)


MINER = """
import sys
from pathlib import Path
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
with EmbeddedLedger.open(Path(sys.argv[1])) as ledger:
    height = int(sys.argv[2])
    while True:
        height += 1
        ledger.wait_for_block(height, 1)
        print(height, flush=True)
"""


class TestPowerLoss:
    def test_a_torn_last_entry_is_dropped(
        self, chain: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        raw = (chain / LOG_NAME).read_bytes()
        start = raw.rindex(b"\n", 0, -1) + 1
        height = len(lines_of(chain)) - 1
        for end in (start + 1, start + 2, (start + len(raw)) // 2, len(raw) - 2, len(raw) - 1):
            (chain / LOG_NAME).write_bytes(raw[:end])
            caplog.clear()
            with EmbeddedLedger.open_read_only(chain) as reader:
                assert reader.round(TASK, Round(1)).phase is Phase.SEALED
            assert (chain / LOG_NAME).read_bytes() == raw[:end]
            with EmbeddedLedger.open(chain) as ledger:
                assert [record.levelno for record in caplog.records].count(logging.WARNING) == 2
                assert (chain / LOG_NAME).read_bytes() == raw[:start]
                # The transaction was never reported, so its caller asks for it again.
                assert ledger.submit(DrawBeacon(TASK, Round(1))).block == height
            EmbeddedLedger.open(chain).close()

    def test_an_overwritten_end_is_not_a_power_loss(self, chain: Path) -> None:
        raw = (chain / LOG_NAME).read_bytes()
        for end in (b" ", b"\x0b", b"\x8a", b"{", b" \x00"):
            (chain / LOG_NAME).write_bytes(raw[:-1] + end)
            fails(chain, ExitCode.STATE, "where its end should be")

    def test_zeros_at_the_end(self, chain: Path) -> None:
        raw = (chain / LOG_NAME).read_bytes()
        (chain / LOG_NAME).write_bytes(raw + bytes(300))
        EmbeddedLedger.open(chain).close()
        assert (chain / LOG_NAME).read_bytes() == raw

    def test_killed_while_mining(self, chain: Path) -> None:
        rng = random.Random(7)
        for _ in range(2):
            height = len(lines_of(chain)) - 1
            child = subprocess.Popen(
                [sys.executable, "-c", MINER, str(chain), str(height)],
                stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(rng.random() / 10)
            child.send_signal(signal.SIGKILL)
            reported = [first, *child.stdout.readlines()]
            child.wait()
            child.stdout.close()
            with EmbeddedLedger.open(chain) as ledger:
                assert ledger.round(TASK, Round(1)).phase is Phase.DRAWN
            # What was reported is there.
            assert len(lines_of(chain)) - 1 >= int(reported[-1])

    def test_killed_before_the_first_block(self, tmp_path: Path) -> None:
        """Only the key is there, and perhaps an unfinished file."""
        with EmbeddedLedger.open(tmp_path) as ledger:
            contract = ledger.identity().contract
        (tmp_path / LOG_NAME).rename(tmp_path / ".tmp-0123")
        with EmbeddedLedger.open(tmp_path) as ledger:
            assert ledger.identity().contract == contract

    def test_disk_full(self, chain: Path) -> None:
        script = MINER.replace(
            "import sys\n",
            "import resource, sys, os\n"
            "size = os.path.getsize(sys.argv[1] + '/chain.log') + 700\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n",
        )
        height = len(lines_of(chain)) - 1
        child = subprocess.run(
            [sys.executable, "-c", script, str(chain), str(height)],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert "cannot write" in child.stderr
        reported = child.stdout.splitlines()
        assert reported
        with EmbeddedLedger.open(chain):
            assert len(lines_of(chain)) - 1 == int(reported[-1])

    def test_after_a_failed_write_nothing_more_is_taken(
        self, chain: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with EmbeddedLedger.open(chain) as ledger:
            aside = tmp_path_factory.mktemp("aside") / LOG_NAME
            (chain / LOG_NAME).rename(aside)
            (chain / LOG_NAME).mkdir()
            with pytest.raises(Fatal, match="cannot write"):
                ledger.wait_for_block(100, 1)
            (chain / LOG_NAME).rmdir()
            aside.rename(chain / LOG_NAME)
            with pytest.raises(Fatal, match="open it anew"):
                ledger.wait_for_block(100, 1)
        EmbeddedLedger.open(chain).close()


def test_a_log_open_for_reading_takes_nothing(chain: Path) -> None:
    log = ChainLog(chain / LOG_NAME, writable=False)
    with pytest.raises(Fatal):
        log.append(log.entries[-1])


def test_a_contract_of_other_code_is_refused(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from zkpot_aggregator.ledger import contract
    from zkpot_aggregator.ledger.artifact import load_artifact

    other = dataclasses.replace(load_artifact(), code_hash=bytes(32))
    monkeypatch.setattr(contract, "load_artifact", lambda: other)
    with pytest.raises(Fatal) as error:
        EmbeddedLedger.open_read_only(chain)
    assert error.value.exit_code is ExitCode.LEDGER
