"""No test may reach for the network, or wait for it in vain."""

import os

import torch
from hypothesis import settings

# Before transformers is imported.
os.environ['HF_HUB_OFFLINE'] = '1'

# Graphs and models are tiny: a second thread would only wait. Set before any
# fixture, as the last bits of sums depend on the number of threads.
torch.set_num_threads(1)

# How long an example takes says nothing about what it shows.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')
