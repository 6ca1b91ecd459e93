"""The command line: train, resume, evaluate, export, attack, decode, detect, keys, vectors."""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from . import (
    attack,
    card,
    config,
    decoder,
    derivation,
    detector,
    enrolment,
    evaluation,
    export,
    facts,
    journal,
    keeping,
    photographs,
    public,
    training,
    users,
    vectors,
)
from .config import ConfigError

log = logging.getLogger("trainer")

_NOT_BETTER = 3
_SIDE = 128
"""Of the photographs that tell what enrolling cost, in pixels."""
_RUNS = "folder of a run; of a method without keys, of the run of every instance"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        code: int | None = options.run(options)
    except (ConfigError, OSError, ValueError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description="Trains and exports stegomq models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a model from a configuration")
    command.add_argument("config", type=Path)
    command.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    command.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    command.add_argument("--seconds", type=float, help="budget (default: the configuration's)")
    _settings(command)
    command.add_argument(
        "--instance", type=int, default=1, help="of a method without keys: the user to train, counted from 1"
    )
    _threads(command)
    command.add_argument("--from", type=Path, dest="start", help="begin with the weights of this model directory")
    command.set_defaults(run=_train)

    command = commands.add_parser("resume", help="go on with a run from its checkpoint")
    command.add_argument("folder", type=Path)
    command.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    _threads(command)
    _keyring(command)
    _settings(command)
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, help="a new budget, counted from the start of the run")
    budget.add_argument(
        "--anneal", type=float, metavar="SECONDS", help="lower the rate to the final one in so long, and end the run"
    )
    command.set_defaults(run=_resume)

    command = commands.add_parser("enroll", help="add key pairs to a trained network by a short fine-tune")
    command.add_argument(
        "source", type=Path, help="folder of the run that trained it, or with --config its model directory"
    )
    command.add_argument("--config", type=Path, help="the configuration that the model was trained with")
    command.add_argument("--out", type=Path, required=True, help="folder of the new run; what was begun there goes on")
    command.add_argument("--model", type=Path, help="export it there, and say what the users had before and have now")
    command.add_argument("--name", help="name of the model (default: that of the directory)")
    command.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    command.add_argument("--seconds", type=float, default=600, help="budget of the fine-tune")
    command.add_argument("--rate", type=float, help="learning rate (default: the run's)")
    _keyring(command)
    _threads(command)
    command.set_defaults(run=_enroll)

    command = commands.add_parser("evaluate", help="measure a checkpoint")
    command.add_argument("folder", type=Path, nargs="+", help=f"{_RUNS}; or a model directory")
    _keyring(command)
    _measured(command, required=True)
    command.set_defaults(run=_evaluate)

    command = commands.add_parser(
        "better", help=f"whether a run is better than another on photographs held out; exits with {_NOT_BETTER} if not"
    )
    command.add_argument("new", type=Path, help="folder of the run")
    command.add_argument("old", type=Path, help="folder of the other run, or a model directory")
    command.add_argument("--data", type=Path, required=True, help="folder of photographs that the run is trained on")
    command.add_argument("--side", type=int, default=256, help="of every image, in pixels")
    command.set_defaults(run=_better)

    command = commands.add_parser("export", help="write a model directory")
    command.add_argument("source", type=Path, nargs="+", help=f"{_RUNS}; or a configuration for untrained weights")
    command.add_argument("out", type=Path, help="the model directory; replaced as a whole")
    command.add_argument("--revision", default=None, help="of the source; git is asked by default")
    command.add_argument("--note", default="", help="what the configuration does not say about the training")
    command.add_argument("--headline", default="", help="what the card says first")
    command.add_argument("--name", help="of the model (default: the configuration's)")
    _keyring(command)
    _measured(command, required=False)
    command.set_defaults(run=_export)

    command = commands.add_parser("card", help="put what `stegomq evaluate` measured into a model's README.md")
    command.add_argument("model", type=Path, help="the model directory")
    command.add_argument("summaries", type=Path, nargs="+", metavar="SUMMARY", help="a summary.json")
    command.set_defaults(run=_card)

    command = commands.add_parser("attack", help="train on leaked pairs of a user, and read the user's other images")
    command.add_argument("model", type=Path, help="the model directory")
    command.add_argument("--leak", type=Path, required=True, help="photographs that the leaked pairs are made of")
    command.add_argument(
        "--pairs", type=_numbers, default=[0, 1, 10, 100], metavar="N,N", help="leaked; with 0 he makes his own"
    )
    command.add_argument("--data", required=True, metavar="NAME=FOLDER", help="photographs to test on")
    command.add_argument("--side", type=int, default=128, help="of every image, in pixels")
    command.add_argument("--limit", type=int, default=16, help="at most so many pairs to test on (0: all)")
    command.add_argument("--victim", metavar="ID", help="a user of the model (default: the first)")
    command.add_argument("--keyring", type=Path, help="with the victim's key pair (default: the model's keyring.json)")
    command.add_argument("--mode", choices=attack.MODES, default="fill", help="what he changes: keyed weights or all")
    command.add_argument("--start", choices=attack.STARTS, default="mean", help="the keyed weights to begin with")
    command.add_argument("--seconds", type=float, default=120, help="of the processor, or of a GPU, for each N")
    command.add_argument("--steps", type=int, default=0, help="stop after so many, if not 0: that repeats anywhere")
    command.add_argument("--rate", type=float, default=1e-3, help="Adam's at its highest")
    command.add_argument("--crop", type=int, default=64, help="in pixels")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--out", type=Path, required=True, help="the report, a JSON file")
    _threads(command)
    command.set_defaults(run=_attack)

    command = commands.add_parser("keys", help="print a keyring of public keys")
    command.add_argument("--count", type=int, default=4)
    command.add_argument("--first", type=int, default=1, help="the number of the first one")
    command.add_argument("--random", type=int, metavar="SEED", help="the unregistered keys of a seed")
    command.set_defaults(run=_keys)

    command = commands.add_parser("vectors", help="write the golden vectors of the derivation and of the rotation")
    command.add_argument("out", type=Path, nargs="?", default=Path("schemas/testdata"), help="folder")
    command.set_defaults(run=_vectors)
    public.add_commands(commands)
    decoder.add_commands(commands)
    detector.add_commands(commands)
    return parser


def _settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="TABLE.NAME=VALUE", dest="settings",
        help="in place of the configuration's; a TOML value; may be repeated",
    )  # fmt: skip


def _threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, default=2, help="on a busy machine one is faster than two")
    _device(command)
    command.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="SECONDS",
        help="stop so long after the start, to be resumed; the budget and its schedule stay as they are",
    )  # fmt: skip


def _device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")


def _keyring(command: argparse.ArgumentParser) -> None:
    command.add_argument("--keyring", type=Path, help="the key pairs that `enroll` adds or added: an unencrypted file")


def _measured(command: argparse.ArgumentParser, required: bool) -> None:
    command.add_argument(
        "--data", action="append", default=[], required=required, metavar="NAME=FOLDER",
        help="photographs to measure on; may be repeated",
    )  # fmt: skip
    command.add_argument("--sides", type=int, nargs="+", default=[128], help="image sides in pixels")
    command.add_argument("--pairs", type=int, default=0, help="at most so many pairs (0: all)")
    _device(command)


def _train(options: argparse.Namespace) -> None:
    _unused(options.out)
    run = training.Run(config.load(options.config, options.settings), options.device, instance=options.instance)
    if options.start:
        run.start_from(options.start)
    if options.seconds:
        run.budget = options.seconds
    _go_on(run, options.out, options)


def _unused(folder: Path) -> None:
    if (folder / training.CHECKPOINT).exists():
        raise FileExistsError(f"{folder} has a checkpoint: resume it, or choose another folder")


def _resume(options: argparse.Namespace) -> None:
    run = training.resume(options.folder, options.device, _enrolled(options), options.settings)
    if options.seconds:
        run.budget = options.seconds
    if options.anneal:
        run.anneal(options.anneal)
    _go_on(run, options.folder, options)


def _enroll(options: argparse.Namespace) -> None:
    if not options.model:
        _unused(options.out)
    elif options.model.exists():
        raise FileExistsError(f"{options.model} exists already: remove it or choose another place")
    if not options.keyring:
        raise ValueError("enroll needs --keyring: a file with the key pairs to add, such as `keys` prints")
    pairs = _enrolled(options)
    if options.config:
        known = [key["fingerprint"] for key in export.read_manifest(options.source)["keys"]]
        old = sorted((pair for pair in pairs if pair.fingerprint in known), key=lambda p: known.index(p.fingerprint))
        trained = training.Run(config.load(options.config), options.device, old)
        trained.start_from(options.source)
        pairs = [pair for pair in pairs if pair.fingerprint not in known]
    else:
        trained = training.resume(options.source, options.device)
    if (options.out / training.CHECKPOINT).exists():
        run = training.resume(options.out, options.device, [*trained.enrolled, *pairs])
    else:
        run = trained.enroll(pairs, options.seconds, options.rate)
    _go_on(run, options.out, options)
    if options.model and run.progress >= 1:
        _publish(trained, run, options)


def _publish(before: training.Run, run: training.Run, options: argparse.Namespace) -> None:
    covers, secrets = photographs.held_out(options.data, run.config.training.held_out, _SIDE)
    covers, secrets = covers.to(options.device), secrets.to(options.device)
    ids = [key.id for key in run.keys]
    print(enrolment.report(_trained([before]), _trained([run]), ids, covers, secrets))
    # The bytes of demo keys are public; those of enrolled keys stay with their users.
    name = options.name or options.model.resolve().name
    model = facts.Facts(name, run.keys, private=run.enrolled, training=_summary([run]))
    digest = export.write([run.averaged()], model, options.model)
    print(f"{options.model}: model {name}, digest {digest}")


def _enrolled(options: argparse.Namespace) -> list[derivation.KeyPair]:
    return export.read_keyring(options.keyring)[0] if options.keyring else []


def _go_on(run: training.Run, folder: Path, options: argparse.Namespace) -> None:
    settings = run.config.training
    images = photographs.Photographs(options.data, settings.largest_crop, settings.held_out)
    log.info("%d parameters, %d photographs, step %d", run.network.parameter_count, images.count, run.step)
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # on a GPU: the shapes stay the same
    run.hardware = _joined(run.hardware, _hardware(options))
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.train(images, folder, options.stop_after)


def _joined(before: str, now: str) -> str:
    """The hardware of a run, whose stretches may have used several machines."""
    return before if now in before else ", then ".join(filter(None, (before, now)))


def _hardware(options: argparse.Namespace) -> str:
    if options.device.startswith("cuda"):
        return f"one {torch.cuda.get_device_name(options.device)}"
    return journal.cpu(options.threads)


def _evaluate(options: argparse.Namespace) -> None:
    first = options.folder[0]
    model = len(options.folder) == 1 and not (first / training.CHECKPOINT).exists()
    trained = _shipped(first, options.device) if model else _trained(_runs(options.folder, options))
    for measurement in _measurements(trained, options):
        quality = measurement.quality
        print(f"{measurement.dataset} {measurement.width}x{measurement.height} {quality.line()}")
    if isinstance(trained, users.Rotated) and trained.keyed:
        _print_halves(trained, options)


def _print_halves(trained: users.Rotated, options: argparse.Namespace) -> None:
    for name, covers, secrets in _tested(options):
        unrelated = evaluation.ssim(covers, secrets)
        for half in evaluation.halves(trained, covers, secrets):
            weights, rotation = ("right" if right else "wrong" for right in (half.right_weights, half.right_rotation))
            above = "SSIM above an unrelated image {mean:+.3f} [{low:+.3f}, {high:+.3f}]".format(
                **attack.score((half.ssim - unrelated).tolist())
            )
            print(f"{name} {weights} weights, {rotation} rotation: {half.psnr.mean():.2f} dB, {above}")


def _better(options: argparse.Namespace) -> int:
    new = training.resume(options.new)
    covers, secrets = photographs.held_out(options.data, new.config.training.held_out, options.side)
    qualities = []
    old = options.old
    trained = _trained([training.resume(old)]) if (old / training.CHECKPOINT).exists() else _shipped(old)
    for folder, network in ((old, trained), (options.new, _trained([new]))):
        quality = evaluation.measure(network, covers, secrets)
        print(f"{folder}: {len(covers)} pairs of {options.side}x{options.side} held out: {quality.line()}")
        qualities.append(quality)
    reasons = keeping.objections(*qualities)
    print(f"{options.new} is not better: {'; '.join(reasons)}" if reasons else f"{options.new} is better")
    return _NOT_BETTER if reasons else 0


def _shipped(folder: Path, device: str = "cpu") -> users.Users:
    """The users of a model directory, by the keyring in it."""
    networks, _ = export.load(folder)
    return users.of([network.to(device) for network in networks], export.read_keyring(folder / "keyring.json")[0])


def _trained(runs: Sequence[training.Run]) -> users.Users:
    return users.of([run.averaged() for run in runs], _keys_of(runs))


def _runs(folders: Sequence[Path], options: argparse.Namespace) -> list[training.Run]:
    """One run, or the runs of the instances of one model without keys."""
    runs = [training.resume(folder, options.device, _enrolled(options)) for folder in folders]
    if len({run.config.text for run in runs}) > 1:
        raise ValueError("these runs were trained from different configurations")
    if len({run.instance for run in runs}) < len(runs):
        raise ValueError("two of these runs are of the same instance: train others with --instance")
    return runs


def _measurements(trained: users.Users, options: argparse.Namespace) -> list[facts.Measurement]:
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    measurements = []
    for name, covers, secrets in _tested(options):
        side = covers.shape[-1]
        quality = evaluation.measure(trained, covers, secrets)
        measurements.append(facts.Measurement(name, date, side, side, quality))
    return measurements


def _tested(options: argparse.Namespace) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """The name of every data set, and its covers and secrets at every side."""
    for name, folder in map(_named_folder, options.data):
        for side in options.sides:
            covers, secrets = photographs.pairs(folder, side, side, options.pairs)
            yield name, covers.to(options.device), secrets.to(options.device)


def _named_folder(entry: str) -> tuple[str, Path]:
    name, _, folder = entry.partition("=")
    if not folder:
        raise ValueError(f"--data {entry}: write NAME=FOLDER")
    return name, Path(folder)


def _keys_of(runs: Sequence[training.Run]) -> list[derivation.KeyPair]:
    return [key for run in runs for key in run.keys]


def _export(options: argparse.Namespace) -> None:
    runs, summary, quality = [], None, []
    if all(source.is_dir() for source in options.source):
        runs = _runs(options.source, options)
        summary = _summary(runs, options.note, options.revision)
        quality = _measurements(_trained(runs), options)
    elif len(options.source) == 1:
        runs = training.untrained(config.load(options.source[0]))
        if options.data:
            raise ValueError("an untrained model has no quality: leave --data out")
    else:
        raise ValueError("export takes folders of runs, or one configuration")
    name = options.name or runs[0].config.model.name
    public = not options.keyring or export.read_keyring(options.keyring)[1]
    model = facts.Facts(
        name, _keys_of(runs), headline=options.headline, private=() if public else runs[0].enrolled,
        training=summary, quality=quality,
    )  # fmt: skip
    digest = export.write([run.averaged() for run in runs], model, options.out)
    print(f"{options.out}: model {model.name}, digest {digest}")


def _summary(runs: Sequence[training.Run], note: str = "", revision: str = "") -> facts.Summary:
    return facts.Summary(
        images=runs[0].images,
        steps=sum(run.before.updates + run.updates for run in runs),
        seconds=round(sum(run.before.seconds + run.seconds for run in runs)),
        hardware=runs[0].hardware,
        recipe=". ".join(filter(None, (_recipe(runs), note))),
        revision=revision or journal.revision(),
    )


def _card(options: argparse.Namespace) -> None:
    path = options.model / "README.md"
    digest = export.digest(options.model)
    summaries = []
    for file in options.summaries:
        summary = json.loads(file.read_text(encoding="utf-8"))
        if summary["model"]["digest"] != digest:
            raise ValueError(f"{file} measured another model than {options.model}: evaluate this one")
        summaries.append(summary)
    path.write_text(card.with_measurements(path.read_text(encoding="utf-8"), summaries), encoding="utf-8")


def _attack(options: argparse.Namespace) -> None:
    name, folder = _named_folder(options.data)
    if folder.resolve() == options.leak.resolve():
        raise ValueError("--leak and --data are one folder: the attacker must not have seen what he is tested on")
    torch.set_num_threads(options.threads)
    settings = attack.Settings(
        mode=options.mode, start=options.start, side=options.side, seconds=options.seconds, steps=options.steps,
        rate=options.rate, crop=options.crop, seed=options.seed,
    )  # fmt: skip
    target = attack.Target(options.model, options.victim, options.keyring, options.device)
    test = photographs.pairs(folder, options.side, options.side, options.limit)
    report = attack.run(target, settings, options.pairs, options.leak, name, test, _hardware(options))
    options.out.write_bytes(attack.as_json(report))
    for kind in ("baseline", "untrained", "matched"):
        print(f"{kind}: {attack.line(report[kind])}")
    for result in report["results"]:
        print(f"{result['pairs']} leaked pairs, {result['steps']} steps, {result['seconds']} s: {attack.line(result)}")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _keys(options: argparse.Namespace) -> None:
    if options.random is None:
        keys = [derivation.demo_pair(options.first + i) for i in range(options.count)]
    else:
        keys = [derivation.random_pair(options.random, options.first - 1 + i) for i in range(options.count)]
    sys.stdout.write(export.as_json(export.keyring(keys, facts.DEMO_KEYS_CREATED)).decode())


def _vectors(options: argparse.Namespace) -> None:
    for name, content in (("derivation", vectors.golden()), ("rotation", vectors.golden_rotation())):
        (options.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _recipe(runs: Sequence[training.Run]) -> str:
    run = runs[0].config
    t = run.training
    late = f" (the last {1 - t.late:.0%} of the time {t.late_batch} of {t.late_crop})" if t.late < 1 else ""
    instances = f"; steps and time of {len(runs)} instances, which differ in their seed" if len(runs) > 1 else ""
    return (
        f"{run.losses.recipe()}{f' of {run.model.keys}' if run.model.keyed else ''}, straight-through 8-bit stego; "
        f"{t.optimiser.capitalize()} at {t.rate:g}, cosine to {t.final_rate:g}, batch {t.batch}, "
        f"crops of {t.crop} pixels{late}, averaged parameters ({t.average:g}){instances}"
    )
