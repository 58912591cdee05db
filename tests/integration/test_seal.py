"""Envelopes between sites, held to another implementation: written from their headers in Python, upon pyhpke and cryptography."""
import hashlib
import os
import struct
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

from harness.deployment import BUILD

SUITE = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
CHUNK = 64 * 1024
PLACE = ["job", "round", "term", "kind", "sender", "recipient", "identity", "sealing", "number", "before"]
FACTS = ["size", "commitment", "sealed", "plain"]
KEY = ["enc", "wrap"]
NUMBERS = {"round", "term", "number", "size"}
TEXTS = {"job", "kind", "sender", "recipient"}


def record(domain, names, values):
    out = bytes([len(domain)]) + domain.encode()
    for place, name in enumerate(names, 1):
        value = values[name]
        value = struct.pack(">Q", value) if name in NUMBERS else value.encode() if name in TEXTS else value
        out += struct.pack(">BI", place, len(value)) + value
    return out


def read_record(domain, names, data):
    assert data[0] == len(domain) and data[1:1 + data[0]].decode() == domain
    data, values = data[1 + data[0]:], {}
    for place, name in enumerate(names, 1):
        number, size = struct.unpack(">BI", data[:5])
        assert number == place
        value, data = data[5:5 + size], data[5 + size:]
        values[name] = int.from_bytes(value, "big") if name in NUMBERS else value.decode() if name in TEXTS else value
    assert not data
    return values


def derive(key, label):
    return HKDFExpand(hashes.SHA256(), 32, b"rounds content 1 " + label).derive(key)


def plain_digest(key, plain):
    return hashlib.sha256(b"rounds content 1 plain" + derive(key, b"salt") + plain).digest()


def seal_content(key, plain):
    chunks = [plain[at:at + CHUNK] for at in range(0, len(plain), CHUNK)] or [b""]
    cipher = AESGCM(derive(key, b"chunks"))
    return b"".join(cipher.encrypt(n.to_bytes(11, "big") + bytes([n == len(chunks) - 1]), chunk, b"rounds content 1")
                    for n, chunk in enumerate(chunks))


def open_content(key, sealed):
    parts = [sealed[at:at + CHUNK + 16] for at in range(0, len(sealed), CHUNK + 16)]
    cipher = AESGCM(derive(key, b"chunks"))
    return b"".join(cipher.decrypt(n.to_bytes(11, "big") + bytes([n == len(parts) - 1]), part, b"rounds content 1")
                    for n, part in enumerate(parts))


def facts_of(key, plain, sealed):
    return {"size": len(sealed), "commitment": derive(key, b"commitment"), "sealed": hashlib.sha256(sealed).digest(),
            "plain": plain_digest(key, plain)}


def sealer(*words):
    return subprocess.run([BUILD / "tests/harness/sealer", *map(str, words)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def keys():
    return Ed25519PrivateKey.generate(), X25519PrivateKey.generate(), os.urandom(32)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_what_is_sealed_here_another_opens(tmp_path, keys, size):
    identity, sealing, key = keys
    plain = os.urandom(size)
    (tmp_path / "plain").write_bytes(plain)
    done = sealer("seal", identity.private_bytes_raw().hex(), sealing.public_key().public_bytes_raw().hex(), key.hex(),
                  tmp_path / "plain", tmp_path / "sealed")
    assert done.returncode == 0, done.stderr
    letter, sealed = bytes.fromhex(done.stdout.strip()), (tmp_path / "sealed").read_bytes()
    identity.public_key().verify(letter[-64:], letter[:-64])
    values = read_record("rounds letter 1", PLACE + FACTS + KEY, letter[:-64])
    assert (values["job"], values["round"], values["term"], values["kind"]) == ("job", 7, 2, "update")
    assert (values["sender"], values["recipient"], values["number"], values["before"]) == ("north", "south", 1, bytes(32))
    assert values["identity"] == identity.public_key().public_bytes_raw()
    context = SUITE.create_recipient_context(values["enc"], KEMKey.from_pyca_cryptography_key(sealing),
                                             info=record("rounds letter place 1", PLACE, values))
    opened = context.open(values["wrap"], aad=record("rounds letter facts 1", FACTS, values))
    assert opened == key
    assert {name: values[name] for name in FACTS} == facts_of(key, plain, sealed)
    assert open_content(key, sealed) == plain


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_what_another_seals_is_opened_here(tmp_path, keys, size):
    identity, sealing, key = keys
    plain = os.urandom(size)
    sealed = seal_content(key, plain)
    (tmp_path / "sealed").write_bytes(sealed)
    values = {"job": "job", "round": 7, "term": 2, "kind": "update", "sender": "north", "recipient": "south",
              "identity": identity.public_key().public_bytes_raw(), "sealing": sealing.public_key().public_bytes_raw(),
              "number": 1, "before": bytes(32), **facts_of(key, plain, sealed)}
    public = KEMKey.from_pyca_cryptography_key(sealing.public_key())
    values["enc"], context = SUITE.create_sender_context(public, info=record("rounds letter place 1", PLACE, values))
    values["wrap"] = context.seal(key, aad=record("rounds letter facts 1", FACTS, values))
    letter = record("rounds letter 1", PLACE + FACTS + KEY, values)
    letter += identity.sign(letter)
    words = [identity.public_key().public_bytes_raw().hex(), sealing.private_bytes_raw().hex()]
    done = sealer("open", *words, letter.hex(), tmp_path / "sealed", tmp_path / "plain")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plain").read_bytes() == plain
    other = Ed25519PrivateKey.generate()
    done = sealer("open", other.public_key().public_bytes_raw().hex(), words[1], letter.hex(), tmp_path / "sealed",
                  tmp_path / "plain")
    assert done.returncode == 1 and "identity is another key than the one that is pinned" in done.stderr


def test_one_ciphertext_for_two_keys_is_refused(tmp_path, keys):
    """GCM lets a sender make one; what it signs commits it to one key, so the other reader is not shown something else."""
    identity, sealing, key = keys
    other = os.urandom(32)
    plain = b"one thing"
    sealed = seal_content(key, plain)
    (tmp_path / "sealed").write_bytes(sealed)
    values = {"job": "job", "round": 7, "term": 2, "kind": "update", "sender": "north", "recipient": "south",
              "identity": identity.public_key().public_bytes_raw(), "sealing": sealing.public_key().public_bytes_raw(),
              "number": 1, "before": bytes(32), **facts_of(key, plain, sealed)}
    public = KEMKey.from_pyca_cryptography_key(sealing.public_key())
    values["enc"], context = SUITE.create_sender_context(public, info=record("rounds letter place 1", PLACE, values))
    values["wrap"] = context.seal(other, aad=record("rounds letter facts 1", FACTS, values))
    letter = record("rounds letter 1", PLACE + FACTS + KEY, values)
    letter += identity.sign(letter)
    done = sealer("open", identity.public_key().public_bytes_raw().hex(), sealing.private_bytes_raw().hex(), letter.hex(),
                  tmp_path / "sealed", tmp_path / "plain")
    assert done.returncode == 1 and "another one than the one that the sender has committed to" in done.stderr
    assert (tmp_path / "plain").read_bytes() == b""
