#!/usr/bin/env python3
"""Fetch the assets that lock.json names: the ONNX Runtime library and the sample photographs.

    fetch.py GROUP...          bring .cache/GROUP up to date (groups: onnxruntime, photos)
    fetch.py --lock GROUP...   write the hashes of the versions in lock.json anew (after a version was edited)

lock.json pins the sha512 of every npm package and the sha256 of every file taken out of it. It names no
host: npm asks its configured registry. Only `npm pack` runs, which downloads the package's archive but
not its dependencies, and runs no install scripts. A file gets its final name only when it is complete
and verified. A second run finds the right hashes and does nothing.
"""

import argparse
import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "lock.json"
CACHE = HERE.parent.parent / ".cache"
MACHINES = {"AMD64": "x86_64", "amd64": "x86_64", "arm64": "aarch64"}


class FetchError(Exception):
    """An error that the user has to act on."""


def sha256(path):
    """Hex digest of a file, None when there is none."""
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def wanted(package, machine):
    """The files of a package that this machine needs."""
    files = [f for f in package["files"] if f.get("machine", machine) == machine]
    if not files:
        raise FetchError(f"{package['name']} has nothing for a {machine} machine")
    return files


def pack(package, folder):
    """Let npm download the package's archive into folder; return its path and integrity."""
    spec = f"{package['name']}@{package['version']}"
    # The folder is also the working directory, so that no .npmrc or package.json of the repository applies.
    retry = ["--fetch-retry-mintimeout=1000", "--fetch-retry-factor=3"]
    command = ["npm", "pack", "--loglevel=error", "--ignore-scripts", "--prefer-offline", *retry, spec]
    for wait in (5, 20, 60, None):
        try:
            done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except FileNotFoundError:
            raise FetchError("npm is not installed (Debian: apt-get install npm)") from None
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode == 0 and len(archives) == 1:
            break
        if wait is not None:  # npm asks anew by itself, but not after an answer that was cut off
            print(f"npm did not bring {spec}; again in {wait} s", file=sys.stderr, flush=True)
            time.sleep(wait)
            for archive in archives:
                archive.unlink()
    else:
        said = done.stderr.strip().splitlines()[:4] or [f"exit code {done.returncode}"]
        raise FetchError("\n".join([f"npm could not bring {spec}; is there a network?", *said]))
    with open(archives[0], "rb") as f:
        digest = hashlib.file_digest(f, "sha512").digest()
    return archives[0], "sha512-" + base64.b64encode(digest).decode()


def extract(archive, file, target):
    """Take one file out of the archive; it gets its final name only if its hash is right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        data = tar.extractfile("package/" + file["from"]).read()
    got = hashlib.sha256(data).hexdigest()
    if got != file["sha256"]:
        raise FetchError(f"{file['from']} has sha256 {got}, the lock says {file['sha256']}")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(partial, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def fetch(packages, group, machine):
    """Bring one group up to date; return the number of fetched files."""
    brought = 0
    for package in packages:
        stale = [f for f in wanted(package, machine) if sha256(CACHE / group / f["to"]) != f["sha256"]]
        if not stale:
            continue
        print(f"fetch {package['name']} {package['version']}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            archive, integrity = pack(package, folder)
            if integrity != package["integrity"]:
                raise FetchError(f"{package['name']} has integrity {integrity}, the lock says {package['integrity']}")
            for file in stale:
                extract(archive, file, CACHE / group / file["to"])
        brought += len(stale)
    return brought


def relock(packages):
    """Set the hashes of packages to those of the packages that npm downloads now."""
    for package in packages:
        with tempfile.TemporaryDirectory() as folder:
            archive, package["integrity"] = pack(package, folder)
            with tarfile.open(archive) as tar:
                for file in package["files"]:
                    data = tar.extractfile("package/" + file["from"]).read()
                    file["sha256"] = hashlib.sha256(data).hexdigest()


def main():
    lock = json.loads(LOCK.read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", nargs="+", choices=sorted(lock["groups"]))
    parser.add_argument("--lock", action="store_true", help="write lock.json anew from the versions in it")
    args = parser.parse_args()
    if args.lock:
        for group in args.group:
            relock(lock["groups"][group])
        LOCK.write_text(json.dumps(lock, indent=2) + "\n")
        return
    machine = MACHINES.get(platform.machine(), platform.machine())
    for group in args.group:
        brought = fetch(lock["groups"][group], group, machine)
        print(f"{CACHE / group}: {f'{brought} files brought' if brought else 'up to date'}")


if __name__ == "__main__":
    try:
        main()
    except (FetchError, OSError, KeyError, tarfile.TarError) as err:
        sys.exit(f"fetch.py: {err}")
