"""The golden vectors are what the code writes, and what the documents say it writes."""

import dataclasses
import json
import re
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycddl import Schema, ValidationError
from tests.protocol.rounds import OPERATOR, MadeRound, make_round
from tests.vectors.generate import FOLDER, files, make_world, text
from tests.wire.strategies import values

from zkpot.aggregate import GlobalModelObject
from zkpot.batch import Reveal
from zkpot.cid import cid_from_text, is_node, node_cid, parse_manifest, split_object
from zkpot.errors import Failure, Reason, Rejected, reason_text
from zkpot.ids import device_from_text
from zkpot.offload import ProofJob
from zkpot.opening import decode_opening
from zkpot.record import Record, Roster, SealedList, SignedRecord, Verdicts
from zkpot.secure.exchange import (
    MaskedVector,
    Release,
    SealedRelease,
    ShareKind,
    open_release,
)
from zkpot.secure.sums import GroupSumObject
from zkpot.task import Task
from zkpot.verify import ProofObject, verify_commitment
from zkpot.wire.codec import decode, encode, without_none
from zkpot.wire.envelope import Envelope, envelope_digest, open_envelope
from zkpot.wire.messages import MESSAGE_TO_TYPE, TYPE_TO_MESSAGE, Phase
from zkpot.wire.prover_messages import JobState

DOCS = Path(__file__).parents[2] / "docs"
CDDL = (DOCS / "protocol.cddl").read_text()
PROTOCOL = (DOCS / "protocol.md").read_text()
LIMIT = 64 << 20

RULE_TO_OBJECT: dict[str, type] = {
    "task": Task,
    "roster": Roster,
    "sealed-list": SealedList,
    "verdicts": Verdicts,
    "record": Record,
    "signed-record": SignedRecord,
    "reveal": Reveal,
    "proof-object": ProofObject,
    "global-model": GlobalModelObject,
    "proof-job": ProofJob,
    "masked-vector": MaskedVector,
    "release": Release,
    "group-sum": GroupSumObject,
}


def _vectors(folder: str) -> list[Path]:
    return sorted((FOLDER / folder).glob("*.json"))


def _read(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text())
    return vector


def _bytes(vector: dict[str, Any]) -> bytes:
    return bytes(vector["zeros"]) if "zeros" in vector else bytes.fromhex(vector["bytes"])


@cache
def _schema(rule: str) -> Schema:
    """The schema with `rule` first, which is where a validator begins."""
    return Schema(f"start = {rule}\n{CDDL}")


each_message = pytest.mark.parametrize("path", _vectors("messages"), ids=lambda path: path.stem)
each_object = pytest.mark.parametrize("path", _vectors("objects"), ids=lambda path: path.stem)
each_attack = pytest.mark.parametrize("path", _vectors("rejected"), ids=lambda path: path.stem)


def test_the_vectors_are_what_the_generator_writes() -> None:
    written = {name: text(vector) for name, vector in files(make_world())}
    stored = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.glob("*/*.json")}
    assert stored.keys() == written.keys()
    for name, content in written.items():
        assert stored[name] == content, name


def test_every_message_and_object_has_a_vector() -> None:
    assert {_read(path)["type"] for path in _vectors("messages")} == set(TYPE_TO_MESSAGE)
    named = {_read(path)["rule"] for path in _vectors("objects")}
    assert named == {*RULE_TO_OBJECT, "model-opening", "manifest"}


@each_message
def test_a_message_vector_opens(path: Path) -> None:
    vector = _read(path)
    signer, public_key = device_from_text(vector["signer"]), bytes.fromhex(vector["public_key"])
    envelope = bytes.fromhex(vector["envelope"])
    opened = open_envelope(envelope, {signer: public_key})
    assert MESSAGE_TO_TYPE[type(opened.message)] == vector["type"]
    assert encode(opened.message).hex() == vector["payload"]
    assert envelope_digest(envelope).hex() == vector["digest"]


def test_the_sealed_release_opens_with_the_operators_key() -> None:
    payload = bytes.fromhex(_read(FOLDER / "messages/secure-sealed-release.json")["payload"])
    release = open_release(OPERATOR, decode(SealedRelease, payload, limit=LIMIT))
    assert [item.share for item in release.shares] == [bytes([4]) * 32]


@each_message
def test_a_message_vector_follows_the_cddl(path: Path) -> None:
    vector = _read(path)
    payload = bytes.fromhex(vector["payload"])
    _schema(vector["rule"]).validate_cbor(payload)
    _schema("message").validate_cbor(payload)
    _schema("envelope").validate_cbor(bytes.fromhex(vector["envelope"]))


@each_object
def test_an_object_vector_follows_code_and_cddl(path: Path) -> None:
    vector = _read(path)
    data, rule = _bytes(vector), vector["rule"]
    _schema(rule).validate_cbor(data)
    cid = cid_from_text(vector["cid"])
    assert is_node(cid)
    if rule == "manifest":
        assert node_cid(data) == cid
        assert len(parse_manifest(cid, data).leaves) == 2
        return
    assert split_object(data)[0] == cid
    if rule == "model-opening":
        assert len(decode_opening(make_round().task.model.shape, data).theta) == 26
        return
    assert encode(decode(RULE_TO_OBJECT[rule], data, limit=LIMIT)) == data


@each_attack
def test_an_attack_is_refused_with_its_code(path: Path) -> None:
    vector = _read(path)
    made = make_round()
    judges: dict[str, Callable[[MadeRound, bytes], object]] = {
        "envelope": lambda made, data: open_envelope(data, made.terms.roster.public_keys),
        "manifest": lambda _made, data: parse_manifest(node_cid(data), data),
        "commitment": lambda made, data: verify_commitment(made.terms, data, made.get, made.system),
    }
    with pytest.raises(Rejected) as caught:
        judges[vector["what"]](made, _bytes(vector))
    assert caught.value.reason is Reason[vector["code"]]


@pytest.mark.parametrize(
    "attack", ["empty", "unsigned", "unknown-envelope-key", "deep-nesting", "self-described-tag"]
)
def test_the_cddl_refuses_envelopes_of_another_form(attack: str) -> None:
    with pytest.raises((ValidationError, ValueError)):
        _schema("envelope").validate_cbor(_bytes(_read(FOLDER / f"rejected/{attack}.json")))


# --- the CDDL against the dataclasses -------------------------------------------------------

FIELD = re.compile(r"^  (\? )?(\d+) => .*; ([a-z_]+)(?:: .*)?$", re.MULTILINE)


def _rule_fields(rule: str) -> list[tuple[int, str, bool]]:
    found = re.search(rf"^{rule} = \{{\n(.*?)^\}}", CDDL, re.MULTILINE | re.DOTALL)
    assert found is not None, rule
    body = found.group(1)
    fields = [(int(key), name, bool(optional)) for optional, key, name in FIELD.findall(body)]
    assert len(fields) == len(body.splitlines()), rule
    return fields


def _rule_of(wire_type: type) -> str:
    special: dict[type, str] = {GlobalModelObject: "global-model", GroupSumObject: "group-sum"}
    return special.get(wire_type, re.sub(r"(?<!^)(?=[A-Z])", "-", wire_type.__name__).lower())


def _parts(wire_type: type) -> set[type]:
    """The type and every dataclass inside it."""
    found, waiting = set[type](), [wire_type]
    while waiting:
        current = waiting.pop()
        if not dataclasses.is_dataclass(current) or current in found:
            continue
        found.add(current)
        hints = [without_none(hint) for hint in get_type_hints(current).values()]
        for hint in hints:
            waiting += [arg for arg in get_args(hint) if isinstance(arg, type)]
            waiting += [hint] if isinstance(hint, type) else []
            assert get_origin(hint) in (None, tuple), hint
    return found


WIRE = set[type]().union(
    *(_parts(each) for each in (*MESSAGE_TO_TYPE, *RULE_TO_OBJECT.values(), Envelope))
)


each_type = pytest.mark.parametrize("wire_type", sorted(WIRE, key=str))


@each_type
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_the_code_writes_follows_the_cddl(wire_type: type, data: st.DataObject) -> None:
    _schema(_rule_of(wire_type)).validate_cbor(encode(data.draw(values(wire_type))))


@each_type
def test_the_cddl_has_the_fields_of_the_code(wire_type: type) -> None:
    hints = get_type_hints(wire_type, include_extras=True)
    fields = [
        (key, field.name, without_none(hints[field.name]) is not hints[field.name])
        for key, field in enumerate(dataclasses.fields(wire_type), 1)
    ]
    assert _rule_fields(_rule_of(wire_type)) == fields


def test_the_cddl_has_the_codes_of_the_code() -> None:
    (line,) = re.findall(r"^reason = ((?:.|\n  )*)$", CDDL, re.MULTILINE)
    allowed = {
        number
        for low, high in re.findall(r"\((\d+)\.\.(\d+)\)", line)
        for number in range(int(low), int(high) + 1)
    }
    assert allowed == set(Reason)
    (line,) = re.findall(r"^phase = &\((.*)\)$", CDDL, re.MULTILINE)
    phases = {name: int(number) for name, number in re.findall(r"(\w+): (\d+)", line)}
    assert phases == {phase.name.lower(): int(phase) for phase in Phase}
    (line,) = re.findall(r"^job-state = &\((.*)\)$", CDDL, re.MULTILINE)
    states = {name: int(number) for name, number in re.findall(r"(\w+): (\d+)", line)}
    assert states == {state.name.lower(): int(state) for state in JobState}
    (line,) = re.findall(r"^share-kind = &\((.*)\)$", CDDL, re.MULTILINE)
    kinds = {name: int(number) for name, number in re.findall(r"([\w-]+): (\d+)", line)}
    assert kinds == {kind.name.lower().replace("_", "-"): int(kind) for kind in ShareKind}


# --- the document ---------------------------------------------------------------------------


def _table(heading: str) -> list[list[str]]:
    section = PROTOCOL.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows[2:]]


@pytest.mark.parametrize(
    ("heading", "codes"), [("## Reason codes", Reason), ("## Failure codes", Failure)]
)
def test_the_document_lists_exactly_the_codes_of_the_code(
    heading: str, codes: type[IntEnum]
) -> None:
    listed = [(int(number), name) for number, name, _ in _table(heading)]
    assert listed == [(int(code), code.name.lower().replace("_", "-")) for code in codes]
    assert reason_text(Reason.NOT_FOUND) == "not-found"


def test_the_document_lists_exactly_the_messages_of_the_code() -> None:
    assert [row[0] for row in _table("## Messages")] == list(TYPE_TO_MESSAGE)


def test_the_document_lists_exactly_the_digest_domains_of_the_code() -> None:
    """Proof systems describe their own."""
    sources = (DOCS.parent / "protocol/zkpot").glob("*.py")
    code = "".join(
        path.read_text() for path in (*sources, *DOCS.parent.glob("protocol/zkpot/wire/*.py"))
    )
    used = set(re.findall(r'\bdigest\(\s*"([a-z-]+)"', code)) - {"dataset-split"}
    listed = {name.strip(" `") for row in _table("## Digests") for name in row[0].split(",")}
    assert listed == used


def test_the_document_lists_the_digest_domains_of_secure_aggregation() -> None:
    """All but the one that names messages in a member's own memory."""
    sources = (DOCS.parent / "protocol/zkpot/secure").glob("*.py")
    code = "".join(path.read_text() for path in sources)
    used = set(re.findall(r'\bdigest\(\s*"([a-z-]+)"', code)) - {"secure-message"}
    rows = _table("## Secure aggregation")
    assert {name.strip(" `") for row in rows for name in row[0].split(",")} == used
