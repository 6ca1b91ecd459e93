"""Golden values of MS-SSIM: python msssim.py > msssim.txt, in an environment with pytorch-msssim 1.0.0 and torch.

Every line is a width, a height, a noise and what pytorch-msssim makes of the two images that msssim_test.go makes, too.
"""

import numpy as np
import torch
from pytorch_msssim import ms_ssim

for width, height, noise in [(176, 176, 3), (192, 256, 23), (320, 176, 101), (256, 256, 255), (176, 208, 1)]:
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.int64)
    a = (128 + 90 * ((x // 9 + y // 7 + c) % 2) - 60 * ((x * x + 3 * y * y + 50 * c) % 97) // 97) % 256
    b = np.clip(a + (x * y * 3 + x * 7 + c) % noise - noise // 2, 0, 255)
    tensors = [torch.from_numpy(m).permute(2, 0, 1)[None].double() for m in (a, b)]
    print(width, height, noise, f"{ms_ssim(*tensors, data_range=255).item():.15g}")
