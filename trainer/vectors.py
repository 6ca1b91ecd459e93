"""Golden vectors of the derivation, read by the tests of both languages."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from . import derivation, rotation

_ZERO = bytes(derivation.KEY_BYTES)
_ONES = b"\xff" * derivation.KEY_BYTES
_DEMO_1 = derivation.demo_pair(1)
_DEMO_2 = derivation.demo_pair(2)

# Shapes below, at and beyond one SHAKE-256 block (34 words), 1x1, 3x3 and oblong.
_FILLS = (
    (derivation.EMBED, "couplings.0.f.0", (4, 3, 3, 3), _DEMO_1.embed),
    (derivation.RECOVER, "couplings.0.f.0", (4, 3, 3, 3), _DEMO_1.recover),
    (derivation.RECOVER, "couplings.0.f.0", (4, 3, 3, 3), _DEMO_1.embed),
    (derivation.EMBED, "couplings.0.f.0", (4, 3, 3, 3), _DEMO_2.embed),
    (derivation.EMBED, "couplings.0.f.0", (3, 4, 3, 3), _DEMO_1.embed),
    (derivation.EMBED, "couplings.3.h.2", (12, 32, 3, 3), _DEMO_2.embed),
    (derivation.RECOVER, "couplings.3.h.2", (12, 32, 3, 3), _DEMO_2.recover),
    (derivation.EMBED, "stem.0", (64, 3, 3, 3), _ZERO),
    (derivation.RECOVER, "head.2", (3, 64, 3, 3), _ONES),
    (derivation.EMBED, "mix", (16, 48, 1, 1), _ZERO),
    (derivation.RECOVER, "mix", (2, 17, 1, 1), _ONES),
    (derivation.EMBED, "one", (1, 1, 1, 1), _ZERO),
    (derivation.EMBED, "wide", (2, 1, 1, 7), _ONES),
    (derivation.RECOVER, "tall", (2, 1, 5, 1), _ONES),
)
_MASKS = tuple(
    (seed, layer, shape, alpha)
    for seed in (_ZERO, _DEMO_1.embed)
    for layer, shape in (("couplings.0.f.0", (32, 12, 3, 3)), ("mix", (16, 48, 1, 1)), ("one", (1, 1, 1, 1)))
    for alpha in (0.5, 0.7, 0.9)
) + tuple((_ONES, "edge", (5, 7, 3, 3), alpha) for alpha in (0.0, 2.0**-24, 1.0))
_PARTIALS = tuple(
    (role, layer, shape, pair, permille)
    for role, layer, shape, pair in (
        (derivation.EMBED, "couplings.0.f.0", (4, 3, 3, 3), _DEMO_1),
        (derivation.RECOVER, "couplings.3.h.2", (12, 32, 3, 3), _DEMO_2),
        (derivation.RECOVER, "one", (1, 1, 1, 1), _DEMO_2),
    )
    for permille in (0, 1, 500, 875, 1000)
)
_RANDOM = ((0, 0), (0, 1), (1, 0), (7, 41), (2**53 + 1, 2**32), (2**64 - 1, 2**64 - 1))

# The last one is what HiNet draws for an image of 250 x 255.
_NORMAL = (((1, 1, 1), 0), ((12, 3, 5), 0), ((12, 3, 5), 2**64 - 1), ((12, 125, 128), 0))


def golden() -> dict[str, Any]:
    """The content of schemas/testdata/derivation.json."""
    fills, masks = [], []
    for role, layer, shape, key in _FILLS:
        values = derivation.fill(role, layer, shape, key).astype("<f4")
        fills.append(
            {
                "role": role,
                "layer": layer,
                "shape": list(shape),
                "key": key.hex(),
                "first_bits": [f"{bits:08x}" for bits in values.reshape(-1)[:16].view("<u4")],
                "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            }
        )
    for seed, layer, shape, alpha in _MASKS:
        kept = derivation.mask(layer, shape, seed, alpha)
        masks.append(
            {
                "seed": seed.hex(),
                "layer": layer,
                "shape": list(shape),
                "alpha": alpha,
                "kept": int(kept.sum()),
                "sha256": hashlib.sha256(kept.astype(np.uint8).tobytes()).hexdigest(),
            }
        )
    partials = []
    for role, layer, shape, pair, permille in _PARTIALS:
        key, wrong = getattr(pair, role), derivation.wrong_key(pair.fingerprint)
        values = derivation.partial(role, layer, shape, key, wrong, permille).astype("<f4")
        partials.append(
            {
                "role": role,
                "layer": layer,
                "shape": list(shape),
                "key": key.hex(),
                "owner": pair.fingerprint,
                "permille": permille,
                "wrong": wrong.hex(),
                "fingerprint": derivation.partial_fingerprint(pair.fingerprint, permille),
                "right": int((values == derivation.fill(role, layer, shape, key)).sum()),
                "first_bits": [f"{bits:08x}" for bits in values.reshape(-1)[:16].view("<u4")],
                "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            }
        )
    pairs = [derivation.demo_pair(i) for i in range(1, 5)]
    pairs.append(derivation.KeyPair("edges", _ZERO, _ONES))
    # A pair of X25519: the recipient's of RFC 9180, appendix A.2.1, with the private key as the ladder uses it.
    private = bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e07b")
    pairs.append(derivation.KeyPair("matched", derivation.x25519_public(private), private))
    return {
        "version": derivation.VERSION,
        "fill": fills,
        "mask": masks,
        "partial": partials,
        "fingerprint": [
            {"embed": p.embed.hex(), "recover": p.recover.hex(), "fingerprint": p.fingerprint} for p in pairs
        ],
        "random": [
            {"seed": s, "n": n, "embed": p.embed.hex(), "recover": p.recover.hex()}
            for s, n, p in ((s, n, derivation.random_pair(s, n)) for s, n in _RANDOM)
        ],
        "normal": [_normal(shape, seed) for shape, seed in _NORMAL],
    }


# Bands of one value, of a power of two and not, with more and fewer frequencies than blocks.
_BANDS = ((1, 1, 0), (1, 2, 1), (3, 1, 767), (1, 5, 7), (256, 1, 2), (1, 300, 40), (1, 1024, 767), (24, 100, 31))

# Heights and widths that are and are not multiples of 16, and the most bands.
_PICTURES = ((16, 16, 768, "texture"), (33, 50, 768, "texture"), (64, 48, 768, "grey"), (64, 64, 12, "texture"),
             (272, 256, 768, "texture"))  # fmt: skip


def golden_rotation() -> dict[str, Any]:
    """The content of schemas/testdata/rotation.json."""
    keys = (_ZERO, _ONES, _DEMO_1.embed, _DEMO_2.embed) * 2
    return {
        "version": rotation.VERSION,
        "bands": [_band(*band, key) for band, key in zip(_BANDS, keys, strict=True)],
        "images": [_picture(*p, _DEMO_1.recover) for p in _PICTURES],
    }


def _band(per: int, blocks: int, band: int, key: bytes) -> dict[str, Any]:
    """A rotated band of whole numbers, compared bit for bit."""
    drawn = rotation.words(per, blocks, band, key)
    i = np.arange(per * blocks)
    values = ((7 * i * i + 3 * i) % 31 - 15.0)[:, None]
    rotated = rotation.rotate(values, drawn[..., None])[:, 0].astype("<f8")
    return {
        "frequencies": per,
        "blocks": blocks,
        "band": band,
        "key": key.hex(),
        "first_bits": [f"{bits:016x}" for bits in rotated[:8].view("<u8")],
        "sha256": hashlib.sha256(rotated.tobytes()).hexdigest(),
    }


def _picture(height: int, width: int, most: int, kind: str, key: bytes) -> dict[str, Any]:
    """An image's payload and the image back. They are compared within rounding, because libraries' cosines differ."""
    y, x, c = np.indices((height, width, 3))
    texture = (37 * y + 91 * x * (c + 1) + x * y % 97 + (y // 8 + x // 5) * 29) & 255
    image = (texture if kind == "texture" else np.full_like(texture, 128)).astype(np.uint8)
    turned = rotation.Rotation(height, width, most)
    payload, scales = turned.rotate(image, key)
    restored = turned.restore(payload, scales, key)
    flat = payload.reshape(-1)
    return {
        "height": height,
        "width": width,
        "most": most,
        "kind": kind,
        "key": key.hex(),
        "scales": scales.tobytes().hex(),
        "payload": [float(v) for v in flat[:: max(1, flat.size // 61)]],
        "restored": hashlib.sha256(restored.transpose(2, 0, 1).tobytes()).hexdigest(),
    }


def _normal(shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    values = derivation.normal(shape, seed).astype("<f4")
    return {
        "seed": seed,
        "shape": list(shape),
        "first_bits": [f"{bits:08x}" for bits in values.reshape(-1)[:16].view("<u4")],
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
    }
