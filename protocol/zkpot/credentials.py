"""Secret files as systemd hands them to a service that cannot read the originals.

`LoadCredential=ROLE:FOLDER` in a unit gives the service a copy of each file of FOLDER, named
`ROLE_NAME`, in the folder that CREDENTIALS_DIRECTORY names.
"""

import os
from dataclasses import replace
from pathlib import Path

from zkpot.link import BrokerSettings, Tls


class Credentials:
    """The copies for one role, where there are some; without a folder, the originals."""

    def __init__(self, role: str, folder: Path | None = None) -> None:
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        self._role = role
        self._folder = folder if folder is not None or given is None else Path(given)

    def file(self, path: Path) -> Path:
        """The copy of `path` if there is one, or else `path`."""
        if self._folder is None:
            return path
        copy = self._folder / f"{self._role}_{path.name}"
        return copy if copy.exists() else path

    def broker(self, settings: BrokerSettings) -> BrokerSettings:
        """The settings with the copies of their files."""
        tls = settings.tls
        if tls is not None:
            tls = Tls(
                self.file(tls.ca_file),
                tls.certificate_file and self.file(tls.certificate_file),
                tls.key_file and self.file(tls.key_file),
            )
        password_file = settings.password_file and self.file(settings.password_file)
        return replace(settings, password_file=password_file, tls=tls)
