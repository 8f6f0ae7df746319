"""All systems by name: one class each, all behind one interface (systems.py).

A class imports its library only when it is opened, since each runs in the environment that has it.
"""

from __future__ import annotations

from benchmarks.libraries import (
    FastEmbed,
    Pipeline,
    SentenceTransformers,
    SentenceTransformersOnnx,
    SentenceTransformersOpenVINO,
    Tutorial,
)
from benchmarks.runtimes import CTranslate2, Firstbert, OpenVINO
from benchmarks.systems import System

SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        Firstbert, CTranslate2, OpenVINO, SentenceTransformers, SentenceTransformersOnnx,
        SentenceTransformersOpenVINO, Pipeline, FastEmbed, Tutorial,
    )
}  # fmt: skip
