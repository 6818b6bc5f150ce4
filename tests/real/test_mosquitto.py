"""The link over mosquitto with certificates, and what a hostile device cannot do there."""

import asyncio
import contextlib
import gc
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest
from tests.link.rigs import AGGREGATOR, ANNA, BERT, TASK, BrokerRig, MqttRig, eventually
from tests.link.test_link import LinkContract
from tests.real.mosquitto import MARKS, Mosquitto, make_certificates, plan_for

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import DeviceId, device_text
from zkpot.journal import Journal, Outgoing
from zkpot.link import BrokerSettings, Tls
from zkpot.link.mqtt import MqttLink
from zkpot.wire import topics
from zkpot.wire.envelope import MAX_MESSAGE_BYTES
from zkpot.wire.topics import Kind
from zkpot_aggregator.mosquitto import write_broker_files

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    # Here, where the warning is expected, and not in a later test.
    gc.collect()


class TestMosquittoLink(LinkContract):
    tells_refusals = False

    @staticmethod
    def make_broker(folder: Path) -> BrokerRig:
        broker = Mosquitto(folder, AGGREGATOR, (ANNA, BERT))
        return MqttRig(broker, broker.settings)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path, AGGREGATOR, (ANNA, BERT))
    running.start()
    yield running
    running.stop()


def context(tls: Tls) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=tls.ca_file)
    if tls.certificate_file is not None:
        made.load_cert_chain(tls.certificate_file, tls.key_file)
    return made


class Raw:
    """A client that keeps to no rule of ours; what it receives is in `received`."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.received: list[tuple[str, bytes]] = []

    async def read(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.received.append((str(message.topic), message.payload))


@contextlib.asynccontextmanager
async def raw(
    broker: Mosquitto,
    device: DeviceId,
    client_id: DeviceId | None = None,
    version: aiomqtt.ProtocolVersion = aiomqtt.ProtocolVersion.V311,
) -> AsyncIterator[Raw]:
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.plan.port,
        identifier=device_text(client_id or device),
        tls_context=context(broker.tls(device)),
        protocol=version,
    ) as client:
        made = Raw(client)
        reading = asyncio.ensure_future(made.read())
        try:
            yield made
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class TestHostileDevice:
    """Bert has a valid certificate, and wants what is Anna's."""

    def test_it_neither_reads_nor_writes_her_topics(self, broker: Mosquitto) -> None:
        async def scenario() -> None:
            async with (
                raw(broker, AGGREGATOR) as aggregator,
                raw(broker, ANNA) as anna,
                raw(broker, BERT) as bert,
            ):
                for topic_filter in topics.aggregator_subscriptions():
                    await aggregator.client.subscribe(topic_filter, qos=1)
                for topic_filter in topics.device_subscriptions(ANNA, TASK):
                    await anna.client.subscribe(topic_filter, qos=1)
                    await bert.client.subscribe(topic_filter, qos=1)
                await bert.client.subscribe("#", qos=1)
                for topic in (
                    topics.up(ANNA, Kind.COMMITMENT),
                    topics.status(ANNA),
                    topics.capabilities(ANNA),
                    topics.down(ANNA, Kind.RECEIPT),
                    topics.down(BERT, Kind.RECEIPT),
                    topics.task_round(TASK),
                ):
                    await bert.client.publish(topic, b"forged", qos=1, retain=True)
                await anna.client.publish(topics.up(ANNA, Kind.COMMITMENT), b"hers", qos=1)
                await aggregator.client.publish(topics.down(ANNA, Kind.RECEIPT), b"for her", qos=1)
                await aggregator.client.publish(topics.task_round(TASK), b"for all", qos=1)
                await eventually(lambda: len(anna.received) >= 2 and bool(bert.received))
                await asyncio.sleep(0.2)
                assert [payload for _, payload in anna.received] == [b"for her", b"for all"]
                assert {payload for _, payload in bert.received} == {b"for all"}
                assert [payload for _, payload in aggregator.received] == [b"hers"]

        asyncio.run(scenario())

    @pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
    def test_it_cannot_take_over_her_session(
        self, broker: Mosquitto, version: aiomqtt.ProtocolVersion
    ) -> None:
        async def scenario() -> None:
            async with raw(broker, AGGREGATOR) as aggregator, raw(broker, ANNA) as anna:
                await anna.client.subscribe(topics.down(ANNA, Kind.RECEIPT), qos=1)
                async with raw(broker, BERT, client_id=ANNA, version=version) as bert:
                    topic = topics.down(ANNA, Kind.RECEIPT)
                    await aggregator.client.publish(topic, b"for her", qos=1)
                    await eventually(lambda: bool(anna.received))
                    await anna.client.publish(topics.status(ANNA), b"still here", qos=1)
                    assert bert.received == []

        asyncio.run(scenario())

    def test_its_will_does_not_speak_for_her(self, broker: Mosquitto) -> None:
        async def scenario() -> None:
            async with raw(broker, AGGREGATOR) as aggregator:
                await aggregator.client.subscribe(topics.status(ANNA), qos=1)
                with contextlib.suppress(aiomqtt.MqttError):
                    async with aiomqtt.Client(
                        "127.0.0.1",
                        broker.plan.port,
                        identifier=device_text(BERT),
                        tls_context=context(broker.tls(BERT)),
                        will=aiomqtt.Will(topics.status(ANNA), b"forged", 1, retain=True),
                    ) as bert:
                        sock = bert._client.socket()
                        assert isinstance(sock, socket.socket)
                        sock.shutdown(socket.SHUT_RDWR)
                        await asyncio.sleep(0.2)
                await asyncio.sleep(0.3)
                assert aggregator.received == []

        asyncio.run(scenario())


class TestCertificates:
    @pytest.mark.parametrize("kind", ["rogue", "expired", "missing"])
    def test_others_are_refused(self, broker: Mosquitto, tmp_path: Path, kind: str) -> None:
        async def scenario(journal: Journal) -> None:
            settings = replace(
                broker.settings(ANNA), tls=bad_tls(kind, broker, tmp_path), connect_timeout_s=2.0
            )
            link = MqttLink(settings, client_id="x", journal=journal, subscriptions=["t"])
            with pytest.raises(Fatal, match="refuses the client certificate") as caught:
                await asyncio.wait_for(link.run(), 60)
            assert caught.value.exit_code is ExitCode.CREDENTIALS

        with Journal.open(tmp_path / "state.db") as journal:
            asyncio.run(scenario(journal))

    def test_making_them_again_changes_none(self, tmp_path: Path) -> None:
        write_broker_files(plan_for(AGGREGATOR, [ANNA]), tmp_path)
        make_certificates(tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
        write_broker_files(plan_for(AGGREGATOR, [ANNA, BERT]), tmp_path)
        make_certificates(tmp_path)
        assert {path: path.read_bytes() for path in before} == before
        assert (tmp_path / "clients" / f"{device_text(BERT)}.pem").exists()
        for key in tmp_path.rglob("*.key"):
            assert key.stat().st_mode & 0o077 == 0

    def test_a_request_for_another_name_is_not_signed(self, tmp_path: Path) -> None:
        write_broker_files(plan_for(AGGREGATOR, [ANNA]), tmp_path)
        make_certificates(tmp_path)
        clients = tmp_path / "clients"
        (clients / f"{device_text(ANNA)}.pem").unlink()
        shutil.copy(
            clients / f"{device_text(AGGREGATOR)}.csr", clients / f"{device_text(ANNA)}.csr"
        )
        with pytest.raises(subprocess.CalledProcessError) as error:
            make_certificates(tmp_path)
        assert b"another name" in error.value.stderr


def bad_tls(kind: str, broker: Mosquitto, folder: Path) -> Tls:
    good = broker.tls(ANNA)
    if kind == "missing":
        return Tls(good.ca_file)
    bad = folder / kind
    shutil.copytree(broker.folder, bad)
    certificate = bad / "clients" / f"{device_text(ANNA)}.pem"
    certificate.unlink()
    if kind == "rogue":
        (bad / "ca.pem").unlink()
        (bad / "ca.key").unlink()
        make_certificates(bad)
    else:
        command = ["openssl", "x509", "-req", "-in", str(certificate.with_suffix(".csr"))]
        signer = ["-CA", f"{bad}/ca.pem", "-CAkey", f"{bad}/ca.key", "-CAcreateserial"]
        subprocess.run(
            [*command, *signer, "-days", "-1", "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
    return Tls(good.ca_file, certificate, bad / "clients" / f"{device_text(ANNA)}.key")


class TestSize:
    def test_the_largest_message_passes(self, broker: Mosquitto) -> None:
        async def scenario() -> None:
            async with raw(broker, AGGREGATOR) as aggregator, raw(broker, ANNA) as anna:
                topic = topics.up(ANNA, Kind.BLOCK)
                await aggregator.client.subscribe(topic, qos=1)
                await anna.client.publish(topic, bytes(MAX_MESSAGE_BYTES), qos=1)
                await eventually(lambda: len(aggregator.received) == 1)

        asyncio.run(scenario())

    def test_a_larger_one_is_refused_before_it_is_sent(
        self, broker: Mosquitto, tmp_path: Path
    ) -> None:
        limit = BrokerSettings.packet_limit_bytes
        assert broker.plan.packet_limit_bytes == limit

        async def scenario(journal: Journal) -> None:
            link = MqttLink(
                broker.settings(ANNA),
                client_id=device_text(ANNA),
                journal=journal,
                subscriptions=topics.device_subscriptions(ANNA, TASK),
            )
            running = asyncio.ensure_future(link.run())
            await asyncio.wait_for(link.ready(), 60)
            with pytest.raises(Fatal, match=rf"packet_limit_bytes = {limit}.*max_packet_size"):
                await link.publish_volatile(topics.up(ANNA, Kind.BLOCK), bytes(limit))
            # Nothing was sent: the connection stands.
            journal.transition({}, [Outgoing(topics.up(ANNA, Kind.COMMITMENT), b"small")])
            await eventually(lambda: journal.unsent() == 0)
            assert await link.stop() == []
            await running

        with Journal.open(tmp_path / "state.db") as journal:
            asyncio.run(scenario(journal))


class TestAssumptions:
    """Facts about mosquitto that the configuration rests on."""

    def test_without_username_as_clientid_a_session_could_be_taken_over(
        self, tmp_path: Path
    ) -> None:
        broker = Mosquitto(tmp_path, AGGREGATOR, (ANNA, BERT))
        path = broker.folder / "mosquitto.conf"
        path.write_text(path.read_text().replace("use_username_as_clientid true", ""))
        broker.start()

        async def scenario() -> None:
            async with raw(broker, ANNA) as anna, raw(broker, BERT, client_id=ANNA):
                await asyncio.sleep(0.3)
                await anna.client.publish(topics.status(ANNA), b"?", qos=1, timeout=1)

        try:
            with pytest.raises(aiomqtt.MqttError):
                asyncio.run(scenario())
        finally:
            broker.stop()
