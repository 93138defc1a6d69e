"""Items a second of the encoders, beside plain loops over their libraries.

    python -m benchmarks.encoders --images FOLDER

Each encoder and a plain loop (open, prepare, run the model, batch by batch,
in the order given) get the same items, batch size, weights and device, in
one run and in turns; the figures are medians. Without ``--vit``, ``--bert``,
``--sbert``, ``--clip`` (folders or hub names) models of the real size are
made with random weights: they take as long. Texts are made up of 1 to 60
words. Nothing else should run meanwhile.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dsom_pyg.encoders import BERT, CLIP, SBERT, ViT
from experiments import record

SUFFIXES = {'.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp'}
LIBRARIES = (
    'transformers',
    'open_clip_torch',
    'sentence-transformers',
    'pillow',
    'torchvision',
)
# Kinds of models, in their real sizes.
BERT_BASE: dict[str, int] = {}
MINILM = {
    'hidden_size': 384,
    'num_hidden_layers': 6,
    'num_attention_heads': 12,
    'intermediate_size': 1536,
}
Run = Callable[[], Tensor]


def words() -> list[str]:
    """Some thousand words that do not exist."""
    starts = [a + b for a in 'bdfgklmnprst' for b in 'aeiou']
    return [a + b for a in starts for b in starts]


def make_texts(count: int) -> list[str]:
    """Texts of varied length, always the same."""
    rng = random.Random(0)
    known = words()
    return [
        ' '.join(rng.choices(known, k=rng.randint(1, 60)))
        for _ in range(count)
    ]


def make_vit(folder: Path) -> Path:
    """A ViT-B/16 that has learned nothing."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    ViTModel(ViTConfig()).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
    return folder


def make_bert(folder: Path, sizes: dict[str, int]) -> Path:
    """A BERT that has learned nothing, with a vocabulary of its own."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(exist_ok=True)
    special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    (folder / 'vocab.txt').write_text('\n'.join(special + words()))
    BertTokenizer(str(folder / 'vocab.txt')).save_pretrained(folder)
    BertModel(BertConfig(**sizes)).save_pretrained(folder)
    return folder


def make_sbert(folder: Path) -> Path:
    """A sentence encoder of the size of all-MiniLM-L6-v2."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    inner = make_bert(folder.with_name('inner'), MINILM)
    parts = [modules.Transformer(str(inner)), modules.Pooling(384)]
    SentenceTransformer(modules=parts, device='cpu').save(str(folder))
    return folder


def make_clip(file: Path) -> Path:
    """Weights of a ViT-B-32 that has learned nothing."""
    import open_clip

    torch.save(open_clip.create_model('ViT-B-32').state_dict(), file)
    return file


def plain_vit(encoder: ViT, paths: list[Path]) -> Tensor:
    """As the documentation of transformers does it."""
    pictures = [Image.open(path).convert('RGB') for path in paths]
    pixels = encoder.processor(pictures, return_tensors='pt')
    out = encoder.model(**pixels.to(encoder.device))
    first: Tensor = out.last_hidden_state[:, 0]
    return first.cpu()


def plain_bert(encoder: BERT, texts: list[str]) -> Tensor:
    """As the documentation of transformers does it."""
    tokens = encoder.tokenizer(
        texts, padding=True, truncation=True, return_tensors='pt'
    )
    out = encoder.model(**tokens.to(encoder.device))
    first: Tensor = out.last_hidden_state[:, 0]
    return first.cpu()


def plain_clip_image(encoder: CLIP, paths: list[Path]) -> Tensor:
    """As the documentation of open_clip does it."""
    pictures = [Image.open(path).convert('RGB') for path in paths]
    pixels = torch.stack([encoder.preprocess(each) for each in pictures])
    x = encoder.model.encode_image(pixels.to(encoder.device))
    return F.normalize(x, dim=1).cpu()


def plain_clip_text(encoder: CLIP, texts: list[str]) -> Tensor:
    """As the documentation of open_clip does it."""
    tokens = encoder.tokenizer(texts).to(encoder.device)
    return F.normalize(encoder.model.encode_text(tokens), dim=1).cpu()


def plain_sbert(encoder: SBERT, texts: list[str], batch_size: int) -> Tensor:
    """As the documentation of sentence-transformers does it."""
    x: Tensor = encoder.model.encode(
        texts, batch_size=batch_size, convert_to_tensor=True
    )
    return x.cpu()


@torch.no_grad()
def in_batches(
    step: Callable[[list[Any]], Tensor], items: list[Any], batch_size: int
) -> Tensor:
    """A plain loop."""
    starts = range(0, len(items), batch_size)
    return torch.cat([step(items[at : at + batch_size]) for at in starts])


def seconds(run: Run) -> float:
    """Of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(ours: Run, plain: Run, count: int, repeats: int) -> dict[str, Any]:
    """Both in turns, after a call each to warm up and to compare."""
    difference = (ours() - plain()).abs().max().item()
    times: dict[str, list[float]] = {'ours': [], 'plain': []}
    for turn in range(repeats):
        pair = [('ours', ours), ('plain', plain)]
        for name, run in pair if turn % 2 else pair[::-1]:
            times[name].append(seconds(run))
    rate = {k: count / statistics.median(v) for k, v in times.items()}
    return {
        'items': count,
        'items_per_second': rate['ours'],
        'items_per_second_plain': rate['plain'],
        'ratio': rate['ours'] / rate['plain'],
        'seconds': times,
        'largest_difference': difference,
    }


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All encoders, one after the other."""
    found = sorted(Path(args.images).rglob('*'))
    paths = [p for p in found if p.suffix.lower() in SUFFIXES][: args.limit]
    if not paths:
        raise SystemExit(f'no images below {args.images}')
    texts = make_texts(4 * args.limit)
    size = args.batch_size
    where = {'batch_size': size, 'device': args.device}
    torch.manual_seed(0)
    rows: dict[str, Any] = {}

    def row(name: str, encoder: Any, items: list[Any], plain: Run) -> None:
        ours = partial(encoder, items)
        rows[name] = compare(ours, plain, len(items), args.repeats)
        rows[name]['encoder'] = encoder.name
        print(
            f'{name:12s}{rows[name]["items_per_second"]:8.1f} items/s, '
            f'plain {rows[name]["items_per_second_plain"]:8.1f}, '
            f'ratio {rows[name]["ratio"]:.2f}',
            flush=True,
        )

    vit = ViT(args.vit or make_vit(folder / 'vit'), **where)
    step = partial(plain_vit, vit)
    row('ViT', vit, paths, partial(in_batches, step, paths, size))
    del vit, step
    bert = BERT(args.bert or make_bert(folder / 'bert', BERT_BASE), **where)
    turn = partial(plain_bert, bert)
    row('BERT', bert, texts, partial(in_batches, turn, texts, size))
    del bert, turn
    sbert = SBERT(args.sbert or make_sbert(folder / 'sbert'), **where)
    row('SBERT', sbert, texts, partial(plain_sbert, sbert, texts, size))
    weights = None if args.clip else make_clip(folder / 'clip.pt')
    source = args.clip or 'ViT-B-32'
    clip = CLIP(source, weights, **where)
    look = partial(plain_clip_image, clip)
    row('CLIP image', clip, paths, partial(in_batches, look, paths, size))
    clip = CLIP(source, weights, tower='text', **where)
    read = partial(plain_clip_text, clip)
    row('CLIP text', clip, texts, partial(in_batches, read, texts, size))
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--images', required=True)
    parser.add_argument('--limit', type=int, default=16, help='images')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--device', default='cpu')
    for name in ('vit', 'bert', 'sbert', 'clip'):
        parser.add_argument(f'--{name}', help='folder or hub name')
    args = parser.parse_args()
    given = {
        name: Path(value).name if value else 'random weights, real size'
        for name, value in vars(args).items()
        if name in ('vit', 'bert', 'sbert', 'clip')
    }
    settings = {
        'models': given,
        'figures': 'medians of the repeats, ours and plain in turns',
        'precision': 'fp32',
        'libraries': {name: version(name) for name in LIBRARIES},
    }
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args, Path(folder))
    spent = time.perf_counter() - start
    measured = {'rows': rows, 'seconds': spent}
    record.benchmark('encoders', settings, measured, args.device)


if __name__ == '__main__':
    main()
