"""No test may reach for the network, or wait for it in vain."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# Before transformers is imported.
os.environ['HF_HUB_OFFLINE'] = '1'


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Graphs and models are tiny: a second thread would only wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# How long an example takes says nothing about what it shows.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')
