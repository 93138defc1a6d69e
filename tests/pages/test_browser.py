"""The site and the report in a real browser, where there is one."""

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from dsom_pyg.completion import Completer, Review
from dsom_pyg.pages.report import write_report
from dsom_pyg.pages.site import make_app

selenium = pytest.importorskip('selenium')
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason='no chromium with a chromedriver'
)
PAGES = ('', '/proposals', '/suspects', '/review', '/entity/0')
# Where pictures of the pages go, if they are wanted.
SHOTS = os.environ.get('DSOM_PYG_SHOTS')


@pytest.fixture(scope='module')
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(
        shutil.copytree(run, tmp_path_factory.mktemp('browser') / 'run')
    )


@pytest.fixture(scope='module')
def site(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    app = make_app(folder, port=port)
    config = uvicorn.Config(app, '127.0.0.1', port, log_level='warning')
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f'http://127.0.0.1:{port}'
    server.should_exit = True
    thread.join()


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(CHROMIUM)
    for word in (
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--window-size=900,1200',
    ):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield made
    made.quit()


def asked(browser: Any) -> set[str]:
    """The addresses that pages have asked for since the last call."""
    out = set()
    for entry in browser.get_log('performance'):
        told = json.loads(entry['message'])['message']
        if told['method'] == 'Network.requestWillBeSent':
            out.add(told['params']['request']['url'])
    return out


def shot(browser: Any, name: str) -> None:
    if SHOTS:
        browser.save_screenshot(str(Path(SHOTS) / f'{name}.png'))


def find(browser: Any, css: str) -> Any:
    return browser.find_element('css selector', css)


def until(condition: Any) -> None:
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail('it did not happen')


def test_a_person_goes_through_it(
    site: str, folder: Path, browser: Any
) -> None:
    from selenium.webdriver.common.keys import Keys

    model = Completer.load(folder)
    review = Review(folder / 'review.jsonl')
    asked(browser)
    browser.get(site)
    # Search: while it is typed names are offered, and Enter finds.
    field = find(browser, 'nav input')
    field.send_keys('Eli')
    until(lambda: browser.find_elements('css selector', '#names option'))
    field.send_keys(Keys.ENTER)
    until(lambda: '?q=' in browser.current_url)
    shot(browser, 'search')
    browser.find_element('link text', 'Elie').click()
    assert find(browser, 'h1').text == 'Elie'
    assert browser.find_elements('css selector', 'main svg line')
    shot(browser, 'entity')
    # Accept the first proposal by its button: it is gone, and a fact.
    rows = browser.find_elements('css selector', 'article')
    links = [x.text for x in rows[0].find_elements('css selector', 'a')][:2]
    rows[0].find_element('css selector', 'button[value=accept]').click()
    until(lambda: len(list(review)) == 1)
    (made,) = review
    assert made.verdict == 'accept'
    assert {made.head, made.tail} == {
        model.entities.labels[model.entities.id(made.head)],
        model.entities.labels[model.entities.id(made.tail)],
    }
    left = browser.find_elements('css selector', 'article')
    assert len(left) == len(rows) - 1
    facts = find(browser, 'main table').text
    other = next(name for name in links if name != 'Elie')
    assert other.split('…')[0][:20] in facts
    # Reject the next one by keys.
    body = find(browser, 'body')
    body.send_keys('j')
    assert browser.switch_to.active_element.tag_name == 'article'
    browser.switch_to.active_element.send_keys('r')
    until(lambda: len(list(review)) == 2)
    assert [each.verdict for each in review] == ['accept', 'reject']
    # Why, back, reload: nothing is sent twice.
    find(browser, 'article a[href^="/why"]').click()
    until(lambda: '/why' in browser.current_url)
    assert 'Who says so' in find(browser, 'main').text
    shot(browser, 'why')
    browser.back()
    browser.refresh()
    assert find(browser, 'h1').text == 'Elie'
    assert len(list(review)) == 2
    for name in ('proposals', 'suspects', 'review', 'docs'):
        browser.get(f'{site}/{name}')
        assert find(browser, 'h1').text
        shot(browser, name)
    places = {x for x in asked(browser) if not x.startswith('data:')}
    assert places
    assert all(place.startswith(site) for place in places), places


def test_keys_keep_their_place(site: str, folder: Path, browser: Any) -> None:
    """After a decision one goes on at the next triple."""
    review = Review(folder / 'review.jsonl')
    before = len(list(review))

    def texts() -> list[str]:
        found = browser.find_elements('css selector', 'article > div')
        return [each.text for each in found[::2]]

    def here() -> str:
        text: str = browser.switch_to.active_element.text
        return text.split('\n')[0]

    def press(key: str, count: int) -> None:
        browser.switch_to.active_element.send_keys(key)
        until(lambda: len(list(review)) == before + count)
        until(lambda: browser.switch_to.active_element.tag_name == 'article')

    browser.get(f'{site}/suspects')
    rows = texts()
    assert len({*rows[:6]}) == 6
    find(browser, 'body').send_keys('jjj')
    assert here().startswith(rows[2])
    # It goes, and the next one takes its place.
    press('r', 1)
    assert here().startswith(rows[3])
    # It stays, and says what was said.
    press('u', 2)
    assert here().startswith(rows[4])
    marked = browser.find_elements('css selector', '[aria-pressed=true]')
    assert [each.text for each in marked] == ['don’t know']
    press('a', 3)
    assert here().startswith(rows[5])
    # Elsewhere nothing is held.
    browser.get(f'{site}/proposals')
    assert browser.switch_to.active_element.tag_name == 'body'


def test_a_name_is_typed_to_its_end(site: str, browser: Any) -> None:
    """A shorter name on the way opens nothing."""
    from selenium.webdriver.common.keys import Keys

    browser.get(site)
    field = find(browser, 'nav input')
    for letter in 'Elie':
        field.send_keys(letter)
        time.sleep(0.2)
    until(lambda: browser.find_elements('css selector', '#names option'))
    field.send_keys('x')
    time.sleep(0.3)
    assert '/entity/' not in browser.current_url
    field.send_keys(Keys.BACKSPACE)
    until(lambda: browser.find_elements('css selector', '#names option'))
    # Who chooses from the list is taken there.
    browser.execute_script(
        "arguments[0].value = 'Elie';"
        "arguments[0].dispatchEvent(new InputEvent('input',"
        " {inputType: 'insertReplacementText'}))",
        field,
    )
    until(lambda: '/entity/' in browser.current_url)


def test_names_do_nothing(site: str, folder: Path, browser: Any) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    names = Completer.load(folder).entities.names
    for at, name in enumerate(names):
        browser.get(f'{site}/entity/{at}')
        shown = find(browser, 'h1').text
        assert shown[:20] == ' '.join(name.split())[:20]
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        wide = browser.execute_script(
            'return document.documentElement.scrollWidth - innerWidth'
        )
        assert wide <= 0


def test_on_a_phone_and_in_the_dark(site: str, browser: Any) -> None:
    def colour() -> str:
        script = 'return getComputedStyle(document.body).backgroundColor'
        return str(browser.execute_script(script))

    words = {'width': 360, 'height': 740, 'deviceScaleFactor': 1}
    browser.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride', {**words, 'mobile': True}
    )
    try:
        seen = {}
        for scheme in ('light', 'dark'):
            feature = {'name': 'prefers-color-scheme', 'value': scheme}
            browser.execute_cdp_cmd(
                'Emulation.setEmulatedMedia', {'features': [feature]}
            )
            for page in (
                '',
                '/proposals',
                '/suspects',
                '/review',
                '/entity/0',
            ):
                browser.get(site + page)
                wide = browser.execute_script(
                    'return document.documentElement.scrollWidth'
                )
                assert wide <= 360, page
            seen[scheme] = colour()
            shot(browser, f'phone-{scheme}')
        assert seen['light'] == 'rgb(255, 255, 255)'
        assert seen['dark'] != seen['light']
    finally:
        browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {})


def test_the_report_opens_from_disk(folder: Path, browser: Any) -> None:
    path = write_report(folder)
    asked(browser)
    browser.get(path.as_uri())
    assert 'by dsom_pyg' in browser.title
    plots = browser.find_elements('css selector', 'figure svg')
    assert len(plots) >= 3
    for drawn in plots:
        assert drawn.is_displayed()
        assert drawn.size['height'] > 50
    shot(browser, 'report')
    places = {x for x in asked(browser) if not x.startswith('data:')}
    assert places == {path.as_uri()}
