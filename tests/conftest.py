"""What every test stands on: one thread, a cache of its own, real data where there are any."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Before torch is imported, here and in processes that tests start: one thread is fastest for small
# networks, and figures do not depend on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prepared arrays go to a folder of this test session; settings of the user's do not count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("FITEXP_ALLOW", raising=False)
        patch.delenv("HYDRA_FULL_ERROR", raising=False)
        yield


@pytest.fixture
def real_data() -> Path:
    """The folder of real recordings: FITEXP_REAL_DATA, else ../shared/data beside the clone."""
    folder = Path(os.environ.get("FITEXP_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real recordings in {folder} (set FITEXP_REAL_DATA)")
    return folder
