"""A ward that is being written: the page fills and changes by itself, and freezes when it must."""

import signal

from checks import Watch
from program import Program

# Few patients, three hours a second at most: a fast machine must not be done before we look.
DEMO = ("demo", "--patients", "4", "--speed", "10800", "--out", "demo")
SETTINGS = ("engine.every=2h",)
# The first window of the first stay may need the model to warm up.
FIRST_MS = 60_000
# What the other parts want to see: stays with a score and a film.
ENOUGH = 2
# The page gives up on a service after 7 s of silence.
FREEZE_MS = 15_000


def run(browser, asked, work):
    with Program(asked.binary, work, *DEMO, settings=SETTINGS) as demo:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
        watch = Watch(page, demo.base)
        page.goto(f"{demo.base}/ward")
        # A page that loads anew would lose this.
        page.evaluate("window.sameDocument = true")
        page.wait_for_selector("#beds [data-stay] .risk:not(.no-score)", timeout=FIRST_MS)
        changed(page)
        fresh = "li.bed:not(.none) .badge.f0"
        enough = f"(fresh) => document.querySelectorAll(fresh).length >= {ENOUGH}"
        page.wait_for_function(enough, arg=fresh, timeout=FIRST_MS)
        assert page.evaluate("window.sameDocument"), "the page was loaded anew"
        assert page.locator("#frozen").is_hidden(), "the page is frozen while data come"
        # The watch ends here: that requests fail from now on is what is wanted.
        watch.check()
        demo.end(signal.SIGKILL)
        frozen(page)
        page.screenshot(path=asked.shots / "frozen-1280-dark.png")
        page.close()


def changed(page):
    """Some tile becomes another one, without a reload."""
    page.evaluate(
        """() => { window.told = Object.fromEntries([...document.querySelectorAll("li.bed")]
            .map((bed) => [bed.dataset.stay, bed.textContent])); }"""
    )
    page.wait_for_function(
        """() => [...document.querySelectorAll("li.bed")].some((bed) =>
            window.told[bed.dataset.stay] && window.told[bed.dataset.stay] !== bed.textContent)""",
        timeout=FIRST_MS,
    )


def frozen(page):
    """The page says since when it is old, greys out, and says it to screen readers."""
    bar = page.locator("#frozen")
    bar.wait_for(state="visible", timeout=FREEZE_MS)
    assert "Data frozen at" in bar.inner_text(), bar.inner_text()
    assert bar.get_attribute("role") == "alert"
    look = page.evaluate("(({ filter, opacity }) => ({ filter, opacity }))(getComputedStyle(main))")
    assert look["filter"] == "grayscale(1)" and float(look["opacity"]) < 0.6, look
    assert "broken" in page.locator("#feed").inner_text()
