"""Writes docs/messages.md: the messages of a .proto folder as tables, with their comments.

Reads a compiled file set with source positions, as `buf build schemas -o -#format=json` prints it, from standard input.
"""

from __future__ import annotations

import json
import sys
from typing import Any

MESSAGES, ENUMS, NESTED = 4, 5, 3  # numbers of fields in descriptor.proto, which make the paths of comments
FIELD, VALUE = 2, 2
HEAD = """# Messages

Generated from the comments of `schemas/*.proto` by `make generate`. [The protocol](protocol.md) says how they
travel: subjects, headers, ids, acknowledgement.
"""


def main() -> None:
    files = json.load(sys.stdin)["file"]
    parts = [HEAD]
    for file in sorted((f for f in files if f.get("package", "").startswith("stegomq")), key=lambda f: str(f["name"])):
        comments = {
            tuple(place["path"]): " ".join(place["leadingComments"].split()).replace("<", "&lt;").replace("|", "\\|")
            for place in file["sourceCodeInfo"]["location"]
            if "leadingComments" in place
        }
        for i, message in enumerate(file.get("messageType", [])):
            parts += of_message(message, (MESSAGES, i), comments)
        for i, enum in enumerate(file.get("enumType", [])):
            parts += of_enum(enum, (ENUMS, i), comments)
    sys.stdout.write("\n".join(parts))


def of_message(
    message: dict[str, Any], path: tuple[int, ...], comments: dict[tuple[int, ...], str], outer: str = ""
) -> list[str]:
    nested = {f"{message['name']}.{n['name']}": n for n in message.get("nestedType", [])}
    maps = {name: n for name, n in nested.items() if n.get("options", {}).get("mapEntry")}
    name = outer + message["name"]
    parts = [f"\n## {name}\n", comments.get(path, ""), "\n| number | field | type | meaning |\n|---|---|---|---|"]
    for i, field in enumerate(message.get("field", [])):
        meaning = comments.get((*path, FIELD, i), "")
        parts.append(f"| {field['number']} | `{field['name']}` | {kind(field, maps)} | {meaning} |")
    parts.append("")
    for i, inner in enumerate(message.get("nestedType", [])):
        if f"{message['name']}.{inner['name']}" not in maps:
            parts += of_message(inner, (*path, NESTED, i), comments, f"{name}.")
    return parts


def kind(field: dict[str, Any], maps: dict[str, Any]) -> str:
    name = field.get("typeName", "").removeprefix(".stegomq.v1.") or field["type"].removeprefix("TYPE_").lower()
    if name in maps:
        key, value = maps[name]["field"]
        return f"map of {kind(key, {})} to {kind(value, {})}"
    return f"list of {name}" if field["label"] == "LABEL_REPEATED" else name


def of_enum(enum: dict[str, Any], path: tuple[int, ...], comments: dict[tuple[int, ...], str]) -> list[str]:
    parts = [f"\n## {enum['name']}\n", comments.get(path, ""), "\n| number | value | meaning |\n|---|---|---|"]
    for i, value in enumerate(enum["value"]):
        meaning = comments.get((*path, VALUE, i), "")
        parts.append(f"| {value.get('number', 0)} | `{value['name']}` | {meaning} |")
    return [*parts, ""]


if __name__ == "__main__":
    main()
