"""How a release is made and checked: `make dist`, `dist-check`, `wheel-check`, `sbom`, `audit` (docs/release.md)."""
