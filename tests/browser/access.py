"""Signing in: who sees what, what the cookie is like, and who wrote it down."""

import json
import subprocess

from checks import Watch, accessible
from pages import look, with_film
from program import Program, token

WRONG = "nowcxr_" + "x" * 43


def run(browser, asked, work, recording):
    tokens = {
        role: token(asked.binary, work, f"{role}-1", role)
        for role in ("viewer", "clinician", "admin")
    }
    settings = ("http.tokens=tokens.txt", "http.audit=audit.jsonl")
    with Program(asked.binary, work, "serve", "--out", recording, settings=settings) as site:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        watch = Watch(page, site.base)
        page.goto(f"{site.base}/ward?show=all")
        assert "/login?next=/ward" in page.url, page.url
        faults = look(page, "login", asked.shots)
        sign_in(page, WRONG)
        assert "no such token" in page.get_by_role("alert").inner_text()
        accessible(page, "login, wrong")
        sign_in(page, tokens["viewer"])
        page.wait_for_url("**/ward?show=all")
        strict_cookie(page)
        stay = page.locator(".bed-link").first.get_attribute("href")
        assert page.goto(f"{site.base}{stay}").status == 403
        faults += look(page, "forbidden", asked.shots)
        sign_out(page, site.base)
        sign_in(page, tokens["clinician"])
        page.goto(f"{site.base}/ward?show=all")
        stay = with_film(page)
        assert page.goto(f"{site.base}{stay}").status == 200
        faults += look(page, "stay-signed-in", asked.shots)
        assert page.goto(f"{site.base}/audit").status == 403
        sign_out(page, site.base)
        sign_in(page, tokens["admin"])
        page.get_by_role("link", name="Audit log").click()
        rows = page.locator("table.looks tbody").inner_text()
        assert "viewer-1" in rows and "the role does not go so far" in rows, rows
        assert "clinician-1" in rows and "stay page" in rows and "film" in rows, rows
        faults += look(page, "audit", asked.shots)
        watch.check()
        assert not faults, "\n".join(faults)
        page.close()
    verify = [asked.binary, "audit", "verify", "audit.jsonl", "--json"]
    found = subprocess.run(verify, cwd=work, check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(found)["lines"] >= 4, found


def sign_in(page, text):
    """By keyboard alone: the field has the focus."""
    assert page.evaluate("document.activeElement.id") == "token"
    page.keyboard.type(text)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def strict_cookie(page):
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie
    assert page.evaluate("document.cookie") == "", "a script can read the token"


def sign_out(page, base):
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto(f"{base}/ward")
    assert "/login" in page.url, page.url
