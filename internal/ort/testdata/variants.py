"""Makes the fixture `variant`: an untrained model that has a network for each of two keys.

    python internal/ort/testdata/variants.py

It needs onnx and numpy. demo-1's recover graph takes noise, demo-2's does not:

    stego     = cover + conv3x3(secret) / 8
    recovered = conv3x3(stego)                                       (demo-2)
    recovered = conv3x3(stego) + z / 16, z spread over 2x2 pixels    (demo-1)
    features  = the means of recovered
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

HERE = Path(__file__).parent
IMAGE = ["batch", 3, "height", "width"]


def graph(name, nodes, inputs, output, constants):
    outputs = {output: IMAGE}
    if name == "recover":
        outputs["features"] = ["batch", 3]
        nodes += [
            helper.make_node("GlobalAveragePool", [output], ["means"]),
            helper.make_node("Flatten", ["means"], ["features"], axis=1),
        ]
    made = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs.items()],
        [numpy_helper.from_array(value, n) for n, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="stegomq")
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def weights(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.3, 0.3, (3, 3, 3, 3)).astype(np.float32)


def conv(image, output):
    return helper.make_node("Conv", [image, "weight"], [output], pads=[1, 1, 1, 1])


def embed(seed):
    nodes = [
        conv("secret", "hidden"),
        helper.make_node("Mul", ["hidden", "share"], ["faint"]),
        helper.make_node("Add", ["cover", "faint"], ["stego"]),
    ]
    constants = {"weight": weights(seed), "share": np.array(1 / 8, np.float32)}
    return graph("embed", nodes, {"cover": IMAGE, "secret": IMAGE}, "stego", constants)


def recover(seed):
    return graph("recover", [conv("stego", "recovered")], {"stego": IMAGE}, "recovered", {"weight": weights(seed)})


def recover_with_noise(seed):
    nodes = [
        conv("stego", "clean"),
        helper.make_node("DepthToSpace", ["z"], ["spread"], blocksize=2, mode="CRD"),
        helper.make_node("Shape", ["stego"], ["size"]),
        helper.make_node("Slice", ["size", "two", "four"], ["sides"]),
        helper.make_node("Slice", ["spread", "origin", "sides", "axes"], ["cropped"]),
        helper.make_node("Mul", ["cropped", "share"], ["faint"]),
        helper.make_node("Add", ["clean", "faint"], ["recovered"]),
    ]
    constants = {
        "weight": weights(seed),
        "share": np.array(1 / 16, np.float32),
        "two": np.array([2], np.int64),
        "four": np.array([4], np.int64),
        "origin": np.array([0, 0], np.int64),
        "axes": np.array([2, 3], np.int64),
    }
    inputs = {"stego": IMAGE, "z": ["batch", 12, "half_height", "half_width"]}
    return graph("recover", nodes, inputs, "recovered", constants)


CARD = """# variant

A network for each of two keys, a few weights each. Seed-initialised and **untrained**: it hides nothing. It serves
tests; `variants.py` beside it makes it.
"""


def main():
    directory = HERE / "variant"
    directory.mkdir(exist_ok=True)
    tiny = json.loads((HERE / "tiny" / "manifest.json").read_text())
    shutil.copyfile(HERE / "tiny" / "keyring.json", directory / "keyring.json")
    graphs = {
        "embed.demo-1.onnx": embed(1),
        "recover.demo-1.onnx": recover_with_noise(2),
        "embed.demo-2.onnx": embed(3),
        "recover.demo-2.onnx": recover(4),
    }
    for name, data in graphs.items():
        (directory / name).write_bytes(data)
    names = sorted([*graphs, "keyring.json"])
    manifest = {
        "format": 1,
        "name": "variant",
        "backbone": "fixture",
        "config": {},
        "keying": "variant",
        "operations": ["embed", "recover"],
        "parameters": 162,
        "factor": 2,
        "min_side": 16,
        "features": 3,
        "trained": False,
        "quality": [],
        "keys": tiny["keys"],
        "variants": [
            {**key, "embed": f"embed.{key['id']}.onnx", "recover": f"recover.{key['id']}.onnx"} for key in tiny["keys"]
        ],
        "files": {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    (directory / "README.md").write_text(CARD)


if __name__ == "__main__":
    main()
