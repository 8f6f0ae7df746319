"""`make audit`: is any package that firstbert comes with known to be vulnerable?

Resolves what pyproject.toml declares, as pip would install it here, and asks advisory services, by pip-audit. pip-audit
says "no known vulnerabilities" also where a package mirror knows of no advisories at all; so a package with old and
well-known ones is asked about too, and an answer counts only where it names those and leaves no package out.
Ends with 0: asked, nothing found. 1: vulnerable, or not all could be asked about. 3: no service answered.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from release import dist

SERVICES = ("pypi", "osv")
CANARY = ("urllib3", "1.26.4")  # CVE-2021-33503 and others
EXTRAS = ("parquet", "serve", "ray", "notebook")  # all but torch, whose wheels a dry run would download whole
UNANSWERED = 3

Pins = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What a service said of the packages that it was asked about."""

    vulnerable: dict[str, list[str]]  # package → the names of its advisories
    unknown: list[str]

    @property
    def alive(self) -> bool:
        """Does the service know of advisories?"""
        return CANARY[0] in self.vulnerable


def resolved(root: Path) -> Pins:
    """Return every package that would be installed here, with its version."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(need for extra in EXTRAS for need in project["optional-dependencies"][extra])]
    command = [sys.executable, "-m", "pip", "-q", "install", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*command, *(need for need in wanted if not need.startswith("firstbert["))],
                          check=True, stdout=subprocess.PIPE)  # fmt: skip
    found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {package["name"].lower().replace("_", "-"): package["version"] for package in found}


def ask(service: str, pins: Pins, timeout: int = 15) -> Answer | None:
    """Ask a service about packages; None where it can't be reached."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.txt"
        lines = [f"{name}=={version}" for name, version in pins.items()]
        asked.write_text("\n".join(lines) + "\n")
        options = ["-f", "json", "--progress-spinner", "off", "--timeout", str(timeout)]
        command = [sys.executable, "-m", "pip_audit", "-r", str(asked), "--no-deps", "--disable-pip", "-s", service]
        if service == "osv" and "OSV_URL" in os.environ:
            options += ["--osv-url", os.environ["OSV_URL"]]
        done = subprocess.run(command + options, check=False, capture_output=True, text=True)
    try:
        return read(json.loads(done.stdout))
    except json.JSONDecodeError:
        lines = done.stderr.strip().splitlines()
        print(f"{service}: {lines[-1] if lines else 'no answer'}", file=sys.stderr)
        return None


def read(told: dict[str, list[dict[str, object]]]) -> Answer:
    """Read pip-audit's JSON."""
    packages = told["dependencies"]
    found = {str(package["name"]): _names(package["vulns"]) for package in packages if package.get("vulns")}
    return Answer(found, [str(package["name"]) for package in packages if "skip_reason" in package])


def _names(vulnerabilities: object) -> list[str]:
    return [one["id"] for one in vulnerabilities] if isinstance(vulnerabilities, list) else []


def answering() -> str | None:
    """Return the first service that knows what is wrong with the canary."""
    for service in SERVICES:
        answer = ask(service, dict([CANARY]))
        if answer and answer.alive:
            return service
        print(f"{service}: doesn't say what is wrong with {CANARY[0]} {CANARY[1]}: nothing to go by.", file=sys.stderr)
    return None


def audit(root: Path) -> tuple[int, str]:
    """Ask about all that a tree needs; return the exit code, and what to say."""
    service = answering()
    if service is None:
        return UNANSWERED, "audit not possible: no advisory service reachable. Nothing is known of any package."
    pins = resolved(root)
    answer = ask(service, pins)
    return verdict(service, answer, len(pins)) if answer else (1, f"{service} answered once, and then no more.")


def verdict(service: str, answer: Answer, asked: int) -> tuple[int, str]:
    """Put an answer into words."""
    if answer.vulnerable:
        names = [f"{name}: {', '.join(ids)}" for name, ids in sorted(answer.vulnerable.items())]
        return 1, "\n".join(["Vulnerable packages:", *names])
    if answer.unknown:
        return 1, f"{service} knows nothing of {', '.join(answer.unknown)}: these were not audited."
    return 0, f"{service}: no known vulnerabilities in {asked} packages."


def main() -> None:
    """Audit this tree's dependencies."""
    parser = argparse.ArgumentParser(description="Are the packages that firstbert comes with known to be vulnerable?")
    parser.add_argument("--if-possible", action="store_true", help="don't fail where no advisory service is reachable")
    given = parser.parse_args()
    code, words = audit(dist.ROOT)
    print(words)
    raise SystemExit(0 if code == UNANSWERED and given.if_possible else code)


if __name__ == "__main__":
    main()
