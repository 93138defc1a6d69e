"""What is wrong with the benchmarks, or worth knowing.

python -m benchmarks.audit --root datasets --out results/audit

writes ``<name>.json`` and ``<name>.txt`` for each; DB15K in the splits as
distributed. Raw files are downloaded where they are missing; no encoder is
needed and no image is opened.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

from dsom_pyg import datasets
from dsom_pyg.audit import audit
from dsom_pyg.datasets import DB15K, MultimodalDataset


def main() -> None:
    """Audit each and write the reports."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--root', type=Path, default=Path('datasets'))
    parser.add_argument('--out', type=Path, default=Path('results/audit'))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in datasets.BENCHMARKS:
        kind = getattr(datasets, name)
        start = time.perf_counter()
        dataset = load(kind, args.root / name)
        middle = time.perf_counter()
        report = audit(dataset, images=False)
        end = time.perf_counter()
        text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
        path = args.out / f'{report.name}.json'
        path.write_text(f'{text}\n', encoding='utf-8')
        path.with_suffix('.txt').write_text(f'{report}\n', encoding='utf-8')
        print(f'{report}\n')
        seconds = f'{middle - start:.1f} s, audit {end - middle:.1f} s'
        print(f'({report.name}: processing {seconds})\n', flush=True)


def load(kind: type[MultimodalDataset], root: Path) -> MultimodalDataset:
    """A benchmark without encoders, in the splits as distributed."""
    if kind is DB15K:
        with warnings.catch_warnings():
            # That they leak is what the report is about.
            warnings.simplefilter('ignore', UserWarning)
            return DB15K(root, split='distributed')
    return kind(root)


if __name__ == '__main__':
    main()
