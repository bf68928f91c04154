"""Faults planted in a copy of the engine: each lets a card through, or names it wrongly, and the corpus notices."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
WRONG = """
import json, sys
from datetime import datetime
from pathlib import Path
from edge.credential import verify
from edge.errors import Refusal
from edge.trust.encryption import ContentKey
from edge.trust.interval import Interval
from edge.trust.list import open_plain
corpus = json.loads(Path(sys.argv[1]).read_text())
trust = open_plain(json.dumps(corpus["trust"]))
keys = [ContentKey(bytes.fromhex(one["k"]), one["alg"], one["kid"].encode()) for one in corpus["content_keys"]]
let_through, misnamed = [], []
for vector in corpus["vectors"]:
    now = Interval.exactly(datetime.fromisoformat(vector.get("at", corpus["at"])))
    try:
        verify(vector["text"], trust, now, content_keys=keys)
        reason = None
    except Refusal as refusal:
        reason = refusal.reason.code
    except Exception as error:
        reason = type(error).__name__
    if reason != vector["reason"]:
        (let_through if reason is None else misnamed).append(vector["name"])
json.dump([let_through, misnamed], sys.stdout)
"""
# What is changed, by file: from, to. Then the vectors that have to notice.
FAULTS: dict[str, tuple[list[tuple[str, str, str]], set[str]]] = {
    "issuer-key binding skipped": (
        [
            (
                "credential/verifier.py",
                "    return issuer\n\n\ndef _excused",
                "    from dataclasses import replace\n\n"
                "    keys = (key for one in trust.issuers for key in one.keys if key.not_after is None)\n"
                "    return replace(issuer, keys=tuple(keys))\n\n\n"
                "def _excused",
            )
        ],
        {"kid of another issuer", "kid shared with another issuer", "issuer swapped"},
    ),
    "a key held to one of its entries only": (
        [("credential/verifier.py", "    pins = issuer.pins(key) or (key,)\n", "    pins = (key,)\n")],
        {"key compromised in another entry"},
    ),
    "a key of a chain held to no entry": (
        [
            ("credential/verifier.py", "        found = issuer.pins(key) or (key,)\n", "        found = (key,)\n"),
            ("credential/verifier.py", "    pins = issuer.pins(key) or (key,)\n", "    pins = (key,)\n"),
        ],
        {"chain to a compromised key", "chain to a compromised key, called otherwise"},
    ),
    "algorithm taken from the message": (
        [
            (
                "credential/verifier.py",
                "for key in candidates if key.algorithm is algorithm]",
                "for key in candidates]",
            ),
            ("trust/cose.py", "if signature.algorithm is not key.algorithm:", "if False:"),
            (
                "trust/cose.py",
                "return key.check(",
                "from edge.trust.algorithms import check\n\n        return check(key.public, signature.algorithm)(",
            ),
        ],
        {"PS256 by an RS256 key"},
    ),
    "crit ignored": (
        [("trust/cose.py", "    if CRIT in unprotected:\n", "    return\n    if CRIT in unprotected:\n")],
        {"crit unknown", "crit unknown text", "crit x5u", "crit unprotected", "crit empty"},
    ),
    "trailing bytes ignored": (
        [
            ("credential/verifier.py", 'if "trailing" in notes and not profile.trailing:', "if False:"),
            (
                "trust/cbor.py",
                "        if notes is None:\n            raise malformed(",
                "        if False:\n            raise (",
            ),
            ("trust/cbor.py", '        notes.add("trailing")', "        pass"),
        ],
        {
            "trailing after zlib",
            "trailing after the message",
            "trailing in the protected header",
            "trailing in the payload",
            "trailing in claim 169",
        },
    ),
    "Encrypt0 without Sign1 accepted": (
        [
            (
                "credential/reading.py",
                "    if not isinstance(envelope.body, list):\n",
                "    if isinstance(envelope.body, dict):\n"
                "        from edge.trust.cbor import encode\n\n"
                '        return cose.Message(b"", {}, encode(envelope.body), ())\n'
                "    if not isinstance(envelope.body, list):\n",
            ),
            (
                "trust/cose.py",
                '        """The first signature\'s key identifier."""\n',
                '        """The first signature\'s key identifier."""\n'
                "        if not self.signatures:\n            return None\n",
            ),
            (
                "credential/verifier.py",
                "    keys: list[Key] = []\n",
                "    keys: list[Key] = [] if found.message.signatures else [issuer.keys[0]]\n",
            ),
        ],
        {"encrypted, nothing signed", "other: claims unsigned"},
    ),
    "every signature good": (
        [
            (
                "trust/algorithms.py",
                "der), message, scheme)\n        except (InvalidSignature, ValueError):\n            return False\n",
                "der), message, scheme)\n        except (InvalidSignature, ValueError):\n            pass\n",
            ),
            (
                "trust/algorithms.py",
                "        except CryptoError:\n            return False\n",
                "        except CryptoError:\n            pass\n",
            ),
        ],
        {"stranger", "changed payload", "ES256 signature zero", "EdDSA signature flipped"},
    ),
    "duplicates ignored": (
        [("trust/cbor.py", "            if key in values:\n", "            if False:\n")],
        {"attribute twice", "member of a biometric twice"},
    ),
    "expiry ignored": (
        [
            (
                "credential/verifier.py",
                "    if validity is Validity.EXPIRED:\n        raise Refusal(Reason.EXPIRED)\n",
                "",
            )
        ],
        {"expired", "expires now", "no end, too old"},
    ),
    "chains believed without a root": (
        [
            (
                "trust/chain.py",
                "    if root is None:\n",
                "    if root is None:\n        return path\n    if root is None:\n",
            )
        ],
        {"chain another root", "chain signed by itself", "chain only the middle"},
    ),
}


def wrong(edge: Path) -> tuple[list[str], list[str]]:
    """Vectors that a copy of the engine lets through, and those it names wrongly."""
    command = [sys.executable, "-c", WRONG, str(TOP / "tests" / "vectors" / "credential" / "corpus.json")]
    ran = subprocess.run(command, cwd=edge, env={"PYTHONPATH": str(edge)}, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    let_through, misnamed = json.loads(ran.stdout)
    return let_through, misnamed


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the core."""
    for package in ("credential", "trust", "biometric"):
        shutil.copytree(
            TOP / "edge" / package, tmp_path / "edge" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("__init__.py", "errors.py"):
        shutil.copy(TOP / "edge" / name, tmp_path / "edge" / name)
    return tmp_path


def test_the_engine_as_it_is_has_no_fault(copy: Path) -> None:
    assert wrong(copy) == ([], [])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(copy: Path, fault: str) -> None:
    changes, noticed = FAULTS[fault]
    for name, before, after in changes:
        path = copy / "edge" / name
        text = path.read_text()
        assert text.count(before) == 1, f"the place for this fault has moved: {name}"
        path.write_text(text.replace(before, after))
    let_through, _ = wrong(copy)
    assert noticed <= set(let_through)
