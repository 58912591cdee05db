import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.deployment import Deployment  # noqa: E402


@pytest.fixture
def rounds(tmp_path):
    """A running server in an empty directory; sites are added by the test. Everything ends with the test."""
    deployment = Deployment(tmp_path)
    deployment.start()
    yield deployment
    deployment.close()


@pytest.fixture
def another(tmp_path):
    """another("name"): one more deployment, running."""
    made = []

    def make(name):
        made.append(Deployment(tmp_path / name))
        made[-1].home.mkdir()
        made[-1].start()
        return made[-1]
    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def stopped(tmp_path):
    """The same, but the test starts the server."""
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.close()
