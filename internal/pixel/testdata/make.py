"""Makes the image files of this folder, golden.json, golden.png, and references for cases/.

Run in this folder with Pillow and numpy. The images are synthetic. golden.png holds what Pillow
decodes from each file, composited on white and turned upright, in tiles of 40x40 one below the other in the
order of golden.json, which also says how far a decoder may be from it: 0 for lossless files and for WebP, 4
levels where JPEG leaves the inverse DCT open.
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


def sharp(width=WIDTH, height=HEIGHT):
    """Random pixels and blocks of saturated colours: what chroma interpolation makes of them differs everywhere."""
    draw = np.random.default_rng(width * height)
    blocks = draw.integers(0, 2, (height // 5 + 1, width // 5 + 1, 3)) * 255
    out = np.repeat(np.repeat(blocks, 5, axis=0), 5, axis=1)[:height, :width]
    out[:, width // 2 :] = draw.integers(0, 256, (height, width - width // 2, 3))
    return Image.fromarray(out.astype(np.uint8))


def flat_jpeg(factors, adobe=None, ids=b"\1\2\3\4", width=39, height=23):
    """A JPEG by hand, for sampling factors that Pillow does not write: of a block the mean alone is coded, at random."""
    draw = np.random.default_rng(sum(h * 10 + v for h, v in factors))
    across, down = max(h for h, _ in factors), max(v for _, v in factors)
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    bits, last = "", [0] * len(factors)
    for _ in range(units):
        for i, (h, v) in enumerate(factors):
            for _ in range(h * v):
                mean = int(draw.integers(-128, 128))
                step, last[i] = mean - last[i], mean
                size = abs(step).bit_length()
                value = step if step > 0 else step + (1 << size) - 1
                # Codes of 4 bits for the sizes 0 to 8 of a step, and one of 1 bit that ends a block.
                bits += f"{size:04b}" + (f"{value:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")

    def segment(marker, body):
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    components = b"".join(bytes([ids[i], h << 4 | v, 0]) for i, (h, v) in enumerate(factors))
    data = b"\xff\xd8"
    if adobe is not None:
        data += segment(0xEE, b"Adobe\0d\0\0\0\0" + bytes([adobe]))
    data += segment(0xDB, b"\0" + b"\x08" * 64)
    data += segment(0xC0, struct.pack(">BHHB", 8, height, width, len(factors)) + components)
    data += segment(0xC4, b"\x00" + bytes([0, 0, 0, 9] + [0] * 12) + bytes(range(9)))
    data += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    scan = b"".join(bytes([ids[i], 0]) for i in range(len(factors)))
    return data + segment(0xDA, bytes([len(factors)]) + scan + b"\x00\x3f\x00") + coded + b"\xff\xd9"


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


def tiff(
    samples, bits, photometric, order, planar=1, tile=None, rows=None, extra=(), predictor=1, fill=1, backwards=False
):
    """A TIFF by hand, for what Pillow does not write. samples is H x W x C; order is that of the bytes, "<" or ">"."""
    height, width, count = samples.shape
    samples = samples.astype(order + "u2" if bits == 16 else np.uint8)
    piece_height, piece_width = tile or (rows or height, width)
    if predictor == 2:
        before = np.zeros_like(samples)
        for x in range(1, width):
            if x % piece_width:
                before[:, x] = samples[:, x - 1]
        samples = (samples - before).astype(samples.dtype)
    pieces = []
    for part in [samples] if planar == 1 else [samples[:, :, c : c + 1] for c in range(count)]:
        for y in range(0, height, piece_height):
            for x in range(0, width, piece_width):
                piece = part[y : y + piece_height, x : x + piece_width]
                if tile:
                    below, beside = tile[0] - piece.shape[0], tile[1] - piece.shape[1]
                    piece = np.pad(piece, ((0, below), (0, beside), (0, 0)), mode="edge")
                if bits < 8:
                    digits = (piece.reshape(len(piece), -1)[:, :, None] >> np.arange(bits)[::-1]) & 1
                    data = np.packbits(digits.reshape(len(piece), -1), axis=1).tobytes()
                else:
                    data = piece.tobytes()
                if fill == 2:
                    data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()
                pieces.append(data)
    data = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    offsets = []
    for piece in pieces:
        offsets.append(len(data))
        data += piece + bytes(len(piece) % 2)
    tags = {256: [width], 257: [height], 258: [bits] * count, 259: [1], 262: [photometric], 266: [fill]}
    tags |= {277: [count], 284: [planar], 317: [predictor]}
    if extra:
        tags[338] = list(extra)
    if tile:
        tags |= {322: [tile[1]], 323: [tile[0]], 324: offsets, 325: list(map(len, pieces))}
    else:
        tags |= {278: [piece_height], 273: offsets, 279: list(map(len, pieces))}
    entries = b""
    for tag in sorted(tags, reverse=backwards):
        values = struct.pack(f"{order}{len(tags[tag])}L", *tags[tag])
        if len(values) > 4:
            at, data = len(data), data + values
            values = struct.pack(order + "L", at)
        entries += struct.pack(order + "HHL", tag, 4, len(tags[tag])) + values
    directory = struct.pack(order + "L", len(data))
    return data[:4] + directory + data[8:] + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def bmp(samples, header, masks=(), gap=0):
    """A BMP by hand: 32 bits a pixel, a header of so many bytes, and a gap before the pixels. samples is H x W x 4."""
    height, width = samples.shape[:2]
    masked = b"".join(struct.pack("<L", m) for m in masks)
    info = struct.pack("<LllHHLLllLL", header, width, height, 1, 32, 3 if masks else 0, 0, 2835, 2835, 0, 0) + masked
    info = info.ljust(header, b"\0") + bytes(gap)
    pixels = samples[::-1, :, [2, 1, 0, 3]].tobytes()
    return b"BM" + struct.pack("<LHHL", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


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
    yield "baseline.jpg", encoded(mild, "JPEG", quality=90, subsampling="4:2:0"), 4
    yield "progressive.jpg", encoded(image, "JPEG", quality=90, subsampling="4:4:4", progressive=True), 3
    yield "restart.jpg", encoded(mild, "JPEG", quality=90, subsampling="4:2:2", restart_marker_blocks=2), 4
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
    yield "lossy.webp", encoded(mild, "WEBP", quality=90), 0
    yield "lossy-alpha.webp", encoded(mild_translucent, "WEBP", quality=90), 1
    yield "orientation8.webp", encoded(image, "WEBP", lossless=True, exif=exif(8)), 0

    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        yield f"{compression.removeprefix('tiff_')}.tiff", encoded(image, "TIFF", compression=compression), 0
    yield "grey.tiff", encoded(grey_image, "TIFF"), 0
    yield "palette.tiff", encoded(palette, "TIFF"), 0
    bilevel = grey_image.convert("1")
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "group3", "group4"):
        # libtiff writes Pillow's bilevel images as BlackIsZero.
        name = f"bilevel-{compression.removeprefix('tiff_')}.tiff"
        yield name, encoded(bilevel, "TIFF", compression=compression), 0
        yield f"white-{name}", encoded(bilevel, "TIFF", compression=compression, tiffinfo={262: 0}), 0
    yield "alpha.tiff", encoded(translucent, "TIFF", compression="tiff_lzw"), 1
    yield "grey-alpha.tiff", encoded(translucent.convert("LA"), "TIFF"), 1
    for predictor in (1, 2):
        yield f"predictor{predictor}.tiff", encoded(image, "TIFF", compression="tiff_lzw", tiffinfo={317: predictor}), 0
    yield "strips.tiff", encoded(image, "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 5}), 0
    for order in "<>":
        end = {"<": "little", ">": "big"}[order]
        for bits in (2, 4, 16):
            samples = np.floor(full.mean(axis=-1) * ((1 << bits) - 1) / 255).astype(np.uint16)
            shown = bytes8(np.floor(samples / 256) if bits == 16 else samples * (255 // ((1 << bits) - 1)))
            shown = np.repeat(shown[:, :, None], 3, axis=-1)
            yield f"grey{bits}-{end}.tiff", tiff(samples[:, :, None], bits, 1, order), 0, shown
        yield f"rgb16-{end}.tiff", tiff(deep, 16, 2, order), 0, bytes8(np.floor(deep / 256))
        for planar in (1, 2):
            yield f"tiles{planar}-{end}.tiff", tiff(rgb, 8, 2, order, planar=planar, tile=(16, 32)), 0, rgb
            shown, options = bytes8(np.floor(deep / 256)), {"planar": planar, "rows": 7}
            yield f"rows{planar}-{end}.tiff", tiff(deep, 16, 2, order, **options, backwards=True, fill=2), 0, shown
            yield f"predicted{planar}-{end}.tiff", tiff(deep, 16, 2, order, **options, predictor=2), 0, shown
    extra = np.concatenate([rgb, alpha, alpha[::-1]], axis=-1)
    yield "extra-none.tiff", tiff(extra, 8, 2, "<", extra=(0, 0)), 0, rgb
    yield "extra-none-planar.tiff", tiff(extra, 8, 2, ">", extra=(0, 0), planar=2), 0, rgb
    white = 255.0 * (1 - extra[:, :, 4:] / 255)
    shown = bytes8(rgb * (extra[:, :, 4:] / 255.0) + white)
    yield "extra-alpha.tiff", tiff(extra, 8, 2, "<", extra=(0, 2)), 1, shown, True
    associated = extra.copy()
    associated[:, :, :3] = np.minimum(rgb, extra[:, :, 4:])
    shown = bytes8(associated[:, :, :3] + white)
    yield "extra-associated.tiff", tiff(associated, 8, 2, "<", extra=(0, 1), planar=2), 1, shown, True
    yield "orientation7.tiff", encoded(image, "TIFF", exif=exif(7)), 0

    odd = sharp(39, 23)
    for subsampling in ("4:2:0", "4:2:2"):
        name = "sharp" + subsampling.replace(":", "")
        yield f"{name}.jpg", encoded(sharp(), "JPEG", quality=95, subsampling=subsampling), 4
        yield f"{name}-odd.jpg", encoded(odd, "JPEG", quality=95, subsampling=subsampling), 4
        yield f"{name}-progressive.jpg", encoded(odd, "JPEG", quality=95, subsampling=subsampling, progressive=True), 4
    yield "sharp.webp", encoded(sharp(), "WEBP", quality=95), 0
    yield "sharp-odd.webp", encoded(odd, "WEBP", quality=95), 0
    for h, v in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2)):
        yield f"flat{h}x{v}.jpg", flat_jpeg([(h, v), (1, 1), (1, 1)]), 0
    yield "flat-factors.jpg", flat_jpeg([(2, 2), (2, 1), (2, 1)]), 0
    yield "flat-rgb.jpg", flat_jpeg([(2, 2), (1, 1), (1, 1)], ids=b"RGB"), 0
    yield "flat-cmyk.jpg", flat_jpeg([(2, 2), (1, 1), (1, 1), (2, 2)], adobe=0), 1
    yield "flat-ycck.jpg", flat_jpeg([(2, 2), (1, 1), (1, 1), (2, 2)], adobe=2), 1

    yield "rgb.bmp", encoded(image, "BMP"), 0
    yield "alpha.bmp", bmp(np.concatenate([rgb, alpha], axis=-1), 124, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), 1
    yield "masks.bmp", bmp(np.concatenate([rgb, alpha], axis=-1), 40, (0xFF0000, 0xFF00, 0xFF)), 0
    yield "masks56.bmp", bmp(np.concatenate([rgb, 0 * alpha], axis=-1), 56, (0xFF0000, 0xFF00, 0xFF, 0)), 0
    yield "gap.bmp", bmp(np.concatenate([rgb, 0 * alpha], axis=-1), 108, gap=6), 0
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


def cases():
    """Writes what Pillow decodes from those files of cases/ that came without a reference."""
    for name in ("no-eoi-samsung-trailer.jpg", "exif-long6.jpg", "rgba.png"):
        with open(f"cases/{name}", "rb") as f:
            Image.fromarray(expected(f.read())[0]).save(f"cases/{name[:-4]}-reference.png", optimize=True)


def main():
    cases()
    tiles = []
    golden = {"made_with": f"Pillow {PIL.__version__}", "files": [], "refused": []}
    for name, data, tolerance, *given in files():
        kind, orientation = name.split(".")[1].upper(), 1
        if not given:
            opened = Image.open(io.BytesIO(data))
            kind, orientation = opened.format, opened.getexif().get(0x0112, 1)
        pixels, transparent = (given + [False])[:2] if given else expected(data)
        with open(name, "wb") as f:
            f.write(data)
        golden["files"].append({
            "name": name,
            "format": {"JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WebP"}.get(kind, kind),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "orientation": orientation,
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
