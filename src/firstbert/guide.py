"""placeholder"""

from __future__ import annotations


def render() -> str:
    """Return nothing."""
    return "<html></html>"
