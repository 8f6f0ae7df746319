"""`make sbom`: what the wheel comes with, extras for serving and Parquet included, as CycloneDX in dist/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from release import dist
from release.wheel import Place, found_wheel, install, place

EXTRAS = ("parquet", "serve")  # what firstbert itself runs with; the others bring what they bring


def describe(where: Place, version: str, into: Path) -> None:
    """Write an environment's bill of materials; cyclonedx-py holds it against the standard's schema."""
    said = (dist.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = into.with_name("pyproject.toml")  # what cyclonedx-py reads has the version, not where it stands
    project.write_text(said.replace('dynamic = ["version"]', f'version = "{version}"'), encoding="utf-8")
    command: list[str | Path] = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", project,
                                 "--mc-type", "library", "--output-reproducible", "--validate",
                                 "-o", into, where.python]  # fmt: skip
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(dist.epoch(dist.ROOT))})


def main() -> None:
    """Describe two environments, made one after the other, and compare."""
    wheel = found_wheel()
    version = wheel.name.split("-")[1]
    made = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            where = place(Path(folder))
            install(where, wheel, *EXTRAS)
            describe(where, version, Path(folder) / "sbom.json")
            made.append((Path(folder) / "sbom.json").read_bytes())
    if made[0] != made[1]:
        raise SystemExit("Two bills of materials of the same packages differ.")
    into = wheel.parent / f"firstbert-{version}.cdx.json"
    into.write_bytes(made[0])
    told = json.loads(made[0])
    print(f"{dist.sha256(into)}  {into.name}: CycloneDX {told['specVersion']}, {len(told['components'])} components")


if __name__ == "__main__":
    main()
