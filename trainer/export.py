"""Writes a model directory: manifest, weights, graphs, keyring and card.

The same network and facts give the same bytes. The directory appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import card, derivation, onnxgraph
from .derivation import KeyPair
from .facts import Facts, Measurement
from .network import Network

FORMAT = 1
KEYRING_VERSION = 1
_KEYRING_NOTE = (
    "Demo keys. They are public: anyone can make them and read what they embed. "
    "Use them to try the software, never to protect anything."
)


def write(network: Network, facts: Facts, folder: Path) -> str:
    """Makes or replaces the model directory; returns the model's digest."""
    files = {
        "weights.bin": network.weight.detach().cpu().numpy().astype("<f4").tobytes(),
        "embed.onnx": onnxgraph.embed_graph(network),
        "recover.onnx": onnxgraph.recover_graph(network),
        "purify.onnx": onnxgraph.purify_graph(network),
        "keyring.json": as_json(keyring([key for key in facts.keys if key not in facts.private], facts.created)),
    }
    manifest = as_json(_manifest(network, facts, files))
    readme = card.render(network, facts).encode("utf-8")
    _replace(folder, {**files, "manifest.json": manifest, "README.md": readme})
    return hashlib.sha256(manifest).hexdigest()


def _manifest(network: Network, facts: Facts, files: dict[str, bytes]) -> dict[str, Any]:
    architecture = network.architecture
    layers, offset = [], 0
    for layer in architecture.layers():
        layers.append({"name": layer.name, "shape": list(layer.shape), "offset": offset})
        offset += layer.size
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": facts.name,
        "backbone": architecture.kind,
        "config": architecture.config(),
        "keying": "weights",
        "parameters": network.parameter_count,
        "factor": architecture.factor,
        "min_side": architecture.min_side,
        "alpha": network.alpha,
        "mask_seed": network.mask_seed.hex(),
        "derivation": derivation.VERSION,
        "trained": facts.training is not None,
    }
    if facts.training is not None:
        manifest["training"] = asdict(facts.training)
    manifest["quality"] = [_measurement(measurement) for measurement in facts.quality]
    manifest["keys"] = [{"id": key.id, "fingerprint": key.fingerprint} for key in facts.keys]
    manifest["layers"] = layers
    manifest["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return manifest


def _measurement(measurement: Measurement) -> dict[str, Any]:
    quality = measurement.quality
    return {
        "dataset": measurement.dataset,
        "date": measurement.date,
        "width": measurement.width,
        "height": measurement.height,
        "pairs": quality.pairs,
        "stego_psnr": round(quality.stego, 2),
        "recovered_psnr": round(quality.recovered, 2),
        "mismatched_psnr": round(quality.mismatched, 2),
        "random_psnr": round(quality.random, 2),
        "purified_psnr": round(quality.purified, 2),
    }


def keyring(keys: Sequence[KeyPair], created: str) -> dict[str, Any]:
    """The keyring file of demo keys; it says that they are public."""
    return {
        "version": KEYRING_VERSION,
        "public": True,
        "note": _KEYRING_NOTE,
        "keys": [
            {"id": key.id, "embed": key.embed.hex(), "recover": key.recover.hex(), "created": created} for key in keys
        ],
    }


def read_keyring(path: Path) -> tuple[list[KeyPair], bool]:
    """The key pairs of an unencrypted keyring file, and whether it says that they are public."""
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        pairs = [KeyPair(key["id"], bytes.fromhex(key["embed"]), bytes.fromhex(key["recover"])) for key in file["keys"]]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not an unencrypted keyring: {error}") from None
    return pairs, file.get("public") is True


def as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def _replace(folder: Path, files: dict[str, bytes]) -> None:
    """Writes beside the folder, then swaps: two renames, so that no mixture is ever seen."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh, old = work / "fresh", work / "old"
        fresh.mkdir(mode=0o755)
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        if folder.exists():
            os.rename(folder, old)
        os.rename(fresh, folder)
    finally:
        shutil.rmtree(work)
