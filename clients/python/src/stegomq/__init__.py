"""Client of the stegomq HTTP API: hides images in images for many users.

    client = stegomq.Client("http://127.0.0.1:8080", token)
    stego = client.embed("cover.jpg", "secret.jpg", key="alice")

Client waits for its answers, AsyncClient is for asyncio; they have the same methods. Images go in as paths, bytes of a
file, PIL images or numpy arrays (height x width x 3 or height x width, uint8), and come out as PIL images.
"""

from ._clients import AsyncClient, Client
from ._images import ImageInput
from ._protocol import Evaluation, ImageWarning, Key, Model, Problem, Refused, Result, Run

__all__ = [
    "AsyncClient",
    "Client",
    "Evaluation",
    "ImageInput",
    "ImageWarning",
    "Key",
    "Model",
    "Problem",
    "Refused",
    "Result",
    "Run",
]
