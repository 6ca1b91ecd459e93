"""Makes the image pairs and golden.json of this folder: scores by scikit-image and numpy.

Run in this folder with Pillow, numpy and scikit-image. The images are synthetic; the left half of
each file is the reference, the right half the test.
"""

import json

import numpy as np
import skimage
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def waves(height, width, phase=0.0):
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(float)
    v = 127.5 + 110 * np.sin(phase + x * (c + 1) / 9) * np.cos(y / (5 + c))
    return np.rint(v).astype(np.uint8)


def pairs(rng):
    base = waves(40, 56)
    yield "noise", base, np.clip(base + np.rint(rng.normal(0, 12, base.shape)), 0, 255).astype(np.uint8)
    yield "one-sample", base, base ^ (np.arange(base.size).reshape(base.shape) == 999)
    yield "shift", base, np.roll(base, 1, axis=1)
    yield "inverse", base, 255 - base
    yield "unrelated", rng.integers(0, 256, (33, 21, 3)), rng.integers(0, 256, (33, 21, 3))
    yield "black-white", np.zeros((16, 12, 3)), np.full((16, 12, 3), 255)
    yield "flat-one-off", np.full((12, 16, 3), 200), np.full((12, 16, 3), 201)
    yield "one-window", waves(11, 11), waves(11, 11, 0.3)
    yield "channels", base, base[:, :, ::-1]
    yield "identical", base, base
    yield "odd", rng.integers(0, 256, (37, 41, 3)), rng.integers(0, 256, (37, 41, 3))
    yield "lowest", waves(11, 130), waves(11, 130, 0.2)
    yield "narrowest", waves(131, 11), waves(131, 11, 0.2)
    yield "fourteen", rng.integers(0, 256, (14, 14, 3)), rng.integers(0, 256, (14, 14, 3))
    yield "white", np.full((13, 15, 3), 255), np.full((13, 15, 3), 254)
    yield "black", np.zeros((15, 13, 3)), np.ones((15, 13, 3))
    yield "extremes", 255 * rng.integers(0, 2, (45, 83, 3)), 255 * rng.integers(0, 2, (45, 83, 3))
    bright = rng.integers(250, 256, (70, 97, 3))
    yield "bright", bright, np.clip(bright + rng.integers(-1, 2, bright.shape), 0, 255)
    wide = waves(24, 301)
    yield "wide", wide, np.clip(wide + rng.integers(-9, 10, wide.shape), 0, 255)


def scores(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    mse = np.mean((a - b) ** 2)
    ssim = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1
    )
    return {
        "psnr": 100.0 if mse == 0 else float(peak_signal_noise_ratio(a, b, data_range=255)),
        "ssim": float(ssim),
        "mae": float(np.mean(np.abs(a - b)) / 255),
        "rmse": float(np.sqrt(mse) / 255),
    }


def main():
    golden = {"made_with": f"scikit-image {skimage.__version__}", "pairs": []}
    for name, a, b in pairs(np.random.default_rng(1)):
        a, b = a.astype(np.uint8), b.astype(np.uint8)
        Image.fromarray(np.hstack([a, b])).save(f"{name}.png", optimize=True)
        golden["pairs"].append({"name": name, **scores(a, b)})
    with open("golden.json", "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
