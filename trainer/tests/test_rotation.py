from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from trainer import rotation, vectors

from .conftest import REPOSITORY

GOLDEN = json.loads((REPOSITORY / "schemas" / "testdata" / "rotation.json").read_text(encoding="utf-8"))


def test_golden_file_is_current() -> None:
    made = vectors.golden_rotation()
    assert made["bands"] == GOLDEN["bands"]
    for image, want in zip(made["images"], GOLDEN["images"], strict=True):
        assert image.pop("payload") == pytest.approx(want["payload"], abs=1e-9)
        assert image == {name: value for name, value in want.items() if name != "payload"}


def test_rotation_by_hand() -> None:
    """A band of five values, value by value."""

    def prefixed(field: bytes) -> bytes:
        return len(field).to_bytes(4, "little") + field

    key = bytes(range(32))
    seed = prefixed(b"stegomq.rotation") + b"".join(v.to_bytes(4, "little") for v in (1, 1, 5, 3)) + prefixed(key)
    stream = hashlib.shake_256(seed).digest(4 * 3 * 5)
    drawn = [int.from_bytes(stream[4 * i : 4 * i + 4], "little") for i in range(15)]
    values = [3.0, -1.0, 4.0, 1.0, -5.0]
    want = np.array(values)[:, None]
    for r in range(3):
        taken = drawn[5 * r : 5 * r + 5]
        for i in range(4, -1, -1):
            j = (taken[4 - i] >> 2) * (i + 1) >> 30
            values[i], values[j] = values[j], values[i]
            values[i] *= -1 if taken[4 - i] & 1 else 1
        a, b, c, d = values[:4]
        values[:4] = [(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
        values = [-v if taken[4 - i] >> 1 & 1 else v for i, v in enumerate(values)]
        a, b, c, d = values[1:]
        values[1:] = [(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
    got = rotation.rotate(want, rotation.words(1, 5, 3, key)[..., None])
    np.testing.assert_allclose(got[:, 0], values, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 17), (128, 96)])
def test_round_trip(height: int, width: int) -> None:
    random = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width][..., None]
    image = 100 + y / 2 + x % 19 * [1, 2, 3] + random.normal(0, 3, (height, width, 3))
    image = image.clip(0, 255).astype(np.uint8)
    turned = rotation.Rotation(height, width)
    payload, scales = turned.rotate(image, bytes(32))
    assert np.allclose((payload.reshape(turned.bands, -1) ** 2).mean(1), 1)
    error = turned.restore(payload, scales, bytes(32)).astype(float) - image
    assert np.sqrt((error**2).mean()) < 2
    wrong = turned.restore(payload, scales, bytes(31) + b"\x01").astype(float) - image
    assert np.sqrt((wrong**2).mean()) > 10


def test_misuse() -> None:
    turned = rotation.Rotation(16, 16)
    with pytest.raises(ValueError, match="an image of"):
        turned.rotate(np.zeros((16, 17, 3), np.uint8), bytes(32))
    with pytest.raises(ValueError, match="a key of 31 bytes"):
        turned.rotate(np.zeros((16, 16, 3), np.uint8), bytes(31))
