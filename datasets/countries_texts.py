"""Texts of the ``Countries`` graph, made of facts that are no triples.

Coordinates, sizes, codes and native names are written as word-like tokens
which near or related entities share. A text never holds the name of an
entity that shares a triple with its own entity.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo, reset_tzpath

from babel import Locale
from countries_graph import Graph, spoken
from countries_sources import Sources, fold

GENERIC = re.compile(r' \(.*\)$| (language|languages|script|calendar)$')
BELTS = (
    (10, 'equatorial'),
    (23.5, 'tropical'),
    (35, 'subtropical'),
    (55, 'temperate'),
    (66.5, 'subarctic'),
    (91, 'polar'),
)
MAX_NAMES = 6
YEAR = 2026


class Leaks:
    """Names an entity's text must not hold: those of its neighbours."""

    def __init__(
        self, src: Sources, graph: Graph, languages: dict[str, str]
    ) -> None:
        other = foreign_names(src, languages)
        self.names: dict[str, set[str]] = defaultdict(set)
        self.other: dict[str, set[str]] = defaultdict(set)
        for head, _, tail in graph.triples:
            for label, near in ((head, tail), (tail, head)):
                self.names[label].add(core(near))
                self.other[label] |= other.get(near, set())

    def clean(self, label: str, words: Iterable[str]) -> list[str]:
        """Drop the words that hold a neighbour's name in any language."""
        banned = set(self.names[label])
        for name in self.names[label]:
            banned |= {w for w in re.findall(r'\w+', name) if len(w) > 3}
        return [
            word
            for word in words
            if not any(b in fold(word) for b in banned)
            and self.other[label].isdisjoint(phrases(word))
        ]

    def scrub(self, label: str, text: str) -> str:
        """Take out whole words that spell a neighbour's name."""
        for name in sorted(self.names[label]):
            if re.search(rf'\b{re.escape(name)}\b', fold(text)):
                drop = set(name.split())
                words = text.split()
                text = ' '.join(
                    w for w in words if fold(w).strip(',;') not in drop
                )
        return text


def phrases(text: str) -> set[str]:
    """All runs of whole words of a text, folded."""
    words = fold(text).split()
    spans = range(len(words) + 1)
    return {' '.join(words[i:j]) for i in spans for j in spans if i < j}


def foreign_names(
    src: Sources, languages: dict[str, str]
) -> dict[str, set[str]]:
    """Names of countries, cities and languages in other languages."""
    result: dict[str, set[str]] = defaultdict(set)
    for locale in src.locales.values():
        for code in src.countries:
            if code in locale.territories:
                name = fold(locale.territories[code])
                result[src.country(code)].add(name)
    for city in src.cities:
        result[city.label] |= {fold(n) for n in city.alternates}
    for label, code in languages.items():
        if code in src.locales:
            name = src.locales[code].languages.get(code, '')
            result[label].add(fold(name))
    return result


def blocks(text: str) -> list[str]:
    """Tokens for the code blocks of the letters of a text."""
    return sorted({f'block{ord(c) >> 8:03x}' for c in text if c.isalpha()})


def core(label: str) -> str:
    """A label without qualifiers: ``Paris (France)`` gives ``paris``."""
    return fold(GENERIC.sub('', label).split('/')[-1].replace('_', ' '))


def cell(prefix: str, lat: float, lon: float, size: int, move: int = 0) -> str:
    """Token of the grid cell around a position, ``grid5n45e000``."""
    row = math.floor((lat - move) / size) * size + move
    col = math.floor((lon - move) / size) * size + move
    north, east = 's' if row < 0 else 'n', 'w' if col < 0 else 'e'
    return f'{prefix}{size}{north}{abs(row):02d}{east}{abs(col):03d}'


def position(lat: float, lon: float) -> str:
    """Words for a position, from the hemisphere to a 2-degree cell."""
    belt = next(name for limit, name in BELTS if abs(lat) < limit)
    side = 'northern' if lat >= 0 else 'southern'
    row, col = cell('', lat, 0, 10)[2:5], cell('', 0, lon, 15)[5:]
    tokens = [
        f'lat{row} lon{col}',
        cell('grid', lat, lon, 20),
        cell('grid', lat, lon, 10),
        cell('shift', lat, lon, 10, 5),
        cell('grid', lat, lon, 5),
        cell('grid', lat, lon, 2),
    ]
    return f'{side} hemisphere {belt} ' + ' '.join(tokens)


def magnitude(word: str, value: float) -> str:
    """Token for the size of a number, two steps per power of ten."""
    return f'{word}{round(2 * math.log10(value))}' if value > 0 else ''


def affixes(name: str) -> str:
    """Tokens for the first and last letters of a name."""
    word = re.sub(r'[^a-z]', '', fold(name))
    if len(word) < 4:
        return ''
    return f'starts{word[:2]} ends{word[-2:]} ends{word[-3:]}'


def city_texts(src: Sources, leaks: Leaks) -> Iterator[tuple[str, str]]:
    """Position and population; then the names of a city."""
    for city in src.cities:
        size = magnitude('inhabitants', city.population)
        where = position(city.lat, city.lon)
        yield city.label, f'settlement {where} {size}'.strip()
        names = [
            n for n in city.alternates if re.fullmatch(r"[^\W\d_][\w' -]+", n)
        ]
        latin = [n for n in names if fold(n).isascii() and not n.isupper()]
        other = [n for n in names if not fold(n).isascii()]
        picked = leaks.clean(city.label, latin)[:MAX_NAMES]
        picked += leaks.clean(city.label, other)[:2]
        if picked:
            ends = affixes(city.name)
            text = ', '.join(dict.fromkeys(picked))
            yield city.label, f'also written {text}; {ends}'.strip('; ')


def country_texts(src: Sources, leaks: Leaks) -> Iterator[tuple[str, str]]:
    """Position and size; codes and statistics; native names."""
    for code in src.countries:
        label, geo = src.country(code), src.geo[code]
        info = src.cldr['territoryInfo'].get(code, {})
        people = float(info.get('_population', 0))
        area = float(geo['areakm2'] or 0)
        sizes = [magnitude('area', area)]
        if people and area:
            sizes.append(magnitude('density', people / area))
        if code in src.centroids:
            sizes.insert(0, position(*src.centroids[code]))
        yield label, ' '.join(['territory', *filter(None, sizes)])
        facts = [f'{code.lower()} {geo["iso3"].lower()}']
        facts.append(f'tld{geo["tld"].strip(".")}' if geo['tld'] else '')
        facts.append(magnitude('population', people))
        if people and '_gdp' in info:
            output = float(info['_gdp']) / people
            facts.append(magnitude('income', output))
        if '_literacyPercent' in info:
            percent = float(info['_literacyPercent'])
            facts.append(f'literacy{int(percent // 5) * 5}')
        pattern = geo['postalcoderegex']
        facts.append('' if pattern else 'nopostcode')
        digits = re.fullmatch(r'\^\(?\\d\{(\d)\}\)?\$', pattern or '')
        facts.append(f'postcode{digits.group(1)}' if digits else '')
        yield label, ' '.join(filter(None, facts))
        names = []
        for language, relation in spoken(src, code).items():
            locale = src.locales.get(language)
            if locale and relation != 'spoken_language':
                names.append(locale.territories.get(code, ''))
        names = leaks.clean(label, sorted(set(filter(None, names))))
        if names:
            words = ', '.join(names)
            yield label, ' '.join(['called', words, *blocks(words)])


def calendar_words(locale: Locale) -> list[str]:
    """Month and day names of a language, with their first letters."""
    words = []
    for table in (locale.months, locale.days):
        words += table['format']['wide'].values()
    if any(re.search(r'\d', word) for word in words):
        return []
    words = [word.casefold() for word in words]
    starts = [f'w{fold(w)[:3]}' for w in words if fold(w)[:3].isalpha()]
    return list(dict.fromkeys(words + starts))


def speakers(src: Sources) -> Counter[str]:
    """Number of speakers of every language code."""
    result: Counter[str] = Counter()
    for info in src.cldr['territoryInfo'].values():
        people = float(info.get('_population', 0))
        for tag, entry in info.get('languagePopulation', {}).items():
            share = float(entry['_populationPercent']) / 100
            result[tag.split('_')[0]] += int(people * share)
    return result


def language_texts(
    src: Sources, codes: dict[str, str], leaks: Leaks
) -> Iterator[tuple[str, str]]:
    """Own name, size and grammar; then words of a language."""
    counts = speakers(src)
    plurals = src.cldr['plurals']
    for label, code in codes.items():
        locale = src.locales.get(code)
        if locale is None:
            continue
        name = locale.languages.get(code, '')
        facts = leaks.clean(label, [name])
        facts += blocks(name)
        facts += [code, magnitude('speakers', counts[code])]
        if code in plurals:
            kinds = [k.rsplit('-', 1)[-1] for k in plurals[code]]
            facts.append('plurals ' + ' '.join(kinds))
        decimal = locale.number_symbols.get('latn', {}).get('decimal')
        mark = {',': 'decimalcomma', '.': 'decimalpoint'}.get(decimal, '')
        yield label, ' '.join(filter(None, [*facts, mark]))
        words = leaks.clean(label, calendar_words(locale))
        if words:
            yield label, ' '.join(words)


def symbols(src: Sources) -> dict[str, str]:
    """The symbol most locales use for a currency code."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for locale in src.locales.values():
        for code, symbol in locale.currency_symbols.items():
            found[code][re.sub(r'^[A-Z]{2}(?=\W)', '', symbol)] += 1
    result = {}
    for code, counts in found.items():
        counts.pop(code, None)
        if counts:
            result[code] = max(counts, key=lambda s: (counts[s], s))
    return result


def currency_texts(src: Sources, graph: Graph) -> Iterator[tuple[str, str]]:
    """Code letters, symbol, decimals and decades of a currency."""
    marks = symbols(src)
    fractions = src.cldr['currencyData']['fractions']
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for entries in src.cldr['currencyData']['region'].values():
        for entry in entries:
            for code, info in entry.items():
                start = info.get('_from', '')
                first[code] = min(first.get(code, start), start)
                last[code] = max(last.get(code, ''), info.get('_to', '9'))
    for code, label in sorted(src.english.currencies.items()):
        if graph.kinds.get(label) != 'currency':
            continue
        low = code.lower()
        facts = [low, f'first{low[0]} last{low[-1]}']
        if code in marks:
            points = ' '.join(f'u{ord(c):04x}' for c in marks[code].strip())
            facts.append(f'symbol {points}')
        digits = fractions.get(code, fractions['DEFAULT'])['_digits']
        facts.append(f'decimals{digits}')
        facts.append(f'since{first[code][:3]}x' if first.get(code) else '')
        old = last.get(code, '9') != '9'
        facts.append(f'until{last[code][:3]}x' if old else '')
        yield label, ' '.join(filter(None, facts))


def zone_texts(src: Sources) -> Iterator[tuple[str, str]]:
    """Offset, summer time and reference position of a time zone."""
    reset_tzpath(to=())
    for zone in src.zones:
        info = ZoneInfo(zone.name)
        offsets = set()
        for month in (1, 7):
            moment = datetime.datetime(YEAR, month, 15, tzinfo=info)
            offsets.add(int(moment.utcoffset().total_seconds()) // 60)
        low = min(offsets)
        sign = 'minus' if low < 0 else 'plus'
        offset = f'utc{sign}{abs(low) // 60:02d}{abs(low) % 60:02d}'
        summer = 'summertime' if len(offsets) > 1 else 'fixedtime'
        yield zone.name, f'{offset} {summer} {position(zone.lat, zone.lon)}'


def script_texts(
    src: Sources, codes: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Use, shaping and code block of a script."""
    flags = {
        'hasCase': 'upper and lower case',
        'shapingReq': 'needs shaping',
        'ime': 'needs an input method',
        'lbLetters': 'breaks lines between letters',
    }
    for label, code in codes.items():
        entry = src.scripts[code]
        facts = [code.lower(), entry['idUsage'].lower().replace('_', ' ')]
        facts += [text for k, text in flags.items() if entry[k] == 'YES']
        sample = entry['sampleChar']
        if sample:
            point = ord(sample[0])
            facts.append(f'block{point >> 8:03x} plane{point >> 16}')
        facts.append(f'density{entry["density"]}')
        yield label, ' '.join(facts)


def make_texts(
    src: Sources,
    graph: Graph,
    languages: dict[str, str],
    scripts: dict[str, str],
) -> list[tuple[str, str]]:
    """All texts in the order of their entities.

    Args:
        src: The raw data.
        graph: The finished graph, whose neighbours texts must not name.
        languages: Label to code of the languages of the graph.
        scripts: Label to code of the scripts of the graph.

    Returns:
        Pairs of a label and a text, several per label where several exist.
    """
    leaks = Leaks(src, graph, languages)
    groups = [
        country_texts(src, leaks),
        city_texts(src, leaks),
        language_texts(src, languages, leaks),
        currency_texts(src, graph),
        zone_texts(src),
        script_texts(src, scripts),
    ]
    rows = (row for group in groups for row in group)
    clean = ((label, leaks.scrub(label, text)) for label, text in rows)
    return [row for row in clean if row[1]]
