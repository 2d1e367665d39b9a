"""Everything without a mouse."""

from checks import Watch, focus_path

STEPS = 40


def run(browser, base):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    watch = Watch(page, base)
    page.goto(f"{base}/ward?show=all")
    skip(page)
    for path in ("/ward?show=all", "/operations", "/model", "/evaluation"):
        page.goto(f"{base}{path}")
        order(page, path)
    page.goto(f"{base}/ward?show=all")
    shortcuts(page)
    watch.check()
    page.close()


def active(page):
    return page.evaluate("document.activeElement.id || document.activeElement.className")


def skip(page):
    """The first Tab offers to skip the frame, visibly, and Enter does it."""
    page.keyboard.press("Tab")
    assert active(page) == "skip", active(page)
    box = page.locator(".skip").bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0, box
    page.keyboard.press("Enter")
    assert active(page) == "main", active(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def order(page, path):
    """Focus goes through the page in the order of reading, is seen everywhere, and gets out."""
    reached = focus_path(page, STEPS)
    assert len(reached) > 5, (path, reached)
    places = [one["at"] for one in reached]
    assert places == sorted(set(places)), (path, "out of order, or a trap", reached)
    for one in reached:
        assert one["marked"], (path, "no mark of focus", one)
        assert one["seen"], (path, "focus is where nobody sees it", one)


def shortcuts(page):
    """The keys that the help lists."""
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.keyboard.press("t")
    first, second = page.locator(".bed-link").all_inner_texts()[:2]
    text = "document.activeElement.textContent"
    page.keyboard.press("j")
    assert page.evaluate(text) == first
    page.keyboard.press("j")
    assert page.evaluate(text) == second
    page.keyboard.press("k")
    assert page.evaluate(text) == first
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type(second)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**q={second}**")
    assert page.locator(".bed-link").all_inner_texts() == [second]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/stay/{second}**")
