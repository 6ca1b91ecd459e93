"""Writes what Pillow decodes from photographs, for TestPillow: `references.py OUT FOLDER...`; `make pixels` runs both.

Of each photograph there is the file itself, and JPEG 4:2:0, JPEG 4:2:2 and WebP made of it; beside each file FILE lies
FILE.ppm with the pixels, upright. Of a folder with more than 128 photographs, about 128 are taken at equal distances.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image, ImageOps

MADE = {
    "420": (".jpg", {"quality": 90, "subsampling": "4:2:0"}),
    "422": (".jpg", {"quality": 90, "subsampling": "4:2:2"}),
    "webp": (".webp", {"quality": 85}),
}


def refer(file):
    ImageOps.exif_transpose(Image.open(file)).convert("RGB").save(f"{file}.ppm")


def main(out, *folders):
    for folder in map(Path, folders):
        found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".webp"))
        for number, file in enumerate(found[:: max(1, len(found) // 128)]):
            for kind in ("files", *MADE):
                (out / f"{folder.name}-{kind}").mkdir(parents=True, exist_ok=True)
            copy = out / f"{folder.name}-files" / f"{number:04}{file.suffix.lower()}"
            shutil.copyfile(file, copy)
            refer(copy)
            for kind, (suffix, options) in MADE.items():
                made = out / f"{folder.name}-{kind}" / f"{number:04}{suffix}"
                Image.open(file).convert("RGB").save(made, **options)
                refer(made)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
