"""Writes a model directory: manifest, weights, graphs, keyring and card.

The same network and facts give the same bytes. The directory appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from . import card, derivation, onnxgraph
from .backbones import Affine, Architecture, Layer, create
from .derivation import KeyPair
from .facts import DEMO_KEYS_CREATED, Facts, Measurement, Summary
from .network import Network

FORMAT = 1
KEYRING_VERSION = 1
_KEYRING_NOTE = (
    "Demo keys. They are public: anyone can make them and read what they embed. "
    "Use them to try the software, never to protect anything."
)
_IMPORTED_NOTE = (
    "The keys of an imported checkpoint. They are public: "
    "anyone can make them of two integers and read what they embed."
)


def write(networks: Sequence[Network], facts: Facts, folder: Path) -> str:
    """Makes or replaces the model directory; returns the model's digest.

    There is one network for all, or one of a method without keys for each of the facts' keys.
    """
    architecture = networks[0].architecture
    if len(networks) != (1 if architecture.shared else len(facts.keys)):
        raise ValueError(f"{facts.name}: {len(networks)} networks and {len(facts.keys)} keys do not go together")
    if architecture.keyed and architecture.rotated:
        raise ValueError(f"{architecture.kind}: no program runs it but the trainer: `evaluate` measures the run")
    if architecture.keyed:
        files = _keyed_files(networks[0])
    elif architecture.shared:
        files = _graphs(networks[0])
    else:
        files = {name: graph for n, key in zip(networks, facts.keys) for name, graph in _graphs(n, key).items()}
    files["keyring.json"] = as_json(keyring([key for key in facts.keys if key not in facts.private], facts.created))
    manifest = as_json(_manifest(networks[0], facts, files))
    readme = card.render(networks[0], facts).encode("utf-8")
    _replace(folder, {**files, "manifest.json": manifest, "README.md": readme})
    return hashlib.sha256(manifest).hexdigest()


@dataclass(frozen=True)
class Imported:
    """The counterpart of facts for an imported network: its mask and the fills of its one key pair are stored."""

    name: str
    key: KeyPair
    mask: bytes
    """Bit i % 8 of byte i // 8 is 1 where weight i is shared."""
    fills: Sequence[bytes]
    """The keyed weights of embed and of recover, as weights.bin has its own."""
    origin: str


def write_imported(network: Network, imported: Imported, folder: Path) -> str:
    """Makes the model directory of a network that was trained elsewhere; returns the model's digest."""
    key = imported.key
    files = _keyed_files(network) | {"mask.bin": imported.mask, "fills.bin": b"".join(imported.fills)}
    files["keyring.json"] = as_json(keyring([key], DEMO_KEYS_CREATED, _IMPORTED_NOTE))
    manifest = _manifest(network, Facts(imported.name, [key]), files)
    del manifest["mask_seed"]
    training = Summary(0, 0, 0, "unknown", imported.origin, "unknown")
    manifest |= {"trained": True, "training": asdict(training)}
    roles = (derivation.EMBED, derivation.RECOVER)
    manifest["fills"] = [{"fingerprint": key.fingerprint, "role": role} for role in roles]
    encoded = as_json(manifest)
    readme = card.of_imported(imported.name, key, network.alpha, imported.origin).encode("utf-8")
    _replace(folder, {**files, "manifest.json": encoded, "README.md": readme})
    return hashlib.sha256(encoded).hexdigest()


def _keyed_files(network: Network) -> dict[str, bytes]:
    weights = network.weight.detach().cpu().numpy().astype("<f4").tobytes()
    return {"weights.bin": weights} | {_graph(name): build(network) for name, build in onnxgraph.GRAPHS.items()}


def _graphs(network: Network, key: KeyPair | None = None) -> dict[str, bytes]:
    """The graphs with their parameters: of all users, or of one user's instance."""
    operations = network.architecture.operations
    return {_graph(operation, key): onnxgraph.GRAPHS[operation](network) for operation in operations}


def _graph(operation: str, key: KeyPair | None = None) -> str:
    """The file of a graph: of all users, or of one user's instance."""
    return f"{operation}.{key.id}.onnx" if key else f"{operation}.onnx"


def _manifest(network: Network, facts: Facts, files: dict[str, bytes]) -> dict[str, Any]:
    architecture = network.architecture
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": facts.name,
        "backbone": architecture.kind,
        "config": architecture.config(),
        "keying": architecture.keying,
    }
    if not architecture.shared:
        manifest["operations"] = list(architecture.operations)
    manifest |= {
        "parameters": network.parameter_count,
        "factor": architecture.factor,
        "min_side": architecture.min_side,
        "features": onnxgraph.feature_count(network),
    }
    if architecture.keyed:
        manifest |= {
            "alpha": network.alpha,
            "mask_seed": network.mask_seed.hex(),
            "derivation": derivation.VERSION,
        }
    manifest["trained"] = facts.training is not None
    if facts.training is not None:
        manifest["training"] = asdict(facts.training)
    manifest["quality"] = [_measurement(measurement) for measurement in facts.quality]
    manifest["keys"] = [{"id": key.id, "fingerprint": key.fingerprint} for key in facts.keys]
    if architecture.keyed:
        manifest["layers"] = _layers(network)
    elif not architecture.shared:
        manifest["variants"] = [
            {"id": key.id, "fingerprint": key.fingerprint} | {op: _graph(op, key) for op in architecture.operations}
            for key in facts.keys
        ]
    manifest["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return manifest


def _layers(network: Network) -> list[dict[str, Any]]:
    layers, offset = [], 0
    for layer in network.architecture.layers():
        layers.append({"name": layer.name, "shape": list(layer.shape), "offset": offset})
        offset += layer.size
    return layers


def _measurement(measurement: Measurement) -> dict[str, Any]:
    quality = measurement.quality
    decibels = {
        "stego_psnr": quality.stego,
        "recovered_psnr": quality.recovered,
        "mismatched_psnr": quality.mismatched,
        "random_psnr": quality.random,
        "purified_psnr": quality.purified,
    }
    return {
        "dataset": measurement.dataset,
        "date": measurement.date,
        "width": measurement.width,
        "height": measurement.height,
        "pairs": quality.pairs,
        **{name: round(value, 2) for name, value in decibels.items() if value is not None},
    }


def keyring(keys: Sequence[KeyPair], created: str, note: str = _KEYRING_NOTE) -> dict[str, Any]:
    """The keyring file of public keys; the file says that they are public."""
    return {
        "version": KEYRING_VERSION,
        "public": True,
        "note": note,
        "keys": [
            {"id": key.id, "embed": key.embed.hex(), "recover": key.recover.hex(), "created": created} for key in keys
        ],
    }


def read(folder: Path, network: Network) -> dict[str, Any]:
    """Loads the parameters of a model directory for all users into a network of its shape; returns the manifest."""
    manifest = read_manifest(folder)
    expected: dict[str, Any] = {"keying": network.architecture.keying, "backbone": network.architecture.kind}
    if network.architecture.keyed:
        expected |= {"alpha": network.alpha, "mask_seed": network.mask_seed.hex()}
    for name, value in expected.items():
        if manifest.get(name) != value:
            raise ValueError(f"{folder}: its {name} is {manifest.get(name)}, the configuration's {value}")
    # Values that the manifest leaves out are the backbone's defaults.
    if (sizes := create(manifest["backbone"], manifest["config"])) != network.architecture:
        raise ValueError(
            f"{folder}: its config is {sizes.config()}, the configuration's {network.architecture.config()}"
        )
    _fill(network, (folder / _graph(operation) for operation in network.architecture.operations))
    if network.architecture.keyed:
        with torch.no_grad():
            network.weight.copy_(torch.from_numpy(np.fromfile(folder / "weights.bin", "<f4")))
    return manifest


def load(folder: Path) -> tuple[list[Network], dict[str, Any]]:
    """The networks of a model directory (one, or one for every user of a method without keys) and its manifest."""
    manifest = read_manifest(folder)
    if manifest["keying"] == "variant":
        architecture = create(manifest["backbone"], manifest["config"])
        return [_instance(folder, architecture, variant) for variant in manifest["variants"]], manifest
    # Imported networks have no seed, and models without a network have no graphs.
    foreign = manifest["keying"] == "weights" and "mask_seed" not in manifest
    if foreign or _graph("embed") not in manifest.get("files", {}):
        raise ValueError(f"{folder} is not a model that the trainer made: there is no network to load")
    architecture = create(manifest["backbone"], manifest["config"])
    seed = bytes.fromhex(manifest.get("mask_seed", "00" * derivation.KEY_BYTES))
    network = Network(architecture, manifest.get("alpha", 1.0), seed)
    read(folder, network)
    return [network], manifest


def _instance(folder: Path, architecture: Architecture, variant: dict[str, str]) -> Network:
    """One user's network. Parameters for training only are not exported, so they keep their initial values."""
    network = Network(architecture, 1.0, bytes(derivation.KEY_BYTES))
    _fill(network, (folder / variant[operation] for operation in architecture.operations))
    return network


def _fill(network: Network, graphs: Iterable[Path]) -> None:
    """Copies the parameters from graphs."""
    architecture, found = network.architecture, _initialisers(graphs)
    vectors: tuple[tuple[torch.Tensor, Sequence[Layer | Affine]], ...] = (
        (network.weight, architecture.layers()),
        (network.affine, architecture.affines()),
        (network.statistics, architecture.statistics()),
    )
    with torch.no_grad():
        for vector, parts in vectors:
            for part, values in zip(parts, torch.split(vector, [part.size for part in parts])):
                if part.name in found:
                    values.copy_(torch.from_numpy(found[part.name]))


def read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no manifest.json: it is not a model directory") from None
    return manifest


def _initialisers(graphs: Iterable[Path]) -> dict[str, np.ndarray]:
    """The values in graphs by name, flat."""
    return {
        initialiser.name: onnx.numpy_helper.to_array(initialiser).reshape(-1).copy()
        for graph in graphs
        for initialiser in onnx.load(graph).graph.initializer
    }


def digest(folder: Path) -> str:
    """The digest of the model in a directory."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


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
    """Writes beside the folder, then swaps with two renames, so nobody sees a mixture."""
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
