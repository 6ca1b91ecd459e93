from __future__ import annotations

import hashlib
import itertools
import json
import math

import numpy as np
import pytest

from trainer import derivation, vectors

from .conftest import REPOSITORY

GOLDEN = json.loads((REPOSITORY / "schemas" / "testdata" / "derivation.json").read_text(encoding="utf-8"))


def test_golden_file_is_current() -> None:
    assert vectors.golden() == GOLDEN


def test_golden_file_covers_what_matters() -> None:
    assert {entry["role"] for entry in GOLDEN["fill"]} == {"embed", "recover"}
    assert any(entry["shape"][2:] == [1, 1] for entry in GOLDEN["fill"])
    assert {0.5, 0.7, 0.9} <= {entry["alpha"] for entry in GOLDEN["mask"]}


@pytest.mark.parametrize("entry", GOLDEN["fill"], ids=lambda e: f"{e['role']}-{e['layer']}-{e['key'][:4]}")
def test_fill_by_hand(entry: dict) -> None:
    """The stream and the arithmetic, written down a second time without NumPy's help."""

    def prefixed(field: bytes) -> bytes:
        return len(field).to_bytes(4, "little") + field

    o, i, height, width = entry["shape"]
    seed = prefixed(b"stegomq.fill") + (1).to_bytes(4, "little")
    seed += prefixed(entry["role"].encode()) + prefixed(entry["layer"].encode())
    seed += b"".join(n.to_bytes(4, "little") for n in (4, o, i, height, width))
    seed += prefixed(bytes.fromhex(entry["key"]))
    count = min(16, o * i * height * width)
    stream = hashlib.shake_256(seed).digest(4 * count)
    limit = math.sqrt(6 / ((i + o) * height * width))
    for n, bits in enumerate(entry["first_bits"]):
        u = (int.from_bytes(stream[4 * n : 4 * n + 4], "little") >> 8) * 2.0**-24
        assert f"{np.float32((2 * u - 1) * limit).view(np.uint32):08x}" == bits
    assert len(entry["first_bits"]) == count


def test_fills_differ_by_everything_that_names_them() -> None:
    shape, key = (4, 3, 3, 3), bytes(32)
    base = derivation.fill("embed", "a", shape, key)
    others = [
        derivation.fill("recover", "a", shape, key),
        derivation.fill("embed", "b", shape, key),
        derivation.fill("embed", "a", (3, 4, 3, 3), key).reshape(shape),
        derivation.fill("embed", "a", shape, bytes(31) + b"\x01"),
    ]
    for other in others:
        assert np.mean(base == other) < 0.05


def test_fill_is_glorot_uniform() -> None:
    values = derivation.fill("embed", "a", (64, 32, 3, 3), bytes(32))
    limit = math.sqrt(6 / (96 * 9))
    assert np.abs(values).max() <= limit
    assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert abs(values.mean()) < 0.02 * limit


@pytest.mark.parametrize("entry", GOLDEN["partial"], ids=lambda e: f"{e['role']}-{e['layer']}-{e['permille']}")
def test_partial_fill_by_hand(entry: dict) -> None:
    """Each value is that of the key or that of the wrong key; whole numbers say which."""
    owner = entry["owner"].encode()
    fields = b"\x0f\0\0\0stegomq.partial" + b"\x01\0\0\0" + len(owner).to_bytes(4, "little") + owner
    wrong = hashlib.shake_256(fields).digest(32)
    assert wrong.hex() == entry["wrong"]
    named = b"stegomq.partial.v1\0" + entry["permille"].to_bytes(4, "little") + owner
    assert hashlib.sha256(named).hexdigest()[:32] == entry["fingerprint"]

    role, layer, shape = entry["role"], entry["layer"], tuple(entry["shape"])
    choice = derivation.stream("partial", layer, shape, wrong).reshape(-1)
    fills = [derivation.fill(role, layer, shape, k).reshape(-1) for k in (bytes.fromhex(entry["key"]), wrong)]
    right = 0
    for n, word in enumerate(choice.tolist()):
        is_right = (word >> 8) * 1000 < entry["permille"] << 24
        right += is_right
        if n < 16:
            assert f"{fills[0 if is_right else 1][n].view(np.uint32):08x}" == entry["first_bits"][n]
    assert right == entry["right"]


def test_a_larger_part_has_all_of_a_smaller_one() -> None:
    shape, key, wrong = (8, 4, 3, 3), bytes(32), b"\x01" * 32
    whole = derivation.fill("recover", "a", shape, key)
    parts = [derivation.partial("recover", "a", shape, key, wrong, p) == whole for p in (0, 300, 700, 1000)]
    for less, more in itertools.pairwise(parts):
        assert np.all(more[less])
        assert more.sum() > less.sum()
    assert parts[1].mean() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("entry", GOLDEN["normal"], ids=lambda e: f"{e['seed']}-{e['shape']}")
def test_normal_by_hand(entry: dict) -> None:
    stream = hashlib.shake_256(
        (14).to_bytes(4, "little") + b"stegomq.normal" + (1).to_bytes(4, "little") + entry["seed"].to_bytes(8, "little")
    ).digest(24 * len(entry["first_bits"]))
    for n, bits in enumerate(entry["first_bits"]):
        words = [int.from_bytes(stream[i : i + 2], "little") for i in range(24 * n, 24 * n + 24, 2)]
        assert f"{np.float32((sum(words) - 393210) / 65536).view(np.uint32):08x}" == bits


def test_normal_values_are_nearly_normal() -> None:
    values = derivation.normal((12, 64, 64)).astype(np.float64).reshape(-1)
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.var() == pytest.approx(1, abs=0.03)
    assert (values**4).mean() == pytest.approx(2.9, abs=0.15)
    quantiles = np.quantile(values, [0.025, 0.16, 0.5, 0.84, 0.975])
    np.testing.assert_allclose(quantiles, [-1.96, -0.994, 0, 0.994, 1.96], atol=0.04)
    assert np.abs(values).max() > 3
    assert not np.array_equal(derivation.normal((3, 2, 2)), derivation.normal((3, 2, 2), 1))


@pytest.mark.parametrize("alpha", [0.5, 0.7, 0.9])
def test_mask_keeps_its_share(alpha: float) -> None:
    kept = derivation.mask("a", (64, 32, 3, 3), bytes(32), alpha)
    assert kept.mean() == pytest.approx(alpha, abs=0.02)


def test_key_bytes_stay_out_of_repr() -> None:
    pair = derivation.demo_pair(1)
    assert pair.embed.hex() not in repr(pair)
    assert repr(pair.recover) not in repr(pair)
    assert pair.fingerprint in repr(pair)


def test_short_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        derivation.KeyPair("short", bytes(31), bytes(32))
