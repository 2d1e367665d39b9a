"""The dashboard in a real browser: see tests/browser/run.

A demo is watched while it runs and killed to see the page freeze; then its recording is served,
open and behind tokens, and every page is looked at: by axe, by keyboard, at three widths in two
themes.
"""

import argparse
import pathlib
import sys
import tempfile
import time
import traceback

from playwright.sync_api import sync_playwright

import access
import keys
import live
import pages
from program import Program

PARTS = ("live", "pages", "keys", "access")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/nowcxr", type=pathlib.Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--shots", default="target/browser/shots", type=pathlib.Path)
    parser.add_argument("--run", type=pathlib.Path,
                        help="directory of a demo to serve, instead of the one that was killed")
    parser.add_argument("--only", choices=PARTS, action="append",
                        help="one part, or several; all but live need --run then")
    return parser.parse_args()


def main():
    asked = arguments()
    asked.binary = asked.binary.resolve()
    asked.shots.mkdir(parents=True, exist_ok=True)
    parts = asked.only or PARTS
    failed = []
    with tempfile.TemporaryDirectory(prefix="nowcxr-browser-") as work, sync_playwright() as play:
        work = pathlib.Path(work)
        recording = asked.run.resolve() if asked.run else work / "demo"
        # Root may not use chromium's sandbox, and nothing but our own pages is loaded. A container
        # has little shared memory.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = play.chromium.launch(executable_path=asked.chromium, args=flags)

        def part(name, act):
            if name not in parts:
                return
            begun = time.monotonic()
            try:
                act()
                word = "ok"
            except Exception:
                traceback.print_exc()
                failed.append(name)
                word = "FAILED"
            print(f"{word:7} {name}  {time.monotonic() - begun:.1f} s", flush=True)

        part("live", lambda: live.run(browser, asked, work))
        with Program(asked.binary, work, "serve", "--out", recording) as site:
            part("pages", lambda: pages.run(browser, site.base, asked.shots))
            part("keys", lambda: keys.run(browser, site.base))
        part("access", lambda: access.run(browser, asked, work, recording))
        browser.close()
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
