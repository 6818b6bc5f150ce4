"""Who may connect to the embedded broker, and which topics each may write and read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pwdlib.hashers.argon2 import Argon2Hasher

from zkpot.files import replace_file
from zkpot.ids import DeviceId, device_text
from zkpot.wire.topics import PREFIX


@dataclass(frozen=True)
class Account:
    """One client. Its user name and its client id are the text of its device id."""

    device: DeviceId
    password: str = field(repr=False)
    is_aggregator: bool = False
    is_prover: bool = False
    is_validator: bool = False

    @property
    def username(self) -> str:
        """The text of the device id."""
        return device_text(self.device)


def writable(account: Account) -> list[str]:
    """Topic filters the account may publish under; a will counts as publishing."""
    own = f"{PREFIX}/device/{account.username}"
    if account.is_prover:
        return [f"{PREFIX}/prover/{account.username}/#"]
    if account.is_aggregator:
        every = f"{PREFIX}/device/+"
        return [f"{own}/status", f"{every}/down/#", f"{every}/cmd/#", f"{PREFIX}/task/#"]
    if account.is_validator:
        return [f"{own}/up/want", f"{PREFIX}/task/+/validator/{account.username}/#"]
    return [f"{own}/status", f"{own}/capabilities", f"{own}/up/#", f"{own}/to/#"]


def readable(account: Account) -> list[str]:
    """Topic filters the account may subscribe to, or to a part of."""
    if account.is_prover:
        return [f"{PREFIX}/device/+/to/{account.username}/#"]
    if account.is_aggregator:
        every = f"{PREFIX}/device/+"
        return [
            f"{every}/up/#",
            f"{every}/status",
            f"{every}/capabilities",
            f"{PREFIX}/task/#",
        ]
    own = f"{PREFIX}/device/{account.username}"
    if account.is_validator:
        return [f"{PREFIX}/device/+/up/#", f"{own}/down/#", f"{PREFIX}/task/#"]
    return [
        f"{own}/down/#",
        f"{own}/cmd/#",
        f"{PREFIX}/task/#",
        f"{PREFIX}/prover/+/status",
        f"{PREFIX}/prover/+/to/{account.username}/#",
    ]


def access_list(accounts: Iterable[Account]) -> dict[str, dict[str, Sequence[str]]]:
    """Configuration of amqtt's TopicAccessControlListPlugin."""
    listed = list(accounts)
    return {
        "publish_acl": {each.username: writable(each) for each in listed},
        "acl": {each.username: readable(each) for each in listed},
    }


def write_password_file(path: Path, accounts: Iterable[Account]) -> None:
    """Writes what amqtt's FileAuthPlugin reads, mode 0600.

    Passwords are random and long, so the hash is made cheap: fifty clients that come back
    at once must not keep the broker busy for seconds.
    """
    hasher = Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1)
    lines = [f"{each.username}:{hasher.hash(each.password)}\n" for each in accounts]
    replace_file(path, "".join(lines).encode())
