"""The model card: the README of a model directory."""

from __future__ import annotations

from .facts import Facts
from .network import Network

_LIMITS = """\
- Keys that are not in the table were never trained on. They do not embed or recover properly:
  another user needs a model that was trained with that user's key pair.
- The demo keys are public. They protect nothing.
- The figures are means. Covers with large black or white areas come out worst, and not equally
  with every key.
- It was trained through 8-bit rounding and through nothing else. JPEG, resizing and other
  processing of a stego image destroy the secret.
- Nothing is said here about steganalysis: a hidden image may well be detectable."""


def render(network: Network, facts: Facts) -> str:
    sections = [f"# {facts.name}", _what(network, facts)]
    if facts.training is None:
        sections.append("Seed-initialised and **untrained**: it hides nothing. It serves tests and timings.")
    else:
        t = facts.training
        sections += [
            "## Training",
            f"{t.recipe}\n\n"
            f"{t.steps} steps in {t.seconds / 60:.0f} minutes on {t.hardware}, "
            f"from {t.images} photographs, which are not shipped. Revision {t.revision}.",
        ]
    if facts.quality:
        sections += ["## Quality", _quality(facts)]
    if facts.training is not None:
        sections += ["## Limits", _LIMITS]
    return "\n\n".join(sections) + "\n"


def _what(network: Network, facts: Facts) -> str:
    architecture = network.architecture
    config = ", ".join(f"{name} {value}" for name, value in architecture.config().items())
    keys = "\n".join(f"| {key.id} | `{key.fingerprint}` |" for key in facts.keys)
    return (
        f"Hides one RGB image in another of the same size, per user key. Backbone `{architecture.kind}`"
        f"{f' ({config})' if config else ''}, {network.parameter_count} parameters; "
        f"a share of {network.alpha:g} of the convolution weights is trained, keys fill the rest.\n\n"
        f"| key | fingerprint |\n|---|---|\n{keys}"
    )


def _quality(facts: Facts) -> str:
    rows = []
    for m in facts.quality:
        q = m.quality
        values = (q.stego, q.recovered, q.mismatched, q.random, q.unrelated, q.purified)
        cells = " | ".join(f"{value:.2f}" for value in values)
        rows.append(f"| {m.dataset} | {m.width}x{m.height} | {q.pairs} | {cells} | {m.date} |")
    return (
        "Mean PSNR in dB of pairs of photographs that were not trained on, resized to the size given, "
        "8-bit at every step. Wrong keys are measured against the secret: the nearer to `unrelated` "
        "(cover against secret), the less leaks. Purified: Gaussian noise of sigma 20/255 was added, "
        f"which alone leaves {facts.quality[0].quality.noisy:.2f}.\n\n"
        "| data | size | pairs | stego | recovered | mismatched key | random key | unrelated | purified | date |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )
