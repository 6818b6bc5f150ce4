"""A key is made once, kept to its owner, and refused rather than repaired."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.ids import device_text, digest
from zkpot.keys import (
    KeyPair,
    create_key_file,
    device_id,
    load_key_file,
    seal,
    verify_signature,
)

SEED = bytes(range(32))


def _refused(path: Path) -> str:
    with pytest.raises(Fatal) as caught:
        load_key_file(path)
    assert caught.value.exit_code is ExitCode.KEY
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["/proc/nowhere/device.key", "x" * 300])
def test_where_no_file_can_be_written_there_is_no_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(Fatal, match="cannot write the key") as caught:
        create_key_file(tmp_path / name)
    assert caught.value.exit_code is ExitCode.KEY


def test_the_id_is_the_start_of_the_public_keys_digest() -> None:
    pair = KeyPair.from_seed(SEED)
    assert pair.id == device_id(pair.public_key) == digest("device", pair.public_key)[:20]


def test_signatures_are_plain_ed25519() -> None:
    pair = KeyPair.from_seed(SEED)
    VerifyKey(pair.public_key).verify(b"message", pair.sign(b"message"))
    verify_signature(pair.public_key, b"message", pair.sign(b"message"))


@pytest.mark.parametrize(
    ("public_key", "message", "signature"),
    [
        (KeyPair.from_seed(SEED).public_key, b"other", KeyPair.from_seed(SEED).sign(b"message")),
        (KeyPair.generate().public_key, b"message", KeyPair.from_seed(SEED).sign(b"message")),
        (KeyPair.from_seed(SEED).public_key, b"message", bytes(64)),
        (KeyPair.from_seed(SEED).public_key, b"message", b""),
        (KeyPair.from_seed(SEED).public_key, b"message", bytes(65)),
        (b"", b"message", bytes(64)),
        (bytes(32), b"message", bytes(64)),
        (b"\x01" + bytes(31), b"message", b"\x01" + bytes(63)),
    ],
    ids=["message", "key", "zeros", "empty", "long", "no key", "zero key", "small order"],
)
def test_other_signatures_are_rejected(public_key: bytes, message: bytes, signature: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        verify_signature(public_key, message, signature)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_a_sealed_box_opens_for_its_receiver_only() -> None:
    pair = KeyPair.from_seed(SEED)
    assert pair.open(seal(pair.box_key, b"secret")) == b"secret"
    with pytest.raises(Rejected) as caught:
        KeyPair.generate().open(seal(pair.box_key, b"secret"))
    assert caught.value.reason is Reason.MALFORMED


@given(sealed=st.binary(max_size=100))
def test_garbage_in_a_sealed_box_is_rejected(sealed: bytes) -> None:
    with pytest.raises(Rejected):
        KeyPair.from_seed(SEED).open(sealed)


def test_the_halves_are_independent_and_the_representation_is_public() -> None:
    pair = KeyPair.from_seed(SEED)
    assert bytes(pair.box) != SEED
    assert repr(pair) == f"KeyPair({device_text(pair.id)})"
    assert SEED.hex() not in repr(pair)


def test_a_key_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "device.key"
    made = create_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key_file(path).public_key == made.public_key
    assert made.public_key != create_key_file(tmp_path / "other.key").public_key


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    for content in (b"", b"anything"):
        path.write_bytes(content)
        with pytest.raises(Fatal, match="never replaced") as caught:
            create_key_file(path)
        assert caught.value.exit_code is ExitCode.KEY
        assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o610])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "device.key"
    create_key_file(path)
    path.chmod(mode)
    assert "chmod 600" in _refused(path)


def test_a_missing_key_and_a_folder_are_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "none.key")
    _refused(tmp_path)
    assert not (tmp_path / "none.key").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _text: "",
        lambda text: text[:-4],
        lambda text: text.replace("zkpot-key-1", "zkpot-key-2"),
        lambda text: text + "more",
        lambda text: text.replace(text.split()[1], text.split()[1][:-2]),
        lambda text: text.replace(text.split()[1], "zz" * 32),
        lambda text: text.replace(text.split()[1], "00" * 32),
        lambda text: text.replace(text.split()[2], "00000000"),
        lambda _text: "\udcff",
    ],
    ids=[
        "empty",
        "truncated",
        "version",
        "trailing",
        "short",
        "not hexadecimal",
        "another seed",
        "another checksum",
        "not text",
    ],
)
def test_a_corrupt_key_is_refused_and_left_alone(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    path = tmp_path / "device.key"
    create_key_file(path)
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    before = path.read_bytes()
    _refused(path)
    assert path.read_bytes() == before


def test_every_changed_digit_of_the_seed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    create_key_file(path)
    text = path.read_text()
    start = text.index(" ") + 1
    for position in range(start, start + 64):
        digit = "0" if text[position] != "0" else "1"
        path.write_text(text[:position] + digit + text[position + 1 :])
        assert "corrupt" in _refused(path)


def test_a_credential_of_systemd_may_carry_an_access_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    made = create_key_file(path)
    path.chmod(0o440)
    with pytest.raises(Fatal, match="0440"):
        load_key_file(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_key_file(path).id == made.id
    path.chmod(0o444)
    with pytest.raises(Fatal, match="0444"):
        load_key_file(path)
