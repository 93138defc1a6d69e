import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dsom_pyg.datasets.features import images as image_files
from dsom_pyg.datasets.features.images import (
    ImageFile,
    find_images,
    list_images,
)
from dsom_pyg.datasets.names import spellings

MID = '/m/02mjmr'


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'pixels')


def found(
    root: Path, *aliases: list[str]
) -> tuple[list[list[str]], dict[str, int]]:
    images, findings = find_images(root, aliases)
    names = [[str(path.relative_to(root)) for path in each] for each in images]
    return names, findings.counts


@pytest.mark.parametrize(
    'folder',
    ['m.02mjmr', 'm_02mjmr', 'm%2F02mjmr', '%2Fm%2F02mjmr', 'm/02mjmr'],
)
def test_a_freebase_id(tmp_path: Path, folder: str) -> None:
    put(tmp_path, f'{folder}/b.jpg', f'{folder}/a.png', f'{folder}.JPG')
    images, counts = found(tmp_path, ['x'], [MID, 'Barack Obama'])
    assert images == [
        [],
        sorted([f'{folder}/b.jpg', f'{folder}/a.png', f'{folder}.JPG']),
    ]
    assert counts == {}


def test_the_dot_of_a_folder_starts_no_suffix(tmp_path: Path) -> None:
    put(tmp_path, 'St. John/1.png', 'v1.2/a.png', 'v1.2.webp', 'a.png/b.gif')
    images, counts = found(tmp_path, ['St. John'], ['v1.2'], ['a.png'], ['v1'])
    assert images == [
        ['St. John/1.png'],
        ['v1.2.webp', 'v1.2/a.png'],
        ['a.png/b.gif'],
        [],
    ]
    assert counts == {}


@pytest.mark.parametrize('form', ['NFC', 'NFD'])
def test_spaces_and_unicode_forms(tmp_path: Path, form: str) -> None:
    file = unicodedata.normalize(form, 'Côte_d’Ivoire.bmp')
    put(tmp_path, file)
    for alias in ('NFC', 'NFD'):
        name = unicodedata.normalize(alias, 'Côte d’Ivoire')
        assert found(tmp_path, [name]) == ([[file]], {})


def test_every_suffix_and_no_other(tmp_path: Path) -> None:
    good = [f'a/{n}{x}' for n, x in enumerate(image_files.SUFFIXES)]
    good += [name.upper().replace('A/', 'a/') for name in good]
    put(tmp_path, *good, 'a/notes.txt', 'a/flag.svg', 'a/none')
    images, counts = found(tmp_path, ['a'])
    assert images == [sorted(good)]
    assert counts == {'not an image': 3}


def test_junk_is_passed_over_in_silence(tmp_path: Path) -> None:
    put(
        tmp_path,
        *('.DS_Store', 'a/.hidden.png', 'a/Thumbs.db', '.git/a.png'),
        *('__MACOSX/a/1.png', 'a/1.png', 'desktop.ini'),
    )
    assert found(tmp_path, ['a']) == ([['a/1.png']], {})


def test_what_belongs_to_nobody_is_counted(tmp_path: Path) -> None:
    put(tmp_path, 'a.png', 'b.png', 'c/1.png', 'c/2.png', 'a/deep/1.png')
    images, findings = find_images(tmp_path, [['a']])
    assert images == [[tmp_path / 'a.png']]
    assert findings.counts == {'image of no entity': 4}
    files = [each.file for each in findings]
    assert files[0] == str(tmp_path / 'a' / 'deep' / '1.png')


def test_two_aliases_do_not_double_a_file(tmp_path: Path) -> None:
    put(tmp_path, 'Q20/1.png', 'Norway/1.png', 'Norway.png')
    images, counts = found(tmp_path, ['Q20', 'Norway', 'Norway'])
    assert images == [['Norway.png', 'Norway/1.png', 'Q20/1.png']]
    assert counts == {}


def test_exact_goes_before_respelled(tmp_path: Path) -> None:
    put(tmp_path, 'a_b.png', 'a_b/1.png')
    images, counts = found(tmp_path, ['a b'], ['x', 'a_b'])
    assert images == [[], ['a_b.png', 'a_b/1.png']]
    assert counts == {}


@pytest.mark.parametrize('pair', [(['a b'], ['a/b']), (['q', 'z'], ['q'])])
def test_what_fits_two_goes_to_the_first(
    tmp_path: Path, pair: tuple[list[str], list[str]]
) -> None:
    put(tmp_path, 'a_b/1.png', 'q.png')
    images, counts = found(tmp_path, *pair)
    assert len(images[0]) == 1
    assert images[1] == []
    assert counts == {'image of several entities': 1, 'image of no entity': 1}


def test_the_surer_alias_wins(tmp_path: Path) -> None:
    put(tmp_path, 'q.png')
    images, counts = found(tmp_path, ['z', 'q'], ['q', 'z'])
    assert images == [[], ['q.png']]
    assert counts == {'image of several entities': 1}


def test_the_name_of_a_file_goes_before_its_folder(tmp_path: Path) -> None:
    put(tmp_path, 'AC/DC.png')
    images, counts = found(tmp_path, ['AC'], ['AC/DC'])
    assert images == [[], ['AC/DC.png']]
    assert counts == {'image of several entities': 1}


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / 'images'
    put(tmp_path, 'secret.png', 'more/1.png')
    put(root, 'a/1.png')
    (root / 'a' / '2.png').symlink_to(tmp_path / 'secret.png')
    (root / 'a' / '3.png').symlink_to('1.png')
    (root / 'b').symlink_to(tmp_path / 'more')
    (root / 'a' / 'up').symlink_to(root)
    (root / 'loop.png').symlink_to(root / 'loop.png')
    images, findings = find_images(root, [['a'], ['b']])
    assert images == [[root / 'a' / '1.png'], []]
    assert findings.counts == {'link not followed': 5}
    assert str(root / 'b') in {each.file for each in findings}


def test_a_folder_that_is_a_link_is_followed_and_told(tmp_path: Path) -> None:
    put(tmp_path, 'elsewhere/a/1.png')
    first, link = tmp_path / 'first', tmp_path / 'images'
    first.symlink_to('elsewhere')
    link.symlink_to(first)
    images, findings = find_images(link, [['a']])
    assert images == [[link / 'a' / '1.png']]
    (told,) = findings
    assert told.kind == 'images elsewhere'
    assert told.file == str(link)
    # The end of the chain.
    assert str(tmp_path / 'elsewhere') in told.message
    # It is no link itself, though it is reached through one.
    assert found(first / 'a', ['1']) == ([['1.png']], {})


def test_what_stands_in_the_place_of_the_folder_is_told(
    tmp_path: Path,
) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'gone')
    os.mkfifo(tmp_path / 'pipe')
    assert found(tmp_path / 'file', ['a'])[1] == {'no folder of images': 1}
    assert found(tmp_path / 'pipe', ['a'])[1] == {'no folder of images': 1}
    assert found(tmp_path / 'link', ['a'])[1] == {
        'images elsewhere': 1,
        'no folder of images': 1,
    }


def test_a_folder_that_cannot_be_read_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 'a/1.png')
    scan = os.scandir

    def refuses(path: str) -> object:
        if str(path).endswith('/a'):
            raise PermissionError(path)
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refuses)
    with pytest.raises(PermissionError):
        list_images(tmp_path)


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'a.png')
    assert found(tmp_path, ['a']) == ([[]], {'not an image': 1})


def test_no_folder_no_images(tmp_path: Path) -> None:
    assert found(tmp_path / 'none', ['a'], ['b']) == ([[], []], {})
    assert list_images(tmp_path / 'none') == []


def test_the_listing_tells_changes(tmp_path: Path) -> None:
    put(tmp_path, 'b/1.png', 'a.png')
    first = list_images(tmp_path)
    assert [each.name for each in first] == ['a.png', 'b/1.png']
    assert [each.size for each in first] == [6, 6]
    os.utime(tmp_path / 'a.png', ns=(5, 5))
    assert list_images(tmp_path)[0] == ImageFile('a.png', 6, 5)
    assert list_images(tmp_path)[1] == first[1]


WORDS = st.text('ab/_. ', min_size=1, max_size=4)
# As a walk names files: no empty and no hidden segments.
SEGMENTS = st.text('ab_. ', min_size=1, max_size=3).filter(
    lambda text: not text.startswith('.')
)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=2).map('/'.join)


@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=2), max_size=5),
    st.sets(NAMES, max_size=8),
)
def test_every_file_has_one_owner_or_is_reported(
    aliases: list[list[str]], words: set[str]
) -> None:
    names = sorted(f'{word}.png' for word in words)
    listing = [ImageFile(name, 1, 1) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_files, 'list_images', lambda *_: listing)
        images, findings = find_images(Path('r'), aliases)
    owners = {
        str(path)[2:]: index
        for index, paths in enumerate(images)
        for path in paths
    }
    lost = findings.counts.get('image of no entity', 0)
    assert sum(map(len, images)) == len(owners) == len(names) - lost
    for name in names:
        # Brute force over all spellings of all aliases: exact ones first,
        # then the file before its folder, then the alias, then the entity.
        fits = [
            (respelled, order, place, index)
            for index, called in enumerate(aliases)
            for place, alias in enumerate(called)
            for at, word in enumerate(spellings(alias))
            for order, wanted in enumerate((name[:-4], os.path.dirname(name)))
            if wanted == word and wanted
            for respelled in [at > 0]
        ]
        assert owners.get(name) == (min(fits)[-1] if fits else None)


@pytest.mark.parametrize(
    ('alias', 'name'),
    [
        ('Paris (Texas)', 'Paris%20(Texas).jpg'),
        ('AC/DC', 'AC%2fDC.jpg'),
        ('AC/DC', 'AC_DC.jpg'),
        ('C++', 'C%2B%2B.jpg'),
        ('C++', 'C++.jpg'),
        ('50% Grey', '50%25%20Grey.jpg'),
        ('50% Grey', '50% Grey.jpg'),
        ('Rock & Roll', 'Rock+%26+Roll.jpg'),
        ('Café Nord', 'Caf%C3%A9_Nord.jpeg'),
        ('What?', 'What%3F.jfif'),
        ('What? Why?', 'What__Why_.tif'),
        ('a:b', 'a_b.avif'),
        ("L'Aquila", 'L%27Aquila.PNG'),
    ],
)
def test_escapes_and_signs_that_are_forbidden(
    tmp_path: Path, alias: str, name: str
) -> None:
    put(tmp_path, name)
    assert found(tmp_path, ['x'], [alias]) == ([[], [name]], {})


def test_a_name_goes_before_what_escapes_stand_for(tmp_path: Path) -> None:
    put(tmp_path, 'a%20b.jpg', 'C++.jpg')
    images, counts = found(tmp_path, ['a b'], ['a%20b'], ['C  '], ['C++'])
    assert images == [[], ['a%20b.jpg'], [], ['C++.jpg']]
    assert counts == {}


@pytest.mark.parametrize(
    'kind', ['PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'AVIF']
)
def test_files_without_a_suffix(tmp_path: Path, kind: str) -> None:
    picture = Image.new('RGB', (4, 4))
    picture.save(tmp_path / 'Q42', kind)
    picture.save(tmp_path / 'St. John', kind)
    images, counts = found(tmp_path, ['Q42'], ['St. John'])
    assert images == [['Q42'], ['St. John']]
    assert counts == {}


def test_what_to_do_about_other_files(tmp_path: Path) -> None:
    put(tmp_path, 'a.svg', 'a.HEIC', 'a.zip', 'a.txt')
    _, findings = find_images(tmp_path, [['a']])
    told = {Path(x.file or '').name: x.message for x in findings}
    assert 'save it as PNG, with rsvg-convert' in told['a.svg']
    assert told['a.HEIC'] == 'is an HEIC image; save it as JPEG'
    assert told['a.zip'] == 'is an archive; unpack it'
    assert told['a.txt'].startswith('is no image by its suffix')


def test_a_file_that_may_not_be_opened_is_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 'a')

    def refuses(path: str, mode: str) -> object:
        raise PermissionError(path)

    monkeypatch.setattr(image_files, 'open', refuses, raising=False)
    assert found(tmp_path, ['a']) == ([[]], {'not an image': 1})
