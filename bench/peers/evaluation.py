"""Compares the CPU time of `stegomq evaluate` with that of a plain Python evaluation, alternately.

`make bench-peers` runs it. In the Python program Pillow reads and resizes, ONNX Runtime of the same version runs the
same graphs with one thread, scikit-image measures, everything stays in memory, and there is no queue, no store and no
memo. It makes the same comparisons of the same pairs with the same keys: every key embeds, every key and a random one
decode, and the network without a key purifies noisy covers. Weights are constants in one session for each key, which is
the fastest way to use the runtime, or inputs of one session for all keys, as in the model's files. stegomq has an empty
state folder each time. The times are of whole processes; for Python the time of the start is also printed.

It fails if the results differ: the means of stego and recovered PSNR must agree within 0.1 dB.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("constant", "input")


class Networks:
    """The sessions of a model, with weights of keys."""

    def __init__(self, folder, way):
        import numpy as np
        import onnx

        self.way, self.sessions = way, {}
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.graphs = {name: onnx.load(folder / f"{name}.onnx") for name in ("embed", "recover", "purify")}
        self.shared = np.fromfile(folder / "weights.bin", "<f4")

    def weights(self, role, key):
        """The arrays of the layers: shared weights inside the mask, the key's outside; without a key all are shared."""
        import numpy as np

        sys.path.insert(0, str(ROOT))
        from trainer import derivation

        seed, alpha = bytes.fromhex(self.manifest["mask_seed"]), self.manifest["alpha"]
        made = {}
        for layer in self.manifest["layers"]:
            name, shape = layer["name"], layer["shape"]
            shared = self.shared[layer["offset"] :][: int(np.prod(shape))].reshape(shape)
            made[name] = shared
            if key is not None:
                mask = derivation.mask(name, shape, seed, alpha)
                made[name] = np.where(mask, shared, derivation.fill(role, name, shape, key))
        return made

    def open(self, role, key):
        """A function from images to the outputs of the network."""
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        weights = self.weights(role, key)
        graph, at = self.graphs[role], (role, key if self.way == "constant" else None)
        if self.way == "constant":
            graph = onnx.ModelProto()
            graph.CopyFrom(self.graphs[role])
            inputs = [i for i in graph.graph.input if i.name not in weights]
            del graph.graph.input[:]
            graph.graph.input.extend(inputs)
            graph.graph.initializer.extend(onnx.numpy_helper.from_array(w, name) for name, w in weights.items())
            weights = {}
        if at not in self.sessions:
            self.sessions[at] = onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        session = self.sessions[at]
        names = [i.name for i in session.get_inputs() if i.name not in weights]
        output = [session.get_outputs()[0].name]
        return lambda *images: session.run(output, dict(zip(names, images, strict=True)) | weights)[0]


def evaluate(args):
    """The plain evaluation. Prints the means of PSNR, the number of comparisons and the time of the start."""
    import numpy as np
    from PIL import Image
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    networks = Networks(ROOT / "models" / args.model, args.one)
    ring = json.loads((ROOT / "models" / args.model / "keyring.json").read_text())["keys"][: args.keys]
    begun = resource.getrusage(resource.RUSAGE_SELF)
    embed = [networks.open("embed", bytes.fromhex(k["embed"])) for k in ring]
    recover = [networks.open("recover", bytes.fromhex(k["recover"])) for k in ring]
    recover.append(networks.open("recover", bytes(range(32))))
    purify = networks.open("purify", None)
    psnrs = {}

    def read(path):
        with Image.open(path) as m:
            return np.asarray(m.convert("RGB").resize((args.size, args.size), Image.Resampling.LANCZOS))

    def run(network, *images):
        tensors = (np.ascontiguousarray((m.astype(np.float32) / 255).transpose(2, 0, 1)[None]) for m in images)
        out = network(*tensors)[0].transpose(1, 2, 0)
        return np.clip(np.rint(out * 255), 0, 255).astype(np.uint8)

    def compare(role, a, b):
        structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1
        )
        error = (a.astype(np.float64) - b) / 255
        np.mean(np.abs(error)), np.sqrt(np.mean(error**2))
        psnrs.setdefault(role, []).append(peak_signal_noise_ratio(a, b, data_range=255))

    files = sorted(p for p in args.data.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    noise = np.random.default_rng(1)
    for cover, secret in zip(files[::2][: args.pairs], files[1::2], strict=False):
        cover, secret = read(cover), read(secret)
        compare("baseline", secret, cover)
        for own, hide in enumerate(embed):
            stego = run(hide, cover, secret)
            compare("stego", cover, stego)
            for other, read_back in enumerate(recover):
                recovered = run(read_back, stego)
                compare("recovered" if other == own else "leakage", secret, recovered)
                if other != own:
                    compare("leakage of the cover", cover, recovered)
        noisy = np.clip(np.rint(cover + noise.normal(0, 20, cover.shape)), 0, 255).astype(np.uint8)
        compare("noise", cover, noisy)
        compare("purified", cover, run(purify, noisy))
    count = sum(map(len, psnrs.values()))
    start = begun.ru_utime + begun.ru_stime
    means = {role: statistics.fmean(p) for role, p in psnrs.items()}
    print(json.dumps({"comparisons": count, "start": start} | means))


def timed(command, env=None):
    """The CPU time of a process and its children, and its output."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    out, _ = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} ended with {status}")
    return usage.ru_utime + usage.ru_stime, out


def ours(args):
    with tempfile.TemporaryDirectory() as folder:
        command = [args.program, "evaluate", "--model", args.model, "--data", args.data, "--size", str(args.size)]
        command += ["--keys", str(args.keys), "--limit", str(args.pairs), "--state", f"{folder}/state", "--out", folder]
        took, _ = timed(command)
        summary = json.loads((Path(folder) / "summary.json").read_text())
    groups = {"stego": "imperceptibility", "recovered": "recoverability"}
    return took, {role: summary[group]["psnr"]["mean"] for role, group in groups.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="stegomq, built")
    parser.add_argument("data", type=Path, help="a folder of photographs")
    parser.add_argument("--model", default="invertible-mk", help="one whose keys fill weights")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=WAYS, help="one evaluation in Python, in this process")
    args = parser.parse_args()
    if args.one:
        return evaluate(args)

    env = os.environ | {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS")}
    rows = []
    for _ in range(args.rounds):
        took, mine = ours(args)
        row = [took]
        for way in WAYS:
            took, out = timed([sys.executable, __file__, *sys.argv[1:], "--one", way], env)
            theirs = json.loads(out)
            for role, mean in mine.items():
                if not abs(mean - theirs[role]) <= 0.1:
                    sys.exit(f"{role}: {mean:.2f} dB is ours, {theirs[role]:.2f} dB in Python")
            row += [took, theirs["start"]]
        rows.append(row)

    print(f"{args.pairs} pairs, {args.keys} keys, {args.size}x{args.size}, {theirs['comparisons']} comparisons;")
    print(f"processor's time in s, medians of {args.rounds} rounds in turn; ratio: to ours (least, largest)\n")
    print("| | CPU | of it the start | ratio | ratio without the start |")
    print("|---|---|---|---|---|")
    print(f"| stegomq evaluate | {statistics.median(r[0] for r in rows):.2f} | | | |")
    for i, way in enumerate(WAYS):
        took, start = (statistics.median(r[1 + 2 * i + k] for r in rows) for k in range(2))
        whole = sorted(r[1 + 2 * i] / r[0] for r in rows)
        warm = statistics.median((r[1 + 2 * i] - r[2 + 2 * i]) / r[0] for r in rows)
        ratio = f"**{statistics.median(whole):.2f}** ({whole[0]:.2f}, {whole[-1]:.2f})"
        print(f"| Python, weights as {way}s | {took:.2f} | {start:.2f} | {ratio} | {warm:.2f} |")


if __name__ == "__main__":
    main()
