"""Makes the image files of this folder, golden.json and golden.png.

Run in this folder with Pillow and numpy. The images are synthetic. golden.png holds what Pillow
decodes from each file, composited on white and turned upright, in tiles of 40x40 one below the other in the
order of golden.json, which also says how far a decoder may be from it: 0 for lossless files, a few
levels where formats leave rounding or chroma interpolation open.
"""

import io
import json
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

WIDTH, HEIGHT = 40, 24


def gradient():
    """A smooth image without symmetry, H x W x 3 in 0..255."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    red = 255 * x / (WIDTH - 1)
    green = 255 * y / (HEIGHT - 1)
    blue = 127.5 + 127.5 * np.sin(x / 9 + y / 5)
    return np.stack([red, green, blue], axis=-1)


def soft():
    """A full range of grey with little colour, so that chroma interpolation hides no range error."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    grey = 255 * (x + y) / (WIDTH + HEIGHT - 2)
    return np.clip(grey[:, :, None] + 0.1 * (gradient() - 128), 0, 255)


def bytes8(v):
    return np.rint(v).astype(np.uint8)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples, depth, colour, interlaced=False):
    """A PNG by hand, for what Pillow does not write: 16-bit colour and Adam7. samples is H x W x C."""
    height, width = samples.shape[:2]
    samples = samples.astype(">u2" if depth == 16 else np.uint8)
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for y, x, dy, dx in passes:
        part = samples[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\x00" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def ycck(rgb):
    """A YCCK JPEG: Pillow writes the four channels as they are, and the Adobe marker is then set to 2."""
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    black = np.full(ycc.shape[:2] + (1,), 225, np.uint8)
    # Pillow inverts CMYK on its way into a JPEG.
    data = bytearray(encoded(Image.fromarray(255 - np.concatenate([ycc, black], axis=-1), "CMYK"), "JPEG", quality=95))
    adobe = data.index(b"\xff\xee\x00\x0eAdobe")
    data[adobe + 15] = 2
    return bytes(data)


def exif(value):
    tags = Image.Exif()
    tags[0x0112] = value
    return tags


def files():
    """Yields name, file, largest difference allowed, and the pixels if Pillow cannot give them."""
    full = gradient()
    rgb = bytes8(full)
    grey = bytes8(full.mean(axis=-1))
    alpha = bytes8(np.clip(full[:, :, 2:] * 1.4 - 50, 0, 255))
    image, grey_image = Image.fromarray(rgb), Image.fromarray(grey)
    mild = Image.fromarray(bytes8(soft()))
    translucent = Image.fromarray(np.concatenate([rgb, alpha], axis=-1))
    mild_translucent = Image.fromarray(np.concatenate([bytes8(soft()), alpha], axis=-1))
    palette = image.quantize(32)
    clear = palette.copy()
    clear.info["transparency"] = 3

    yield "grey.jpg", encoded(grey_image, "JPEG", quality=90), 1
    yield "baseline.jpg", encoded(mild, "JPEG", quality=90, subsampling="4:2:0"), 5
    yield "progressive.jpg", encoded(image, "JPEG", quality=90, subsampling="4:4:4", progressive=True), 3
    yield "restart.jpg", encoded(mild, "JPEG", quality=90, subsampling="4:2:2", restart_marker_blocks=2), 5
    yield "rgb.jpg", encoded(image, "JPEG", quality=90, keep_rgb=True), 2
    yield "cmyk.jpg", encoded(image.convert("CMYK"), "JPEG", quality=95), 3
    yield "ycck.jpg", ycck(rgb), 4
    for value in range(1, 9):
        yield f"orientation{value}.jpg", encoded(image, "JPEG", quality=90, subsampling="4:4:4", exif=exif(value)), 3

    yield "rgb.png", encoded(image, "PNG"), 0
    yield "grey.png", encoded(grey_image, "PNG"), 0
    yield "bits.png", encoded(grey_image.convert("1"), "PNG"), 0
    yield "palette.png", encoded(palette, "PNG"), 0
    yield "palette-clear.png", encoded(clear, "PNG", transparency=3), 0
    yield "alpha.png", encoded(translucent, "PNG"), 1
    yield "grey-alpha.png", encoded(translucent.convert("LA"), "PNG"), 1
    yield "orientation6.png", encoded(image, "PNG", exif=exif(6)), 0
    yield "interlaced.png", png(rgb, 8, 2, interlaced=True), 0
    deep = np.rint(full * 257).astype(np.uint16)
    yield "rgb16.png", png(deep, 16, 2), 0, bytes8(np.floor(deep / 256))
    yield "grey16-interlaced.png", png(deep[:, :, :1], 16, 0, interlaced=True), 0, bytes8(
        np.floor(np.repeat(deep[:, :, :1], 3, axis=-1) / 256)
    )

    yield "lossless.webp", encoded(image, "WEBP", lossless=True), 0
    yield "lossless-alpha.webp", encoded(translucent, "WEBP", lossless=True, exact=True), 1
    yield "lossy.webp", encoded(mild, "WEBP", quality=90), 5
    yield "lossy-alpha.webp", encoded(mild_translucent, "WEBP", quality=90), 5
    yield "orientation8.webp", encoded(image, "WEBP", lossless=True, exif=exif(8)), 0

    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        yield f"{compression.removeprefix('tiff_')}.tiff", encoded(image, "TIFF", compression=compression), 0
    yield "grey.tiff", encoded(grey_image, "TIFF"), 0
    yield "palette.tiff", encoded(palette, "TIFF"), 0
    yield "orientation7.tiff", encoded(image, "TIFF", exif=exif(7)), 0

    yield "rgb.bmp", encoded(image, "BMP"), 0
    yield "palette.bmp", encoded(palette, "BMP"), 0


def refused():
    """Yields files that are images but are not read, with a word of the reason."""
    image = Image.fromarray(bytes8(gradient()))
    yield "refused.gif", encoded(image.quantize(8), "GIF"), "GIF"
    yield "refused.avif", encoded(image, "AVIF", quality=30), "AVIF"
    yield "animated.webp", encoded(image, "WEBP", save_all=True, append_images=[image.rotate(180)]), "animated"
    yield "cmyk.tiff", encoded(image.convert("CMYK"), "TIFF", compression="tiff_lzw"), "TIFF"
    yield "tiny.png", encoded(image.resize((40, 15)), "PNG"), "40x15"


def expected(data):
    """What Pillow shows: upright, on white, and whether anything was transparent."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB")), rgba.getextrema()[3][0] < 255


def main():
    tiles = []
    golden = {"made_with": f"Pillow {PIL.__version__}", "files": [], "refused": []}
    for name, data, tolerance, *given in files():
        opened = Image.open(io.BytesIO(data))
        pixels, transparent = (given[0], False) if given else expected(data)
        with open(name, "wb") as f:
            f.write(data)
        golden["files"].append({
            "name": name,
            "format": {"JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WebP"}.get(opened.format, opened.format),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "orientation": opened.getexif().get(0x0112, 1),
            "transparent": transparent,
            "tolerance": tolerance,
        })
        tile = np.zeros((WIDTH, WIDTH, 3), np.uint8)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        tiles.append(tile)
    Image.fromarray(np.vstack(tiles)).save("golden.png", optimize=True)
    for name, data, reason in refused():
        with open(name, "wb") as f:
            f.write(data)
        golden["refused"].append({"name": name, "reason": reason})
    with open("golden.json", "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
