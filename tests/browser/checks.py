"""What must hold of every page, whatever it shows."""

from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe

# Findings that fail the run; lesser ones are printed.
BAD = ("serious", "critical")
AXE = Axe()


class Watch:
    """Listens to one page: errors of scripts, refusals of the content policy, other hosts."""

    def __init__(self, page, base):
        self.host = urlsplit(base).netloc
        self.faults = []
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", self.console)
        page.on("request", self.request)

    def console(self, message):
        # Chromium tells of statuses such as 403 here as well; tests look at those themselves.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")

    def request(self, request):
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != self.host:
            self.faults.append(f"another host: {request.url}")

    def check(self):
        assert not self.faults, self.faults


def accessible(page, what):
    """No serious or critical finding of axe; the lesser ones are printed."""
    found = AXE.run(page).response["violations"]
    told = lambda one: f"{one['impact']} {one['id']}: " + "; ".join(
        " ".join(node["target"]) for node in one["nodes"][:4]
    )
    bad = [told(one) for one in found if one["impact"] in BAD]
    assert not bad, f"{what}: {bad}"
    for one in found:
        print(f"      {what}: {told(one)}")


def fits(page, what):
    """Nothing is wider than the window: what is wide scrolls in a box of its own."""
    wide = page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            const boxed = (one) => one.closest(".scroll, pre, .hidden, .skip, svg, [hidden]");
            return [...document.querySelectorAll("body *")]
                .filter((one) => !boxed(one) && one.getBoundingClientRect().right > width + 1)
                .map((one) => `${one.tagName}.${one.className}`).slice(0, 5)
                .concat(document.documentElement.scrollWidth > width ? ["the page scrolls"] : []);
        }"""
    )
    assert not wide, f"{what}: wider than the window: {wide}"


def targets_are_large(page, what):
    """WCAG 2.2, 2.5.8: a target has 24 px in both directions, or stands in a sentence."""
    small = page.evaluate(
        """() => {
            const inline = (one) => one.closest("p, li, td, th, dd, svg, caption, h2")
                && getComputedStyle(one).display === "inline";
            return [...document.querySelectorAll("a[href], button, select, summary, input")]
                .filter((one) => one.checkVisibility() && !inline(one))
                .filter((one) => !one.closest(".skip, .hidden"))
                .filter((one) => !one.matches("[type=hidden], [type=checkbox], [type=radio]"))
                .map((one) => [one, one.getBoundingClientRect()])
                .filter(([, box]) => box.width > 0 && (box.width < 24 || box.height < 24))
                .map(([one, box]) => `${one.outerHTML.slice(0, 60)} ${box.width}x${box.height}`);
        }"""
    )
    assert not small, f"{what}: {small}"


def focus_path(page, steps):
    """What Tab reaches, as places in the document; every one of them visible and marked."""
    path = []
    for _ in range(steps):
        page.keyboard.press("Tab")
        here = page.evaluate(
            """() => {
                const one = document.activeElement;
                if (!one || one === document.body) return null;
                const frame = (part) => getComputedStyle(part).outlineStyle !== "none";
                const marked = frame(one) || frame(one.closest("li, label") ?? one);
                const box = one.getBoundingClientRect();
                const all = [...document.querySelectorAll("*")];
                const centre = [box.x + box.width / 2, box.y + box.height / 2];
                const hit = document.elementFromPoint(...centre);
                const under = hit?.closest(".top") && !one.closest(".top");
                return { at: all.indexOf(one), name: one.outerHTML.slice(0, 80), marked,
                         seen: !under && box.width > 0 && box.bottom > 0 && box.top < innerHeight };
            }"""
        )
        if here is None:
            break
        path.append(here)
    return path
