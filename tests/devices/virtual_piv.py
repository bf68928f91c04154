"""A PIV card in software, behind the virtual reader of pcscd: one P-256 key in slot 9A, a PIN, three tries.

    python virtual_piv.py PORT KEY.pem CERTIFICATE.der STATE_FILE

It is in the reader for as long as it runs. STATE_FILE keeps the tries left, one digit, the delay of a signature in
milliseconds, which may be shortened while it lasts, and the status word that a signature ends with (9000, unless it is
to fail), as a real card keeps them while it is out of the reader. STATE_FILE.signs gets a line for each signature that
was asked for. SP 800-73-4 part 2, as much of it as OpenSC asks.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

# A YubiKey 4's: OpenSC offers elliptic curves only for cards that it knows by name.
ATR = bytes.fromhex("3bf81300008131fe15597562696b657934d4")
PIN = b"123456\xff\xff"
AID = bytes.fromhex("a000000308")
OK, WRONG_P1P2, NOT_FOUND, NOT_SUPPORTED = b"\x90\x00", b"\x6a\x86", b"\x6a\x82", b"\x6d\x00"


def tlv(tag: bytes, value: bytes) -> bytes:
    """A tag, its length, its value."""
    length = len(value)
    if length < 0x80:
        return tag + bytes([length]) + value
    if length < 0x100:
        return tag + bytes([0x81, length]) + value
    return tag + b"\x82" + struct.pack(">H", length) + value


class Card:
    """The card's side of each command."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: bytes, state: Path) -> None:
        self.key, self.state = key, state
        self.verified = False
        self.rest = b""
        chuid = bytes.fromhex("3019d4e739da739ced39ce739d836858210842108421384210c3f5") + b"\x34\x10" + bytes(range(16))
        chuid += b"\x35\x08" + b"20400101" + b"\x3e\x00\xfe\x00"
        self.objects = {
            bytes.fromhex("5fc102"): tlv(b"\x53", chuid),
            bytes.fromhex("5fc107"): tlv(b"\x53", bytes.fromhex("f015a000000116ff02") + bytes(14) + b"\xfe\x00"),
            bytes.fromhex("5fc105"): tlv(b"\x53", tlv(b"\x70", certificate) + b"\x71\x01\x00\xfe\x00"),
            b"\x7e": bytes.fromhex("7e124f0ba0000003080000100001005f2f024000"),
        }

    def numbers(self) -> tuple[int, int, str]:
        """Tries left, milliseconds of a signature, the status word it ends with."""
        tries, delay, word = (*self.state.read_text().split(), "9000")[:3]
        return int(tries), int(delay), word

    def answer(self, command: bytes) -> bytes:
        """The answer to one command."""
        _, ins, p1, p2 = command[:4]
        length = command[4] if len(command) > 5 else 0
        content = command[5 : 5 + length]
        if ins == 0xC0:
            return self.in_pieces(b"", True)
        if ins == 0xA4:
            if not content.startswith(AID):
                return NOT_FOUND
            self.verified = False
            found = bytes.fromhex("4f0600001000010079074f05a000000308")
            return tlv(b"\x61", found) + OK
        if ins == 0xCB:
            found = self.objects.get(content[2 : 2 + content[1]]) or b""
            return self.in_pieces(found) if found else NOT_FOUND
        if ins == 0x20 and p2 == 0x80:
            return self.verify(content)
        if ins == 0x87 and (p1, p2) == (0x11, 0x9A):
            return self.sign(content)
        return NOT_SUPPORTED

    def verify(self, pin: bytes) -> bytes:
        """The PIN, or the question how many tries are left."""
        tries, delay, word = self.numbers()
        if not pin:
            return OK if self.verified else (b"\x69\x83" if tries == 0 else bytes([0x63, 0xC0 | tries]))
        if tries == 0:
            return b"\x69\x83"
        self.verified = pin == PIN
        tries = 3 if self.verified else tries - 1
        self.state.write_text(f"{tries} {delay} {word}")
        return OK if self.verified else bytes([0x63, 0xC0 | tries])

    def sign(self, content: bytes) -> bytes:
        """General authenticate: sign what is in tag 81."""
        if not self.verified:
            return b"\x69\x82"
        place = content.index(b"\x81\x20")
        began = time.monotonic()
        with self.state.with_suffix(".signs").open("a") as signs:
            signs.write("asked\n")
        while time.monotonic() < began + self.numbers()[1] / 1000:
            time.sleep(0.02)
        word = self.numbers()[2]
        if word != "9000":
            return bytes.fromhex(word)
        digest = content[place + 2 : place + 34]
        signature = self.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return self.in_pieces(tlv(b"\x7c", tlv(b"\x82", signature)))

    def in_pieces(self, found: bytes, more: bool = False) -> bytes:
        """Up to 256 bytes, and word of what is left."""
        self.rest = self.rest if more else found
        piece, self.rest = self.rest[:256], self.rest[256:]
        return piece + (bytes([0x61, min(len(self.rest), 255)]) if self.rest else OK)


def serve(port: int, card: Card) -> None:
    """Be in the reader until it is closed."""
    with _reader(port) as reader:
        reader.settimeout(None)
        while header := _exactly(reader, 2):
            message = _exactly(reader, struct.unpack(">H", header)[0])
            if len(message) == 1:
                if message[0] == 4:
                    reader.sendall(struct.pack(">H", len(ATR)) + ATR)
                else:
                    card.verified = False
                continue
            answer = card.answer(message)
            reader.sendall(struct.pack(">H", len(answer)) + answer)


def _exactly(reader: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = reader.recv(count - len(found))
        if not more:
            return b""
        found += more
    return found


def _reader(port: int) -> socket.socket:
    """The card slot, as soon as it is there."""
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.1)
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def main() -> None:
    """Start from the command line."""
    port, key_file, certificate, state = sys.argv[1:5]
    key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    serve(int(port), Card(key, Path(certificate).read_bytes(), Path(state)))


if __name__ == "__main__":
    main()
