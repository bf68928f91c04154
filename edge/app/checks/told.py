"""Who is told: the broker that takes entries, and an existing door controller that hears of grants."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

from edge.app.checks.credentials import in_memory, opened
from edge.app.checks.finding import HERE, Finding, Machine, answers
from edge.app.controlling import fitting
from edge.audit.entry import Kind
from edge.devices.controller import OsdpOutput, OsdpReader, key_of
from edge.devices.follower import Follower
from edge.settings import Settings, SettingsError

_IN_TOKEN: Final = b"PKCS#11 PROVIDER URI"
_ANSWER_S: Final = 5.0
_CONNECT: Final = bytes.fromhex("100c 0004 4d515454 7f 02 003c 0000")
"""MQTT of a version that nobody speaks: every broker says so, and takes nobody's session for it (edge-sync has one)."""
_CONNACK: Final = b"\x20"
_CERTIFICATE: Final = "the gate works without it; check mqtt.certificate and mqtt-key, and whom the broker lets in"
_LOOKED_BACK: Final = 5_000
_OSDP: Final = "check line, baud, address and that both sides have the same osdp-key; the controller must be on"
_WIEGAND: Final = "edge wiring draws both wires; edge check while edge-gate is stopped says who has their pins"


def broker_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """Whether the broker answers, and takes our certificate; the latter is a finding only where it does not.

    Raises:
        SettingsError: our key, or a certificate, is not there.
        DeviceError: our key cannot be opened.
        OSError: it does not answer, or is not who it should be.
    """
    mqtt = settings.mqtt
    if not mqtt.enabled:
        yield Finding("broker", True, "switched off: entries stay on the device")
        return
    for name, path in (("ca", mqtt.ca), ("certificate", mqtt.certificate)):
        if not path.is_file():
            raise SettingsError(f"mqtt.{name}: there is no {path}")
    context = ssl.create_default_context(cafile=mqtt.ca)
    key = opened(settings, mqtt.key, "broker", machine)
    if in_token := _IN_TOKEN in key:  # only edge-sync is given the provider that finds it, and the PIN
        said = ", our key in its token was not tried"
    else:
        said = ""
        with in_memory(key) as at:
            context.load_cert_chain(mqtt.certificate, at)
    with (
        socket.create_connection((mqtt.host, mqtt.port), timeout=_ANSWER_S) as raw,
        context.wrap_socket(raw, server_hostname=mqtt.host) as secured,
    ):
        yield Finding("broker", True, f"{mqtt.host}:{mqtt.port} answers with {secured.version()}{said}")
        if not in_token:
            try:
                _taken(secured)
            except OSError as error:
                yield Finding("broker-certificate", False, str(error), _CERTIFICATE)


def _taken(secured: ssl.SSLSocket) -> None:
    """In TLS 1.3 a certificate that is not wanted is refused after the handshake, in the broker's own time.

    So silence says nothing: a broker that answers a question, whatever it answers, has taken the certificate. One that
    closes the line in good order has answered, too: MQTT 5 lets it, where it does not know our version.
    """
    try:
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # where it has hung up already, it says below why
            secured.sendall(_CONNECT)
        answer = secured.recv(1)
    except TimeoutError as error:
        raise OSError("the broker says nothing after it has seen our certificate") from error
    except (ConnectionError, ssl.SSLEOFError) as error:
        raise OSError("the broker hangs up after it has seen our certificate") from error
    if answer not in (_CONNACK, b""):
        raise OSError("what answers there is no MQTT broker")


def controller_of(settings: Settings, machine: Machine = HERE, patience_s: float = _ANSWER_S) -> Iterator[Finding]:
    """Whether the door controller answers; where edge-gate has its line, what edge-gate says of it.

    Raises:
        SettingsError: its card is none, or its key is not there.
        DeviceError: its line or its key cannot be opened.
    """
    chosen = settings.controller
    if chosen.kind == "none":
        return
    fitting(settings)
    runs = answers(settings.paths.operators_socket)
    if runs:
        trouble = _logged(settings)
    elif chosen.kind == "wiegand":
        trouble = ""
    else:
        key = key_of(opened(settings, "osdp-key", "controller", machine).decode("ascii", "replace"))
        trouble = _heard(settings, key, patience_s)
    by = "; edge-gate has its line" if runs else ""
    if trouble:
        yield Finding("controller", False, trouble + by, _WIEGAND if chosen.kind == "wiegand" else _OSDP)
    elif chosen.kind == "wiegand":
        where = f"BCM {chosen.data_0_pin} and {chosen.data_1_pin}"
        yield Finding(
            "controller", True, f"card {chosen.facility}:{chosen.card} on {where}; nobody answers on two wires"
        )
    else:
        yield Finding("controller", True, f"answers in its secure channel on {chosen.device}{by}")


def _heard(settings: Settings, key: bytes, patience_s: float) -> str:
    """What is wrong with it, asked on its line for a while; empty when it answers."""
    chosen = settings.controller
    told = OsdpOutput(chosen, key) if chosen.kind == "osdp-output" else OsdpReader(chosen, key)
    try:
        end = time.monotonic() + patience_s
        while (trouble := told.condition()) and time.monotonic() < end:
            time.sleep(0.05)
        return trouble
    finally:
        told.close()


def _logged(settings: Settings) -> str:
    """What the log says last of it since the gate was started; empty when that is nothing bad."""
    log = Follower(settings.paths.journal)
    try:
        entries = log.entries(max(0, log.size() - _LOOKED_BACK), _LOOKED_BACK)
    finally:
        log.close()
    for entry in reversed(entries):
        if entry.kind is Kind.BOOT:
            break
        if entry.kind in (Kind.DEVICE_LOST, Kind.DEVICE_BACK) and entry.fields.get("device") == "controller":
            return str(entry.fields.get("detail")) if entry.kind is Kind.DEVICE_LOST else ""
    return ""
