from __future__ import annotations

import dataclasses

from trainer.evaluation import Quality
from trainer.keeping import objections

OLD = Quality(pairs=4, stego=32.0, recovered=27.0, mismatched=10.0, random=10.2, unrelated=9.9)


def changed(**numbers: float | None) -> list[str]:
    return objections(OLD, dataclasses.replace(OLD, **numbers))


def test_better_is_better_together() -> None:
    assert not changed(stego=31.8, recovered=27.3)
    assert not changed(stego=32.1)
    assert changed(stego=31.8, recovered=27.1) == ["stego and recovered have -0.10 dB together"]
    assert changed() == ["stego and recovered have +0.00 dB together"]


def test_no_wrong_key_gives_more() -> None:
    assert changed(stego=35.0, random=11.0) == ["random keys give +0.80 dB of the secret"]
    assert changed(stego=35.0, mismatched=10.2) == ["mismatched keys give +0.20 dB of the secret"]
    assert not changed(stego=32.1, mismatched=10.04, random=9.0)
    assert not changed(stego=32.1, mismatched=None, random=None), "a method has no such keys"
