"""The commands of the Dockerfile, in a root of its own: no image can be pulled where the tests run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_nano import GOLDEN, PROMPTS
from tests.support.installing import DIST, REPOSITORY, run

pytestmark = pytest.mark.long

DOCKERFILE = REPOSITORY / "docs" / "Dockerfile"


def test_its_commands_install_cgcli(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("needs debootstrap, and root to run it")
    steps = re.findall(r"^(FROM|RUN|COPY|ENV|ENTRYPOINT) (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    (image,) = [words for step, words in steps if step == "FROM"]
    release, _, variant = image.removeprefix("debian:").partition("-")
    assert variant == "slim"
    root, here = tmp_path / "root", dict(os.environ)
    run("debootstrap", "--variant=minbase", release, root, "http://deb.debian.org/debian", variables=here)
    inside = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin", "LANG": "C.UTF-8"}
    # The container's network, as this machine has it.
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    inside |= {name: here[name] for name in ("PIP_INDEX_URL", "PIP_PROXY") if name in here}
    if "PIP_CERT" in here:
        shutil.copy(here["PIP_CERT"], root / "certificates.pem")
        inside["PIP_CERT"] = "/certificates.pem"
    for step, words in steps:
        if step == "RUN":
            run("chroot", root, "sh", "-c", words, variables=inside)
        elif step == "COPY":
            assert words == "dist /dist"
            shutil.copytree(DIST, root / "dist")
        elif step == "ENV":
            name, _, value = words.partition("=")
            inside[name] = value
    written = subprocess.run(
        ["chroot", root, "cgcli", "gen", "-m", "codegen-nano", "-t", "0", "--exact", *PROMPTS],
        env=inside,
        capture_output=True,
        check=False,
    )
    assert written.stdout == GOLDEN.read_bytes(), written.stderr.decode()
    assert not (root / "usr" / "bin" / "cc").exists()
