"""Long-term keys: an Ed25519 key that is an identity, an X25519 key for sealed boxes.

Both derive from one 32-byte seed made on the device. The file that holds it is created
with mode 0600, and a file that is wider, short or changed is refused, never replaced.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from nacl.bindings import crypto_box_SEALBYTES, crypto_sign_SEEDBYTES
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.files import create_secret_file, loose_mode
from zkpot.ids import DEVICE_ID_BYTES, DeviceId, device_text, digest

_FILE_HEADER = "zkpot-key-1"
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEAL_BYTES = crypto_box_SEALBYTES
"""By how much a sealed box is longer than what is in it."""


def device_id(public_key: bytes) -> DeviceId:
    """The id of the device that holds `public_key` (Ed25519, 32 bytes)."""
    return DeviceId(digest("device", public_key)[:DEVICE_ID_BYTES])


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raises `Rejected` unless `signature` over `message` is by `public_key`."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, CryptoError, ValueError) as error:
        raise Rejected(Reason.BAD_SIGNATURE, f"key {public_key.hex()[:16]}") from error


def seal(box_key: bytes, plaintext: bytes) -> bytes:
    """Encrypts to the holder of the X25519 key `box_key` (libsodium sealed box)."""
    return bytes(SealedBox(PublicKey(box_key)).encrypt(plaintext))


@dataclass(frozen=True, repr=False)
class KeyPair:
    """A participant's long-term keys. Its representation shows the public id only."""

    signing: SigningKey
    box: PrivateKey

    @classmethod
    def generate(cls) -> "KeyPair":
        """A fresh key from the operating system's randomness."""
        return cls.from_seed(os.urandom(crypto_sign_SEEDBYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> "KeyPair":
        """The keys of a 32-byte seed. The two halves are independent hashes of it."""
        box_seed = hashlib.blake2b(seed, digest_size=32, person=b"zkpot-box-key-1").digest()
        return cls(SigningKey(seed), PrivateKey(box_seed))

    @property
    def public_key(self) -> bytes:
        """Ed25519, 32 bytes."""
        return bytes(self.signing.verify_key)

    @property
    def box_key(self) -> bytes:
        """X25519, 32 bytes: what others seal to."""
        return bytes(self.box.public_key)

    @property
    def id(self) -> DeviceId:
        """The identity that goes into topics, rosters and records."""
        return device_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return bytes(self.signing.sign(message).signature)

    def open(self, sealed: bytes) -> bytes:
        """Decrypts what was sealed to `box_key`; raises `Rejected` if it was not."""
        try:
            return bytes(SealedBox(self.box).decrypt(sealed))
        except (CryptoError, ValueError, TypeError) as error:
            raise Rejected(Reason.MALFORMED, "sealed box does not open") from error

    def __repr__(self) -> str:
        return f"KeyPair({device_text(self.id)})"


def create_key_file(path: Path) -> KeyPair:
    """Makes a key and writes it to `path`, mode 0600; refuses to replace a file.

    Raises `Fatal` (KEY) if there is one, or if it cannot be written; then there is none.
    """
    pair = KeyPair.generate()
    seed = bytes(pair.signing)
    try:
        create_secret_file(path, f"{_FILE_HEADER} {seed.hex()} {_checksum(seed)}\n".encode())
    except FileExistsError as error:
        raise Fatal(ExitCode.KEY, f"{path} exists: a key is never replaced") from error
    except OSError as error:
        raise Fatal(ExitCode.KEY, f"cannot write the key {path}: {error}") from error
    return pair


def load_key_file(path: Path) -> KeyPair:
    """Reads a key; raises `Fatal` if the file is missing, readable by others or corrupt."""
    try:
        loose, text = loose_mode(path), path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(ExitCode.KEY, f"cannot read the key {path}: {error}") from error
    if loose:
        raise Fatal(ExitCode.KEY, f"{path} has mode {loose:04o}: run chmod 600 {path}")
    match text.split():
        case [header, hexadecimal, checksum] if header == _FILE_HEADER:
            try:
                seed = bytes.fromhex(hexadecimal)
            except ValueError:
                seed = b""
            if len(seed) == crypto_sign_SEEDBYTES and _checksum(seed) == checksum:
                return KeyPair.from_seed(seed)
    raise Fatal(ExitCode.KEY, f"{path} is corrupt: restore it from a backup, or enrol anew")


def _checksum(seed: bytes) -> str:
    return digest("key-file", seed)[:4].hex()
