"""`zkpot-aggregator broker-config`: what mosquitto needs for one task's devices.

Writes `mosquitto.conf`, `access.list` and `certificates.sh` into a folder, and nothing
secret. Certificates are made by openssl: the script makes what is missing and replaces
nothing, and a device that keeps its key to itself sends a request (`clients/NAME.csr`) that
the script signs. A client's name is that of its certificate, for the access list and for its
session alike: `use_identity_as_username` alone would let one device throw another off.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zkpot.files import replace_file
from zkpot.ids import DeviceId, device_text
from zkpot.link import BrokerSettings
from zkpot_aggregator.embedded.access import Account, readable, writable

CONFIGURATION = "mosquitto.conf"
ACCESS_LIST = "access.list"
CERTIFICATES = "certificates.sh"

MAX_QUEUED_MESSAGES = 10_000
"""For a client that is away. mosquitto's 1000 are fewer than a large round's receipts."""
MAX_INFLIGHT_MESSAGES = 20
_AUTOSAVE_S = 10
"""What a crash of the broker can lose: links send again what was not answered."""


@dataclass(frozen=True)
class BrokerPlan:
    """What the files are made from; `names` are how clients reach the broker."""

    aggregator: DeviceId
    devices: Sequence[DeviceId]
    provers: Sequence[DeviceId] = ()
    validators: Sequence[DeviceId] = ()
    names: Sequence[str] = ("localhost", "127.0.0.1")
    port: int = 8883
    bind: str = "0.0.0.0"  # noqa: S104  (devices are elsewhere)
    packet_limit_bytes: int = BrokerSettings.packet_limit_bytes
    certificate_days: int = 825
    user: str = ""
    """As whom mosquitto runs when root starts it; its own default if empty."""


def write_broker_files(plan: BrokerPlan, folder: Path) -> list[Path]:
    """Writes the three files; a second run with the same plan changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    files = {
        CONFIGURATION: (configuration(plan, folder.absolute()), 0o644),
        ACCESS_LIST: (access_list(plan), 0o644),
        CERTIFICATES: (certificates_script(plan), 0o755),
    }
    for name, (text, mode) in files.items():
        replace_file(folder / name, text.encode(), mode)
    return [folder / name for name in files]


def configuration(plan: BrokerPlan, folder: Path) -> str:
    """mosquitto.conf (mosquitto.conf(5), version 2)."""
    user = f"user {plan.user}\n" if plan.user else ""
    return f"""\
# Made by zkpot-aggregator broker-config: run it again rather than edit this.
# Start: mosquitto -c {folder / CONFIGURATION}
{user}listener {plan.port} {plan.bind}
allow_anonymous false

cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
require_certificate true
tls_version tlsv1.2
# The certificate's name is the user name, and the user name is the client id: nobody can
# take over the session of somebody else.
use_identity_as_username true
use_username_as_clientid true
acl_file {folder / ACCESS_LIST}

# As packet_limit_bytes of the agents and the aggregator. A client that sends more is cut off,
# so they check before sending.
message_size_limit {plan.packet_limit_bytes}
max_packet_size {plan.packet_limit_bytes}
max_queued_messages {MAX_QUEUED_MESSAGES}
max_queued_bytes 0
max_inflight_messages {MAX_INFLIGHT_MESSAGES}

persistence true
persistence_location {folder}/data/
autosave_interval {_AUTOSAVE_S}
"""


def access_list(plan: BrokerPlan) -> str:
    """Who may write and read what; everything else is refused."""
    accounts = [
        Account(plan.aggregator, "", is_aggregator=True),
        *(Account(device, "") for device in plan.devices),
        *(Account(prover, "", is_prover=True) for prover in plan.provers),
        *(Account(validator, "", is_validator=True) for validator in plan.validators),
    ]
    return "\n".join(_lines_of(account) for account in accounts)


def _lines_of(account: Account) -> str:
    lines = [
        f"user {account.username}",
        *(f"topic write {topic}" for topic in writable(account)),
        *(f"topic read {topic}" for topic in readable(account)),
    ]
    return "\n".join(lines) + "\n"


def certificates_script(plan: BrokerPlan) -> str:
    """Openssl commands that make a CA and one certificate per client; to be run beside it."""
    others = (*plan.devices, *plan.provers, *plan.validators)
    clients = [device_text(each) for each in (plan.aggregator, *others)]
    names = ",".join(_alternative(plan.names))
    return f"""\
#!/bin/sh
# Makes what is missing of: ca.pem and ca.key, broker.pem and broker.key, and in clients/ a
# certificate per client. A device that made its own key puts clients/NAME.csr here, made by
#   openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
#     -keyout NAME.key -out NAME.csr -subj /CN=NAME
# Afterwards keep ca.key elsewhere: whoever has it can be any device.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p clients
days={plan.certificate_days}

key() {{
    [ -e "$1" ] || openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}}

# sign REQUEST CERTIFICATE EXTENSIONS
sign() {{
    printf '%s\\n' "$3" >extensions
    openssl x509 -req -in "$1" -CA ca.pem -CAkey ca.key -CAcreateserial -out "$2" \\
        -days "$days" -sha256 -extfile extensions 2>/dev/null
    rm -f extensions
}}

if [ ! -e ca.pem ]; then
    key ca.key
    openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=zkpot broker CA" -out ca.pem
fi
if [ ! -e broker.pem ]; then
    key broker.key
    openssl req -new -key broker.key -subj "/CN=zkpot broker" -out broker.csr
    sign broker.csr broker.pem {shlex.quote(f"subjectAltName={names}")}
fi
for name in {" ".join(clients)}; do
    [ ! -e "clients/$name.pem" ] || continue
    if [ ! -e "clients/$name.csr" ]; then
        key "clients/$name.key"
        openssl req -new -key "clients/$name.key" -subj "/CN=$name" -out "clients/$name.csr"
    fi
    # A request for another name would be a certificate for another device.
    case "$(openssl req -in "clients/$name.csr" -noout -subject -nameopt multiline)" in
        *"commonName                = $name") ;;
        *) echo "clients/$name.csr asks for another name" >&2; exit 1 ;;
    esac
    sign "clients/$name.csr" "clients/$name.pem" "extendedKeyUsage=clientAuth"
done
chmod 644 ca.pem broker.pem clients/*.pem
"""


def _alternative(names: Iterable[str]) -> list[str]:
    return [
        f"IP:{name}" if name.replace(".", "").isdecimal() or ":" in name else f"DNS:{name}"
        for name in names
    ]
