"""Converts users' images to files for the service, and its answers to images."""

from __future__ import annotations

import io
import os
from typing import Any, Protocol, TypeAlias

from PIL import Image


class Array(Protocol):
    """The attributes of numpy arrays that are used here."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | Array"


def encode(image: ImageInput) -> bytes:
    """The bytes of an image file. Pixels are written as PNG, which is lossless; files are sent unchanged."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, (str, os.PathLike)):
        with open(image, "rb") as file:
            return file.read()
    if not isinstance(image, Image.Image):
        interface = getattr(image, "__array_interface__", None)
        if interface is None:
            raise TypeError(f"an image is a path, bytes, a PIL image or a numpy array, not {type(image).__name__}")
        if interface["typestr"] != "|u1":
            raise TypeError("an array of an image has the type uint8, from 0 to 255: convert it first")
        image = Image.fromarray(image)
    if image.mode == "F":
        raise TypeError("an image of floating-point pixels has no known range: convert it to RGB first")
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = image.convert("I;16")  # RGB would cut the values off at 255; the service keeps the high byte
    elif image.mode not in ("L", "RGB", "RGBA", "P", "1", "LA"):
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    """The PIL image of a PNG answer."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
