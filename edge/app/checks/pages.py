"""The pages: a configuration that edge-web starts with, and the certificate of their port."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from edge.app.checks.credentials import in_memory, opened
from edge.app.checks.finding import HERE, Finding, Machine
from edge.settings import Settings, SettingsError
from edge.web.fitting import fitting


def pages_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """Whether edge-web starts, and whether its certificate and the key belong together.

    Raises:
        SettingsError: it does not start, or there is no key.
        DeviceError: the key cannot be opened.
        OSError: the certificate cannot be read, or is of another key.
    """
    web = settings.web
    fitting(web)
    said = f"{web.host}:{web.port} in {', '.join(web.languages)}"
    if web.certificate != Path():
        if not web.certificate.is_file():
            raise SettingsError(f"web.certificate: there is no {web.certificate}")
        with in_memory(opened(settings, "web-tls-key", "pages", machine)) as key:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(web.certificate, key)
        said += f"; under TLS on {web.tls_port}"
    yield Finding("pages", True, said)
