"""Every page of a recording, at three widths and in two themes."""

import re

from checks import Watch, accessible, fits, targets_are_large

WIDTHS = (320, 1280, 2560)
THEMES = ("dark", "light")


def run(browser, base, shots):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    watch = Watch(page, base)
    page.goto(f"{base}/ward?show=all")
    stay = with_film(page)
    faults = []
    for name, path in {
        "ward": "/",
        "ward-all": "/ward?show=all",
        "ward-table": "/ward?show=all&view=table",
        "ward-empty": "/ward?q=404",
        "stay": stay,
        "operations": "/operations",
        "model": "/model",
        "evaluation": "/evaluation",
        "missing": "/nowhere",
    }.items():
        answer = page.goto(f"{base}{path}")
        assert answer.status == (404 if name == "missing" else 200), (path, answer.status)
        if name == "stay":
            films(page)
        faults += look(page, name, shots)
    time_travel(page, base)
    watch.check()
    assert not faults, "\n".join(faults)
    page.close()


def with_film(page):
    """The page of a stay with a score and a film, at a moment when it had both."""
    link = page.locator("li.bed:not(.none)").filter(has=page.locator(".badge.film:not(.fno)"))
    href = link.first.locator(".bed-link").get_attribute("href")
    page.goto(page.url.split("/ward")[0] + href)
    moments = page.locator("#risk-table tbody tr").filter(has_text="scored")
    middle = moments.nth(moments.count() // 2).locator("a").get_attribute("href")
    return middle


def films(page):
    """The last film is there, and the estimate is folded away until it is asked for."""
    real = page.locator(".films-card img.pixels:not(.generated)").first
    real.scroll_into_view_if_needed()
    loaded(page, real)
    estimate = page.locator("img.generated")
    assert estimate.count() == 1, "this window has no estimate"
    assert not estimate.is_visible(), "the estimate is shown unasked"
    page.get_by_text("Show the generated estimate").click()
    loaded(page, estimate)
    # It leaves for an archive only when asked for, as a file that says what it is.
    link = page.get_by_role("link", name="Export as DICOM Secondary Capture")
    exported = page.request.get(page.url.split("/stay")[0] + link.get_attribute("href"))
    assert exported.status == 200, exported.status
    assert exported.headers["content-type"] == "application/dicom", exported.headers
    assert exported.body()[128:132] == b"DICM"


def loaded(page, image):
    page.wait_for_function("(one) => one.complete", arg=image.element_handle())
    assert image.evaluate("(one) => one.naturalWidth") > 0, "a picture is broken"


def look(page, name, shots):
    """Pictures of the page as it stands, and all that does not hold of it."""
    faults = []

    def hold(check, what):
        try:
            check(page, what)
        except AssertionError as fault:
            faults.append(str(fault))

    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            # Else what sticks to the top is in the middle of the picture.
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=shots / f"{name}-{width}-{theme}.png", full_page=True)
            what = f"{name} at {width} px, {theme}"
            hold(fits, what)
            hold(targets_are_large, what)
            if width == 1280 or (width == 320 and theme == "dark"):
                hold(accessible, what)
    page.set_viewport_size({"width": 1280, "height": 900})
    return faults


def time_travel(page, base):
    """Seeking and playing move the clock, the numbers and the address."""
    page.goto(f"{base}/ward")
    if page.locator("#time").count() == 0:
        page.get_by_role("link", name=re.compile("Time travel")).click()
    clock = page.locator("#virtual")
    late = clock.inner_text()
    page.get_by_role("link", name="6 hours back").click()
    page.wait_for_function("(was) => virtual.textContent !== was", arg=late)
    early = clock.inner_text()
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("(was) => virtual.textContent !== was", arg=early)
    assert "×" in page.locator("#replay-chip").inner_text()
    page.get_by_role("button", name="Pause").click()
    assert "at=" in page.url, page.url
