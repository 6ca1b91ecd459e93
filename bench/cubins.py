"""Clears the CUDA machine code in a library, except for one compute capability, so that the library compresses.

    python3 cubins.py LIBRARY 90

Sizes and offsets do not change: the file still loads on every machine, and its kernels run on the kept card.
"""

import mmap
import struct
import subprocess
import sys

# A fat binary: a header with its size, then for every architecture a header and a payload.
MAGIC, HEADER, ENTRY, CAPABILITY, MACHINE_CODE = 0xBA55ED50, "<IHHQ", "<HHIQ", 28, 2


def main() -> None:
    path, capability = sys.argv[1], int(sys.argv[2])
    table = subprocess.run(["readelf", "-S", "-W", path], capture_output=True, text=True, check=True).stdout
    fields = next(line for line in table.splitlines() if " .nv_fatbin " in line).split("]", 1)[1].split()
    at, end = int(fields[3], 16), int(fields[3], 16) + int(fields[4], 16)
    kept = 0
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        while at < end:
            magic, _, header, size = struct.unpack_from(HEADER, data, at)
            if magic != MAGIC:
                at += 8  # padding
                continue
            entry, at = at + header, at + header + size
            while entry < at:
                kind, _, start, length = struct.unpack_from(ENTRY, data, entry)
                (architecture,) = struct.unpack_from("<I", data, entry + CAPABILITY)
                if kind == MACHINE_CODE and architecture == capability:
                    kept += length
                else:
                    data[entry + start : entry + start + length] = bytes(length)
                entry += start + length
    if not kept:
        sys.exit(f"{path} has no kernels of compute capability {capability}")
    print(f"{path}: kept {kept} bytes of kernels for compute capability {capability}")


if __name__ == "__main__":
    main()
