"""The model card: the README of a model directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .derivation import KeyPair
from .facts import Facts
from .network import Network

_ROTATED_LIMITS = """\
- The network has no keys and serves everybody's: any key pair embeds and recovers at once. What isolates users is the
  keyed rotation of what is hidden (docs/decisions/0011-rotation.md), not training.
- The demo keys are public. They protect nothing.
- Nothing authenticates the stego image: a wrong key gives noise and no error.
- It was trained through 8-bit rounding and through nothing else, and the lowest bits say how to rotate back.
  JPEG, resizing and other processing of a stego image destroy the secret.
- Steganalysis finds that something is there: `stegomq audit` measures it."""
_KEYED_LIMITS = """\
- Keys that are not in the table were never trained on. They do not embed or recover properly:
  another user needs a model that was trained with that user's key pair.
"""
_VARIANT_LIMITS = """\
- The method has no keys. Ids and fingerprints only name the instances: who has the files of one can recover
  what it embeds. Another user needs an instance of their own.
"""
_LIMITS = """\
- The demo keys are public. They protect nothing.
- The figures are means. Covers with large black or white areas come out worst, and not equally
  with every key.
- It was trained through 8-bit rounding and through nothing else. JPEG, resizing and other
  processing of a stego image destroy the secret.
- Whoever has the cover as well can subtract it: the difference shows outlines of the secret, without any key.
- What a wrong key shows is a matter of training. Somebody who trains recovery anew can read the secret, and
  steganalysis finds that one is there: `stegomq audit` and `python -m trainer attack` measure both.
  Who must keep a secret uses `sealed`; to encrypt the picture first does not help, as recovery is lossy."""


def of_imported(name: str, key: KeyPair, alpha: float, origin: str) -> str:
    """The card of a network that was trained elsewhere, with one public key pair."""
    return f"""# {name}

Hides one RGB image in another of the same size. {origin}.

A share of {alpha:g} of the convolution weights is trained, the key fills the rest. The fill of the one key pair is
stored in fills.bin, because the public code draws it with PyTorch's generator; the mask is in mask.bin.

| key | fingerprint |
|---|---|
| {key.id} | `{key.fingerprint}` |

The key pair is public: anyone can make it of its two integers. It protects nothing. Other keys were not trained and
serve only as wrong ones. Nothing was measured here.
"""


def render(network: Network, facts: Facts) -> str:
    sections = [f"# {facts.name}"]
    if facts.headline:
        sections.append(f"**{facts.headline}**")
    sections.append(_what(network, facts))
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
        sections += ["## Limits", _limits(network)]
    return "\n\n".join(sections) + "\n"


def _limits(network: Network) -> str:
    architecture = network.architecture
    if architecture.shared and not architecture.keyed:
        return _ROTATED_LIMITS
    return (_KEYED_LIMITS if architecture.keyed else _VARIANT_LIMITS) + _LIMITS


def _what(network: Network, facts: Facts) -> str:
    architecture = network.architecture
    config = ", ".join(f"{name} {value}" for name, value in architecture.config().items())
    keys = "\n".join(f"| {key.id} | `{key.fingerprint}` |" for key in facts.keys)
    if architecture.keyed:
        hides = "per user key"
        share = f"; a share of {network.alpha:g} of the convolution weights is trained, keys fill the rest"
    elif architecture.shared:
        hides = "rotated by any user's key"
        share = ""
    else:
        hides = "with an instance for each user"
        share = " in each instance. A wrong key is another user's instance"
    embeds, recovers = (network.gmac(operation, 256) for operation in ("embed", "recover"))
    return (
        f"Hides one RGB image in another of the same size, {hides}. Backbone `{architecture.kind}`"
        f"{f' ({config})' if config else ''}, {network.parameter_count} parameters, "
        f"{embeds:.1f} / {recovers:.1f} GMAC to embed / recover at 256x256{share}.\n\n"
        f"| key | fingerprint |\n|---|---|\n{keys}"
    )


def _quality(facts: Facts) -> str:
    rows = []
    for m in facts.quality:
        q = m.quality
        values = (q.stego, q.recovered, q.mismatched, q.random, q.unrelated, q.purified)
        cells = " | ".join("" if value is None else f"{value:.2f}" for value in values)
        rows.append(f"| {m.dataset} | {m.width}x{m.height} | {q.pairs} | {cells} | {m.date} |")
    noisy = facts.quality[0].quality.noisy
    purified = (
        "" if noisy is None else f" Purified: Gaussian noise of sigma 20/255 was added, which alone leaves {noisy:.2f}."
    )
    return (
        "Mean PSNR in dB of pairs of photographs that were not trained on, resized to the size given, "
        "8-bit at every step. Wrong keys are measured against the secret: the nearer to `unrelated` "
        f"(cover against secret), the less leaks.{purified}\n\n"
        "| data | size | pairs | stego | recovered | mismatched key | random key | unrelated | purified | date |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


_MEASURED = "## Measured through the queue"
_ROLES = (
    ("imperceptibility", "stego against cover"),
    ("recoverability", "matched key against secret"),
    ("leakage_mismatched", "mismatched key against secret"),
    ("leakage_random", "random key against secret"),
    ("leakage_near", "key one bit off against secret"),
    ("leakage_mismatched_cover", "mismatched key against cover"),
    ("leakage_random_cover", "random key against cover"),
    ("baseline_cover_secret", "baseline: cover against secret"),
    ("purification", "purified against clean"),
    ("noise", "noisy against clean"),
)


def with_measurements(card: str, summaries: Sequence[Mapping[str, Any]]) -> str:
    """The card with its section of `stegomq evaluate`'s measurements replaced or added."""
    head, _, rest = card.partition(f"{_MEASURED}\n")
    after = rest.find("\n## ")
    tail = rest[after + 1 :] if after >= 0 else ""
    tables = "\n\n".join(_measured(summary) for summary in summaries)
    section = (
        f"{_MEASURED}\n\n"
        "By `stegomq evaluate`: 8-bit stego images, means over all pairs and keys. The excess of a wrong key is its "
        "score less the baseline of the same pair; above 0 it would be nearer to the secret than the cover is.\n\n"
        f"{tables}\n"
    )
    if not rest:
        head, middle, tail = head.partition("## Limits")
        tail = middle + tail
    return head + section + (f"\n{tail}" if tail else "")


def _measured(summary: Mapping[str, Any]) -> str:
    side, data = summary["geometry"], summary["dataset"]
    unregistered = [
        f"{len(summary[name])} {word}"
        for name, word in (("random_keys", "random"), ("near_keys", "one bit off"))
        if summary[name]
    ]
    title = (
        f"### {PurePath(data['path']).name}, {side['width']}x{side['height']}: {data['pairs']} pairs, "
        f"{len(summary['keys'])} keys ({', '.join(unregistered)})"
    )
    rows = []
    for role, words in _ROLES:
        group = summary[role]
        n, refused = group["n"], group.get("refused", 0)
        if not n and refused:
            rows.append(f"| {words} | 0 | refused {refused} of {refused} | | | | | |")
        if not n:
            continue
        psnr, ssim, excess = group["psnr"], group["ssim"], group.get("excess")
        count = f"{n}, refused {refused} of {n + refused}" if refused else str(n)
        cells = [words, count, f"{psnr['mean']:.2f}", f"{psnr['max']:.2f}", f"{ssim['mean']:.3f}"]
        cells += [f"{group['mae']['mean']:.4f}"]
        if excess:
            cells += [f"{excess['psnr']['mean']:+.2f} / {excess['psnr']['max']:+.2f}"]
            cells += [f"{excess['ssim']['mean']:+.3f} / {excess['ssim']['max']:+.3f}"]
        else:
            cells += ["", ""]
        rows.append("| " + " | ".join(cells) + " |")
    return (
        f"{title}\n\n"
        "| | n | PSNR dB | its maximum | SSIM | MAE | excess PSNR, mean / maximum | excess SSIM, mean / maximum |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )
