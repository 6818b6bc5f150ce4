"""Who we are to the broker, from files, and whether it refuses our certificate.

Files are read at every connection, so that renewed ones are taken up without a restart.
"""

import asyncio
import ssl

from zkpot.errors import ExitCode, Fatal
from zkpot.link.base import BrokerSettings
from zkpot.link.failures import certificate_refusal


def password(settings: BrokerSettings) -> str | None:
    """The broker password, if there is one; raises `Fatal` if its file cannot be read."""
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(
            ExitCode.CREDENTIALS, f"cannot read the password {settings.password_file}: {error}"
        ) from error


def tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """The TLS context, if TLS is on; raises `Fatal` if a file of it is unusable."""
    if settings.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls.ca_file)
        if settings.tls.certificate_file is not None:
            context.load_cert_chain(settings.tls.certificate_file, settings.tls.key_file)
    except OSError as error:
        raise Fatal(ExitCode.CREDENTIALS, f"cannot use {settings.tls}: {error}") from error
    return context


async def check_certificate(settings: BrokerSettings) -> None:
    """Raises `Fatal` if the broker refuses our certificate; returns in any other case.

    With TLS 1.3 a server refuses after the handshake, which paho logs and takes for a lost
    connection (RFC 8446, section 4.4.2.4). So a connection that was not answered is looked
    at once more by hand: a server that accepts the certificate waits for CONNECT.
    """
    context = tls_context(settings)
    if context is None:
        return
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            reader, writer = await asyncio.open_connection(
                settings.host, settings.port, ssl=context
            )
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        fatal = certificate_refusal(error, settings)
        if fatal is not None:
            raise fatal from error
    except OSError:
        return
