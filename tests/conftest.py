import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.deployment import HOSPITALS, Deployment  # noqa: E402
from harness.trainer import Trainer  # noqa: E402


@pytest.fixture
def rounds(tmp_path):
    """A running server in an empty directory; sites are added by the test. Everything ends with the test."""
    deployment = Deployment(tmp_path)
    deployment.start()
    yield deployment
    deployment.close()


@pytest.fixture
def clinic(rounds):
    """The server, its four hospitals, and an operator who is signed in."""
    for name in HOSPITALS:
        rounds.start_site(name)
    rounds.connected(*HOSPITALS)
    rounds.login()
    return rounds


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


@pytest.fixture
def trainer():
    program = Trainer()
    yield program
    program.close()
