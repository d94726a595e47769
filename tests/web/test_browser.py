"""The page in a real browser: Debian's Chromium, driven by selenium."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

webdriver = pytest.importorskip("selenium.webdriver")
exceptions = pytest.importorskip("selenium.common.exceptions")
ui = pytest.importorskip("selenium.webdriver.support.ui")
pytestmark = pytest.mark.slow
RESULTS = Path(__file__).parents[2] / "results"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
SECONDS = 300  # that a busy machine may take, the first import of a library included


@pytest.fixture(scope="module")
def url(clone):
    """The address of ``ddp-repro web``, in a process of its own."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with its driver here")
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ddp_repro", "web", "--port", str(port)]
    environment = os.environ | {"DDP_REPRO_ROOT": str(clone), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        found = next((match for line in run.stdout if (match := re.match(r"open (http\S+) in a browser", line))), None)
        assert found is not None
        yield found[1]
        run.terminate()
        rest = run.stdout.read()
        assert run.wait(SECONDS) == 0 and "Traceback" not in rest, rest


@pytest.fixture
def browse(url, start):
    """Open the page in a browser of its own, at each call."""

    def browse(width: int = 1400) -> "User":
        driver = start(width)
        driver.get(url)
        return User(driver)

    return browse


@pytest.fixture
def start(tmp_path):
    """Start a browser whose page is so many pixels wide, at each call."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with its driver here")
    with ExitStack() as stack:

        def start(width: int, height: int = 1000):
            options = webdriver.ChromeOptions()
            options.binary_location = CHROMIUM
            folder = tmp_path / f"browser{len(list(tmp_path.glob('browser*')))}"
            for argument in (*QUIET, f"--user-data-dir={folder}", f"--window-size={width},{height}"):
                options.add_argument(argument)
            options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
            options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
            driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
            stack.callback(driver.quit)
            # A window of Chromium's is never narrower than 500 pixels.
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            return driver

        yield start


def overflows(driver) -> bool:
    """Whether a page has to be scrolled sideways."""
    return not driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


class User:
    """Somebody at the page."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def until(self, condition):
        """What a condition says once it holds."""
        ignored = (exceptions.StaleElementReferenceException, exceptions.ElementClickInterceptedException)
        return ui.WebDriverWait(self.driver, SECONDS, ignored_exceptions=ignored).until(lambda _: condition())

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector)).replace("\n", " ")

    def upload(self, path: Path) -> None:
        self.until(lambda: self.all("#picture input[type=file]"))[0].send_keys(str(path))
        self.until(lambda: self.all("#picture img"))

    def choose(self, dropdown: str, option: str) -> None:
        self.all(f"#{dropdown} input")[0].click()
        choices = self.until(lambda: [each for each in self.all("ul[role=listbox] li") if option in each.text])
        choices[0].click()

    def press(self) -> None:
        """Press "Predict" until the page heeds it: a click while the page is still being built is lost."""

        def heeded() -> bool:
            self.all("#predict")[0].click()
            wait = ui.WebDriverWait(self.driver, 10)
            with suppress(exceptions.TimeoutException):
                return bool(wait.until(lambda _: self.text("#message") or self.text("#one-heading")))
            return False

        self.until(lambda: self.all("#predict"))
        self.until(heeded)

    def source(self, panel: str) -> str:
        """Address of the picture that a panel shows."""
        return next((image.get_attribute("src") for image in self.all(f"#{panel}-picture img")), "")

    def finished(self, panel: str) -> bool:
        return any(button.is_displayed() for button in self.all(f"#{panel}-archive"))

    def hosts(self) -> set[str]:
        """Whom the browser has asked for anything."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return {urlsplit(address).netloc for address in sent if address.startswith(("http", "ws"))}


def test_upload_run_look_and_take_away(browse, url, clone, tmp_path):
    user = browse()
    user.upload(clone / "photo.png")
    user.press()
    user.until(lambda: user.finished("one"))
    assert re.fullmatch(r"encoder [\d.]+ s step 1 .* step 3 [\d.]+ s together [\d.]+ s", user.text("#one-times"))
    assert "uncertainty (entropy)" in user.text("#one-facts")
    overlay = user.source("one")
    user.all("#view label")[1].click()
    last = user.until(lambda: (source := user.source("one")) != overlay and source)
    user.driver.execute_script(
        "const [bar] = document.querySelectorAll('#step input[type=range]'); bar.value = 1;"
        "bar.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    user.until(lambda: user.source("one") not in ("", last))
    user.all("#one-archive")[0].click()
    (archive,) = user.until(lambda: list((tmp_path / "downloads").glob("*.zip")))
    with zipfile.ZipFile(archive) as file:
        assert {"photo_ade20k_mini_labels.png", "photo_ade20k_mini_labels.npy"} <= {*file.namelist()}
    assert user.hosts() == {urlsplit(url).netloc}


def test_two_models_side_by_side(browse, clone):
    user = browse(width=1200)
    user.upload(clone / "photo.png")
    user.choose("second", "ade20k_mini_baseline")
    user.press()
    user.until(lambda: user.finished("two"))
    left, right = (user.all(f"#{panel}-picture")[0].rect for panel in ("one", "two"))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    assert "step 3" in user.text("#one-times") and "step 3" not in user.text("#two-times")


def test_another_task_and_a_narrow_screen(browse, clone):
    user = browse(width=400)
    user.upload(clone / "photo.png")
    user.choose("task", "normals")
    user.until(lambda: user.all("#first input")[0].get_attribute("value") == "genpercept_normals_mini · trained")
    user.press()
    user.until(lambda: user.finished("one"))
    assert not overflows(user.driver)


def test_a_bad_file_is_a_sentence(browse, clone):
    user = browse()
    user.until(lambda: user.all("#picture input[type=file]"))[0].send_keys(str(clone / "letter.jpg"))
    user.until(lambda: user.all("#picture img, #picture button[aria-label='Clear']"))
    user.press()
    assert user.until(lambda: user.text("#message")).startswith("letter.jpg: ")
    user.driver.refresh()
    user.until(lambda: not user.text("#message"))  # of the page before
    user.press()
    assert user.until(lambda: user.text("#message")) == "Drop a picture first, or take one."


def test_two_users_at_once_do_not_mix(browse, tmp_path):
    users = [browse(), browse()]
    for shade, user in zip((30, 220), users, strict=True):
        Image.fromarray(np.full((48, 64, 3), shade, np.uint8)).save(tmp_path / f"shade{shade}.png")
        user.upload(tmp_path / f"shade{shade}.png")
    for user in users:
        user.press()
    for user in users:
        user.until(lambda user=user: user.finished("one"))
    for shade, user in zip((30, 220), users, strict=True):
        user.all("#one-archive")[0].click()
        names = user.until(lambda shade=shade: list((tmp_path / "downloads").glob(f"shade{shade}_*.zip")))
        with closing(zipfile.ZipFile(names[0])) as file:
            assert all(name.startswith(f"shade{shade}_") for name in file.namelist())
    assert users[0].source("one") != users[1].source("one")


@pytest.mark.parametrize("width", [400, 1200])
def test_pages_of_results_fit_the_screen_with_all_that_unfolds(start, width):
    driver = start(width)
    pages = [*sorted(RESULTS.glob("*/index.html")), RESULTS / "papers.html"]
    assert len(pages) > 1
    for page in pages:
        driver.get(page.as_uri())
        driver.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
        assert not overflows(driver), page
