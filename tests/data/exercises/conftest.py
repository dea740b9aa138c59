from __future__ import annotations

import os
from pathlib import Path

import pytest

from fitexp.data.exercises.fetch import fetch_movielens100k


@pytest.fixture(scope="session")
def movielens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MovieLens-100K, from the zip or RecBole wheel that FITEXP_MOVIELENS names."""
    source = os.environ.get("FITEXP_MOVIELENS")
    if not source:
        pytest.skip("no MovieLens-100K (set FITEXP_MOVIELENS to ml-100k.zip or a RecBole wheel)")
    return fetch_movielens100k(source, tmp_path_factory.mktemp("fetched") / "movielens100k")
