"""Triples, entity kinds and the random split of the ``Countries`` graph."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from countries_sources import (
    EXTRA_REGIONS,
    FAMILIES,
    ORGANISATIONS,
    Sources,
)

Triple = tuple[str, str, str]
SYMMETRIC = 'borders'
SPOKEN_PERCENT = 1.0
MIN_UNIT = 3
WEEKDAYS = {'mon': 'Monday', 'fri': 'Friday', 'sat': 'Saturday'}
WEEKDAYS['sun'] = 'Sunday'
CLOCKS = {'h': '12-hour clock', 'H': '24-hour clock'}
CALENDARS = {
    'buddhist': 'Buddhist calendar',
    'chinese': 'Chinese calendar',
    'coptic': 'Coptic calendar',
    'dangi': 'Dangi calendar',
    'ethiopic': 'Ethiopic calendar',
    'hebrew': 'Hebrew calendar',
    'indian': 'Indian national calendar',
    'islamic': 'Islamic calendar',
    'islamic-umalqura': 'Umm al-Qura calendar',
    'japanese': 'Japanese calendar',
    'persian': 'Persian calendar',
    'roc': 'Minguo calendar',
}
STATUS = {
    'official': 'official_language',
    'de_facto_official': 'official_language',
    'official_regional': 'regional_language',
}


class Graph:
    """Labelled entities with a kind, and triples between them."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.triples: set[Triple] = set()

    def entity(self, label: str, kind: str) -> str:
        """Register an entity; a label belongs to one kind only."""
        if self.kinds.setdefault(label, kind) != kind:
            raise ValueError(f'{label!r}: {self.kinds[label]} and {kind}')
        return label

    def add(self, head: str, relation: str, tail: str) -> None:
        """Add a triple between registered entities."""
        for label in (head, tail):
            if label not in self.kinds:
                raise KeyError(label)
        self.triples.add((head, relation, tail))


def add_regions(graph: Graph, src: Sources) -> None:
    """Countries, UN regions, organisations and land borders."""
    contains = src.cldr['territoryContainment']
    for code in src.countries:
        country = graph.entity(src.country(code), 'country')
        region = src.country(src.subregion[code])
        graph.entity(region, 'region')
        graph.add(country, 'subregion', region)
    for parent in ('002', '009', '019', '142', '150', *EXTRA_REGIONS):
        name = graph.entity(src.country(parent), 'region')
        for child in contains[parent]['_contains']:
            graph.add(
                graph.entity(src.country(child), 'region'), 'part_of', name
            )
    for code in ORGANISATIONS:
        name = graph.entity(src.country(code), 'organisation')
        for member in contains[code]['_contains']:
            graph.add(src.country(member), 'member_of', name)
    known = set(src.countries)
    for code in src.countries:
        for other in src.geo[code]['neighbours'].split(','):
            if other in known:
                pair = src.country(code), src.country(other)
                graph.add(pair[0], SYMMETRIC, pair[1])
                graph.add(pair[1], SYMMETRIC, pair[0])


def add_customs(graph: Graph, src: Sources) -> None:
    """Week start, clock, traditional calendars and calling codes."""
    first = src.cldr['weekData']['firstDay']
    clock = src.cldr['timeData']
    calendars = src.cldr['calendarPreferenceData']
    for code in src.countries:
        name = src.country(code)
        if code in first:
            day = graph.entity(WEEKDAYS[first[code]], 'weekday')
            graph.add(name, 'week_starts_on', day)
        if code in clock:
            label = CLOCKS[clock[code]['_preferred']]
            graph.add(name, 'hour_cycle', graph.entity(label, 'clock'))
        for key in calendars.get(code, ()):
            if key in CALENDARS:
                label = graph.entity(CALENDARS[key], 'calendar')
                graph.add(name, 'calendar', label)
        phone = re.search(r'\d', src.geo[code]['phone'])
        if phone:
            label = f'Calling code zone {phone.group()}'
            graph.entity(label, 'calling_zone')
            graph.add(name, 'calling_code_zone', label)


def add_cities(graph: Graph, src: Sources) -> None:
    """Time zones, cities and the meta zones both follow.

    A capital has no ``located_in`` triple, as ``capital`` would be its
    inverse. Cities are linked to the meta zone only: the IANA zone of a city
    nearly always gives its country away.
    """
    meta_zones = current_meta_zones(src)
    for zone in src.zones:
        graph.entity(zone.name, 'time_zone')
        if zone.country in src.subregion:
            graph.add(src.country(zone.country), 'time_zone', zone.name)
    for city in src.cities:
        country = src.country(city.country)
        graph.entity(city.label, 'city')
        if city.capital:
            graph.add(country, 'capital', city.label)
        else:
            graph.add(city.label, 'located_in', country)
    places = [(zone.name, zone.name) for zone in src.zones]
    places += [(city.label, city.zone) for city in src.cities]
    for place, zone in places:
        label = src.meta_zone(meta_zones.get(zone, ''))
        if label:
            graph.entity(label, 'meta_zone')
            graph.add(place, 'meta_zone', label)


def current_meta_zones(src: Sources) -> dict[str, str]:
    """The meta zone that every IANA zone follows today."""
    result = {}
    root = src.cldr['metaZones']['metazoneInfo']['timezone']
    stack = [((), root)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack += [((*path, key), value) for key, value in node.items()]
            continue
        for entry in node:
            use = entry['usesMetazone']
            if '_to' not in use:
                name = '/'.join(path)
                result[src.zone_links.get(name, name)] = use['_mzone']
                result.setdefault(name, use['_mzone'])
    return dict(sorted(result.items()))


def add_currencies(graph: Graph, src: Sources) -> None:
    """Present and former currencies, and their denominations."""
    used: set[str] = set()
    for code in src.countries:
        entries = src.cldr['currencyData']['region'].get(code, [])
        found: dict[str, set[str]] = {'now': set(), 'old': set()}
        for entry in entries:
            for currency, info in entry.items():
                label = src.currency(currency)
                if label and info.get('_tender') != 'false':
                    found['old' if '_to' in info else 'now'].add(label)
        used |= found['now'] | found['old']
        for label in found['now'] | found['old']:
            now = label in found['now']
            graph.entity(label, 'currency')
            graph.add(
                src.country(code),
                'currency' if now else 'former_currency',
                label,
            )
    units = {c: c.split(' (')[0].split()[-1] for c in used}
    counts = Counter(units.values())
    for label, unit in units.items():
        if counts[unit] >= MIN_UNIT:
            name = graph.entity(f'{unit} (unit)', 'denomination')
            graph.add(label, 'denomination', name)


def spoken(src: Sources, code: str) -> dict[str, str]:
    """Relation of a country to each language code spoken there."""
    rank = ['spoken_language', 'regional_language', 'official_language']
    percent: dict[str, float] = defaultdict(float)
    level: dict[str, int] = defaultdict(int)
    info = src.cldr['territoryInfo'].get(code, {})
    for tag, entry in info.get('languagePopulation', {}).items():
        language = tag.split('_')[0]
        percent[language] += float(entry['_populationPercent'])
        status = STATUS.get(entry.get('_officialStatus', ''), rank[0])
        level[language] = max(level[language], rank.index(status))
    return {
        language: rank[level[language]]
        for language in percent
        if level[language] or percent[language] >= SPOKEN_PERCENT
    }


def add_languages(graph: Graph, src: Sources) -> dict[str, str]:
    """Languages, families and scripts; returns label to code."""
    codes: dict[str, str] = {}
    for country in src.countries:
        for code, relation in spoken(src, country).items():
            label = src.language(code)
            if label:
                codes[graph.entity(label, 'language')] = code
                graph.add(src.country(country), relation, label)
    parents = defaultdict(list)
    for group, members in src.cldr['languageGroups'].items():
        if group in FAMILIES:
            for member in members.split():
                parents[member].append(f'{FAMILIES[group]} languages')
    for label, code in codes.items():
        for family in parents[code]:
            graph.entity(family, 'language_family')
            graph.add(label, 'language_family', family)
        entry = src.cldr['languageData'].get(code, {})
        for script in entry.get('_scripts', ()):
            name = src.script(script)
            if name:
                graph.entity(name, 'script')
                graph.add(label, 'script', name)
    add_families(graph, parents)
    return codes


def add_families(graph: Graph, parents: dict[str, list[str]]) -> None:
    """Link the families of the graph up to their largest ancestors."""
    by_label = {f'{name} languages': c for c, name in FAMILIES.items()}
    pending = [label for label in by_label if label in graph.kinds]
    while pending:
        child = pending.pop()
        for parent in parents[by_label[child]]:
            if parent not in graph.kinds:
                graph.entity(parent, 'language_family')
                pending.append(parent)
            graph.add(child, 'subfamily_of', parent)


def add_scripts(graph: Graph, src: Sources) -> dict[str, str]:
    """Origin and direction of scripts; returns label to code."""
    codes = {}
    for code, entry in sorted(src.scripts.items()):
        label = src.script(code)
        origin = entry['originCountry']
        if label is None or origin not in src.subregion:
            continue
        codes[graph.entity(label, 'script')] = code
        graph.add(label, 'originated_in', src.country(origin))
        if entry['rtl'] in ('YES', 'NO'):
            way = 'Right to left' if entry['rtl'] == 'YES' else 'Left to right'
            graph.entity(way, 'writing_direction')
            graph.add(label, 'writing_direction', way)
    return codes


def units_of(triples: Iterable[Triple]) -> list[list[Triple]]:
    """Groups that must share a split: symmetric pairs, else single."""
    units: dict[Triple, list[Triple]] = {}
    for head, relation, tail in sorted(triples):
        key = (head, relation, tail)
        if relation == SYMMETRIC:
            key = (min(head, tail), relation, max(head, tail))
        units.setdefault(key, []).append((head, relation, tail))
    return list(units.values())


def split(
    triples: Iterable[Triple], seed: int, share: float
) -> dict[str, list[Triple]]:
    """Random split whose val and test use only labels of train.

    Args:
        triples: All triples of the graph.
        seed: Seed of the shuffle.
        share: Part of the triples that val and test get each.

    Returns:
        Sorted triples under ``train``, ``val`` and ``test``.
    """
    units = units_of(triples)
    random.Random(seed).shuffle(units)
    left: Counter[str] = Counter(
        label for unit in units for triple in unit for label in triple
    )
    limit = round(share * sum(map(len, units)))
    parts: dict[str, list[Triple]] = {'train': [], 'val': [], 'test': []}
    for unit in units:
        need = Counter(label for triple in unit for label in triple)
        name = min(('val', 'test'), key=lambda n: len(parts[n]))
        full = len(parts[name]) + len(unit) > limit
        if full or any(left[k] <= n for k, n in need.items()):
            name = 'train'
        else:
            left -= need
        parts[name] += unit
    return {name: sorted(part) for name, part in parts.items()}
