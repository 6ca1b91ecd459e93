from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from conftest import Service

# Generated requests for each route. More: STEGOMQ_EXAMPLES=100 make test-client.
EXAMPLES = os.environ.get("STEGOMQ_EXAMPLES", "5")

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


def test_nothing_is_answered_that_the_document_lacks(service: Service, tmp_path: pathlib.Path) -> None:
    """schemathesis makes requests from openapi.json: none causes a fault, and every answer is in the document."""
    schemathesis = pathlib.Path(sys.executable).with_name("schemathesis")
    args = [
        f"--checks={','.join(CHECKS)}",
        f"--max-examples={EXAMPLES}",
        "--phases=fuzzing",
        "--workers=2",
        "--no-color",
    ]
    done = subprocess.run(
        [
            schemathesis,
            "run",
            f"{service.url}/v1/openapi.json",
            "--header",
            f"Authorization: Bearer {service.admin}",
            *args,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
