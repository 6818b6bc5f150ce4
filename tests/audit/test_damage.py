"""Damage without understanding: one byte, one block, one field at a time, each of them found."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.audit.conftest import ROUNDS, Finished
from tests.audit.tamperer import Tamperer
from typer.testing import CliRunner

from zkpot.cid import Cid, cid_from_text, cid_text, is_node, object_cid_from_digest, parse_manifest
from zkpot.errors import ExitCode, Fatal, Reason
from zkpot.record import Record, SealedList, SignedRecord, Verdicts
from zkpot.task import manifest_cid
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import Submission
from zkpot_aggregator.audit.audit import Sources, audit
from zkpot_aggregator.audit.report import Fault
from zkpot_aggregator.cli import app
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.chainlog import ChainLog
from zkpot_aggregator.ledger.embedded import LOG_NAME, EmbeddedLedger
from zkpot_aggregator.ui.audit import audit_directory, load_system
from zkpot_aggregator.ui.directory import open_directory

pytestmark = [pytest.mark.chain, pytest.mark.prover]


@dataclass
class Watched:
    """A content store that notes what is read."""

    store: DirectoryStore
    read: list[Cid] = field(default_factory=list)

    def get(self, cid: Cid) -> bytes:
        self.read.append(cid)
        return self.store.get(cid)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass
class Blocks:
    """The blocks an audit reads, their files, and what should be said if one is bad."""

    tamperer: Tamperer
    cids: list[Cid]
    cid_to_expected: dict[Cid, tuple[int, str]]
    sources: Sources

    def path(self, cid: Cid) -> Path:
        name = cid_text(cid)
        (path,) = self.tamperer.layout.content.glob(f"blocks/*/{name}")
        return path

    def fault(self) -> Fault:
        found = audit(self.tamperer.task_id, self.sources).fault
        assert found is not None, "the audit is clean"
        return found


@pytest.fixture
def blocks(tamperer: Tamperer) -> Blocks:
    """Found out with a clean audit."""
    opened = open_directory(tamperer.directory)
    watched = Watched(opened.content)
    report = audit(tamperer.task_id, Sources(opened.ledger, watched, load_system))
    assert report.ok
    expected: dict[Cid, tuple[int, str]] = {}

    def expect(cid: Cid, number: int, check: str) -> None:
        manifest = parse_manifest(cid, opened.content.get(cid))
        for block in (cid, *manifest.leaves):
            expected.setdefault(block, (number, check))

    expect(manifest_cid(tamperer.task_id), 0, "task")
    for number in ROUNDS:
        expect(object_cid_from_digest(tamperer.views[number].record), number, "record")
        expect(tamperer.signed(number).record, number, "record")
        record, keys = tamperer.record(number), tamperer.roster(number).public_keys
        expect(record.roster, number, "roster")
        expect(record.sealed, number, "seal")
        for commitment in tamperer.sealed(number).open(tamperer.roster(number)).values():
            assert commitment.wellformed is not None
            expect(commitment.wellformed, number, "seal")
        expect(record.batch, number, "batch")
        expect(record.model_before, number, "gate")
        expect(record.verdicts, number, "verdicts")
        for verdict in tamperer.verdicts(number):
            assert verdict.submission is not None
            proof = open_as(Submission, verdict.submission, keys).message.proof
            expect(proof, number, "verdicts")
        for cid in (record.model_after, *record.groups):
            expect(cid, number, "sum")
    cids = list(dict.fromkeys(watched.read))
    assert set(cids) == set(expected)
    return Blocks(tamperer, cids, expected, Sources(opened.ledger, opened.content, load_system))


def test_one_flipped_byte_in_any_block_is_found(blocks: Blocks) -> None:
    generator = random.Random(7)
    for cid in blocks.cids:
        path = blocks.path(cid)
        good = path.read_bytes()
        place, mask = generator.randrange(len(good)), generator.randrange(1, 256)
        path.write_bytes(good[:place] + bytes([good[place] ^ mask]) + good[place + 1 :])
        fault = blocks.fault()
        assert (fault.round, fault.check) == blocks.cid_to_expected[cid], fault
        assert fault.reason in (Reason.CID_MISMATCH, Reason.VERDICT_MISMATCH), fault
        path.write_bytes(good)
    assert audit(blocks.tamperer.task_id, blocks.sources).ok


def test_any_missing_block_is_named(blocks: Blocks) -> None:
    for cid in blocks.cids:
        path = blocks.path(cid)
        good = path.read_bytes()
        path.unlink()
        fault = blocks.fault()
        assert (fault.round, fault.check) == blocks.cid_to_expected[cid], fault
        assert fault.reason is Reason.NOT_FOUND, fault
        assert cid_text(cid) in fault.detail
        path.write_bytes(good)
    assert audit(blocks.tamperer.task_id, blocks.sources).ok


def test_blocks_swapped_for_others_are_found(blocks: Blocks) -> None:
    leaves = [cid for cid in blocks.cids if not is_node(cid)]
    for cid, other in zip(leaves, leaves[1:] + leaves[:1], strict=True):
        path = blocks.path(cid)
        good = path.read_bytes()
        path.write_bytes(blocks.path(other).read_bytes())
        fault = blocks.fault()
        assert (fault.round, fault.check) == blocks.cid_to_expected[cid], fault
        path.write_bytes(good)


def test_every_stored_block_that_is_not_read_is_harmless(blocks: Blocks) -> None:
    """What lies in the store but no record names, such as other devices' rejected wares."""
    for path in blocks.tamperer.layout.content.glob("blocks/*/*"):
        if cid_from_text(path.name) not in blocks.cid_to_expected:
            path.unlink()
    assert audit(blocks.tamperer.task_id, blocks.sources).ok


# --- the chain's file -----------------------------------------------------------------------


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [changed(each) for each in value] or ["00"]
    return ("0" if value[:1] != "0" else "1") + value[1:] if value else "00"


def entries(directory: Path) -> tuple[Path, list[dict[str, Any]]]:
    path = Layout(directory / "aggregator" / "state").chain / LOG_NAME
    return path, [json.loads(line) for line in path.read_bytes().splitlines()]


def written(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(
        json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n" for line in lines
    )


def test_every_field_of_every_ledger_entry_counts(copy: Callable[[], Path]) -> None:
    path, lines = entries(copy())
    assert path.read_bytes() == written(lines)
    for number, line in enumerate(lines):
        for name, value in line.items():
            edited = [*lines[:number], line | {name: changed(value)}, *lines[number + 1 :]]
            path.write_bytes(written(edited))
            with pytest.raises(Fatal, match=rf"entry {number}\b") as caught:
                ChainLog(path, writable=False)
            assert caught.value.exit_code is ExitCode.STATE
            assert str(path) in str(caught.value)


def relinked(lines: list[dict[str, Any]]) -> bytes:
    """With every link computed anew, as one would who knows the format."""
    link = bytes(32)
    result = []
    for line in lines:
        content = {key: value for key, value in line.items() if key != "link"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        link = hashlib.sha256(link + text).digest()
        result.append(content | {"link": link.hex()})
    return written(result)


@pytest.mark.parametrize("place", [1, 5, -1])
def test_fields_changed_with_all_links_mended_do_not_replay(
    copy: Callable[[], Path], place: int
) -> None:
    directory = copy()
    path, lines = entries(directory)
    assert path.read_bytes() == relinked(lines)
    number = place % len(lines)
    for name in ("height", "time_s", "mix_hash", "transactions", "block_hash"):
        edited = list(lines)
        edited[number] = lines[number] | {name: changed(lines[number][name])}
        path.write_bytes(relinked(edited))
        with pytest.raises(Fatal, match=rf"entry {number}\b") as caught:
            EmbeddedLedger.open_read_only(path.parent)
        assert caught.value.exit_code is ExitCode.STATE


def test_a_gap_in_the_chain_is_found(copy: Callable[[], Path]) -> None:
    directory = copy()
    path, lines = entries(directory)
    for gap in (1, 4, len(lines) - 2):
        path.write_bytes(relinked(lines[:gap] + lines[gap + 1 :]))
        with pytest.raises(Fatal, match=rf"entry {gap}\b"):
            EmbeddedLedger.open_read_only(path.parent)


def test_a_chain_cut_off_at_its_end_never_shows_what_it_lost(
    finished: Finished, copy: Callable[[], Path]
) -> None:
    """Blocks missing from the end cannot be told from blocks never mined, but from rounds can."""
    directory = copy()
    path, lines = entries(directory)
    full = audit_directory(directory)
    for kept in range(2, len(lines)):
        path.write_bytes(written(lines[:kept]))
        report = audit_directory(directory)
        closed = [finding for finding in report.rounds if finding.leader is not None]
        assert len(closed) < len(ROUNDS)
        assert closed == full.rounds[: len(closed)]
        for finding in report.rounds[len(closed) :]:
            assert finding.notes[0].startswith("unfinished")


def test_a_broken_chain_ends_the_command_with_the_state_code(copy: Callable[[], Path]) -> None:
    directory = copy()
    path, lines = entries(directory)
    path.write_bytes(written([*lines[:3], lines[3] | {"time_s": 1}, *lines[4:]]))
    result = CliRunner().invoke(app, ["audit", "--dir", str(directory), "--json"])
    assert result.exit_code == ExitCode.STATE
    assert result.stdout == ""
    assert "entry 3" in result.stderr


def test_objects_are_what_they_say(tamperer: Tamperer) -> None:
    """The expectations above rest on these reads."""
    for number in ROUNDS:
        assert isinstance(tamperer.signed(number), SignedRecord)
        assert isinstance(tamperer.record(number), Record)
        assert isinstance(tamperer.sealed(number), SealedList)
        assert isinstance(tamperer.get(Verdicts, tamperer.record(number).verdicts), Verdicts)
