"""What surrounds every test of a wire."""

from pathlib import Path

import pytest
from tests.wire.certificates import AUTHORITY


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trust the tests' authority alone, and keep proxies of this machine out."""
    authority = tmp_path / "authority.pem"
    authority.write_text(AUTHORITY)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
