"""Uses what the Web console has for work that goes on by itself, in Debian's chromium: argv is the browser, the node's
URL, a token of the tenant `acme`, the operator's, a folder for screenshots, and a CSV file with the columns a to h.

The tenant has the plugin `once` (tests/guests/once) and the model `table`, which takes eight numbers a row; a call that
fails is given up after two attempts. It fails on what `console_tools` watches for."""

import base64
import hashlib
import hmac
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from console_tools import Console
from playwright.sync_api import expect, sync_playwright

browser_path, url, token, operator_token, shots, rows = sys.argv[1:]
console = Console(url, Path(shots))
go, look, problems = console.go, console.look, console.problems
rows = Path(rows)


def call(path, headers=None, body=None):
    """Calls the node over a connection of its own: the status, and the request's id."""
    request = urllib.request.Request(url + path, data=body, headers=headers or {"authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["x-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-request-id"]


def later(path):
    """A call that is answered later: its id."""
    status, call_id = call(path, {"authorization": f"Bearer {token}", "prefer": "respond-async"})
    assert status == 202, status
    return call_id


def sure(page, button):
    """Presses a button that asks again."""
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=button, exact=True).click()
    page.locator("main > .notice").wait_for()


def refused(page, code):
    """The page says no, which the browser reports as an error."""
    page.get_by_role("alert").wait_for()
    assert problems and all(str(code) in problem for problem in problems), problems
    problems.clear()
    return page.get_by_role("alert").inner_text()


def logs(page):
    go(page, "/console/plugins/once")
    page.get_by_role("link", name="Logs").click()
    expect(page.locator("[data-stream-state]")).to_contain_text("Following")
    look(page, "logs-empty")
    # Lines that calls over another connection leave stand there without a reload.
    assert call("/fn/acme/once/hello")[0] == 200
    page.locator(".line").filter(has_text="answered 200").wait_for()
    status, failed = call("/fn/acme/once/flaky/9")
    assert status == 502, status
    page.locator(".line.error").filter(has_text="plugin_trap").wait_for()
    look(page, "logs")
    # By request, by level, by text.
    page.fill("#request", failed)
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**request=*")
    ids = page.locator(".line .request").evaluate_all("all => all.map((link) => link.title)")
    assert len(ids) > 1 and set(ids) == {f"Request {failed}"}, ids
    look(page, "logs-of-a-request")
    page.select_option("#level", "error")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**level=error*")
    assert page.locator(".line").count() == page.locator(".line.error").count() == 1
    # What does not fit stays away also when it comes.
    expect(page.locator("[data-stream-state]")).to_contain_text("Following")
    call("/fn/acme/once/hello")
    page.fill("#text", "no such words")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("heading", name="No such line").wait_for()
    page.get_by_role("link", name="see every line").click()
    page.locator(".line").filter(has_text="answered 200").nth(1).wait_for()
    page.locator(".line .request").last.click()
    page.wait_for_url("**request=*")


def triggers(page):
    go(page, "/console/triggers")
    look(page, "triggers-empty")
    page.locator("summary").filter(has_text="New schedule").focus()
    page.keyboard.press("Enter")
    page.fill("#cron-name", "nightly")
    page.fill("#schedule", "30 2 * * *")
    page.fill("#zone", "Europe/Berlin")
    page.fill("#cron-target", "once")
    page.fill("#cron-path", "/hello")
    look(page, "trigger-form")
    page.select_option("#cron-runs", "event")
    expect(page.locator("#cron-path")).to_be_hidden()
    page.select_option("#cron-runs", "function")
    page.get_by_role("button", name="Create the schedule").click()
    page.wait_for_url(f"{url}/console/triggers/nightly")
    look(page, "trigger-new")
    page.get_by_role("button", name="Fire now").click()
    page.locator("td .badge.good").wait_for()
    page.get_by_role("button", name="Replay run 1").click()
    expect(page.locator("main > .notice")).to_contain_text("run 2")
    # What the mouse is over stays as it is.
    page.mouse.move(0, 0)
    page.locator("td .badge.good").nth(1).wait_for()
    assert "replayed" in page.locator("tbody tr").first.inner_text()
    look(page, "trigger")
    page.get_by_role("button", name="Pause").click()
    page.locator(".heading .badge").filter(has_text="paused").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator(".heading .badge").filter(has_text="active").wait_for()
    # A new one does not take the place of another.
    go(page, "/console/triggers")
    page.get_by_text("New webhook").click()
    page.fill("#hook-name", "nightly")
    page.fill("#hook-target", "once")
    page.fill("#hook-path", "/hello")
    page.get_by_role("button", name="Create the webhook").click()
    assert "already" in refused(page, 409)
    go(page, "/console/triggers")
    page.get_by_text("New webhook").click()
    page.fill("#hook-name", "incoming")
    page.fill("#hook-target", "once")
    page.fill("#hook-path", "/hello")
    page.get_by_role("button", name="Create the webhook").click()
    secret = page.locator("#secret").inner_text()
    address = page.locator(".command code").first.inner_text()
    assert address == f"{url}/hooks/acme/incoming", address
    # A secret is in no picture.
    page.evaluate("document.querySelector('#secret').textContent = '…'")
    look(page, "webhook-once")
    # Standard Webhooks: HMAC-SHA256 over id, time and body.
    body, now = b"{}", str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"msg_1.{now}.".encode() + body, hashlib.sha256)).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
    status, _ = call("/hooks/acme/incoming", headers, body)
    assert status == 202, status
    page.get_by_role("link", name="To the trigger").click()
    page.locator("tbody tr").filter(has_text="msg_1").wait_for()
    sure(page, "New secret")
    assert page.locator("#secret").inner_text() != secret
    go(page, "/console/triggers")
    look(page, "triggers")
    go(page, "/console/triggers/incoming")
    sure(page, "Delete")
    page.wait_for_url(f"{url}/console/triggers")


def calls(page):
    # What a run was answered with.
    go(page, "/console/triggers/nightly")
    page.get_by_role("link", name="The call of run 1").click()
    page.get_by_role("heading", name="Answer").wait_for()
    look(page, "call")
    # One that fails is tried again, given up, and tried again by hand.
    failing = later("/fn/acme/once/flaky/99")
    go(page, "/console/calls")
    page.locator(f'a[title="{failing}"]').click()
    page.get_by_role("button", name="Try it again").wait_for(timeout=60_000)
    assert page.locator("tbody tr").count() == 2
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    look(page, "call-given-up")
    page.get_by_role("link", name="Log of attempt 2").click()
    page.locator(".line.error").wait_for()
    go(page, "/console/calls?state=dead")
    page.locator(f'a[title="{failing}"]').click()
    page.get_by_role("button", name="Try it again").click()
    expect(page.locator("main > .notice")).to_contain_text("tried again")
    # And one that takes long is called off.
    slow = later("/fn/acme/once/slow/20000")
    go(page, f"/console/calls/{slow}")
    sure(page, "Cancel")
    page.locator("dd .badge").filter(has_text="cancelled").wait_for()
    go(page, "/console/calls")
    look(page, "calls")
    page.get_by_role("link", name="Cancelled").click()
    page.locator("tbody tr").first.wait_for()
    assert page.locator("tbody tr").count() == 1


def webhooks(page):
    go(page, "/console/webhooks")
    look(page, "webhooks-empty")
    page.get_by_text("New endpoint").click()
    page.fill("#name", "done")
    page.fill("#url", "https://hooks.example.com/aimass")
    page.get_by_role("button", name="Create the endpoint").click()
    assert page.locator("#secret").inner_text().startswith("whsec_")
    page.get_by_role("link", name="To the endpoint").click()
    page.get_by_role("button", name="Send a test").click()
    # No egress rule allows it.
    page.locator("tbody tr").filter(has_text="egress").wait_for()
    look(page, "webhook")
    page.get_by_role("button", name="Pause").click()
    page.locator(".heading .badge").filter(has_text="paused").wait_for()


def job(page, output):
    page.get_by_role("link", name="Run a job over rows.csv").click()
    page.fill("#target", "table")
    page.fill("#output", output)
    page.fill("#columns", "x=a,b,c,d,e,f,g,h")
    # So that it takes its time.
    page.fill("#batch-size", "1")


def files_and_jobs(page):
    go(page, "/console/jobs")
    look(page, "jobs-empty")
    go(page, "/console/files")
    look(page, "files-empty")
    page.set_input_files("#file", rows)
    assert page.input_value("#name") == "rows.csv", page.input_value("#name")
    page.get_by_role("button", name="Upload", exact=True).click()
    page.locator("main > .notice").filter(has_text="rows.csv is stored").wait_for()
    look(page, "files")
    with page.expect_download() as download:
        page.get_by_role("link", name="rows.csv", exact=True).click()
    assert Path(download.value.path()).read_bytes() == rows.read_bytes()
    job(page, "scores.csv")
    look(page, "job-form")
    page.get_by_role("button", name="Start the job").click()
    page.wait_for_url("**/console/jobs/*")
    # It moves without a reload, at a rate, with an end in sight.
    state = page.locator(".job-state")
    expect(state).to_contain_text("rows/s", timeout=60_000)
    expect(state).to_contain_text("left")
    seen = state.inner_text()
    look(page, "job-running")
    expect(state).not_to_have_text(seen, use_inner_text=True)
    link = page.get_by_role("link", name="scores.csv")
    link.wait_for(timeout=300_000)
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    look(page, "job-done")
    with page.expect_download() as download:
        link.click()
    result = Path(download.value.path()).read_text().splitlines()
    assert len(result) == len(rows.read_text().splitlines()), len(result)
    # Another one is ended half-way.
    go(page, "/console/files")
    job(page, "other.csv")
    page.get_by_role("button", name="Start the job").click()
    page.wait_for_url("**/console/jobs/*")
    sure(page, "Cancel")
    page.locator(".job-state .badge").filter(has_text="cancelled").wait_for()
    go(page, "/console/jobs")
    look(page, "jobs")
    go(page, "/console/files")
    sure(page, "Delete the file scores.csv")
    assert "scores.csv is deleted" in page.locator("main > .notice").inner_text()


def quotas(page, desk):
    go(page, "/console/usage")
    page.locator("svg.bar").first.wait_for()
    assert "no limit" in page.locator(".quotas").inner_text()
    look(page, "quotas")
    operator = desk.new_page()
    console.watch(operator)
    console.sign_in(operator, operator_token)
    go(operator, "/console/tenants/acme")
    operator.locator("svg.bar").first.wait_for()
    look(operator, "tenant-quotas")


PAGES = ["plugins/once/logs", "triggers", "triggers/nightly", "calls", "webhooks/done", "files", "jobs", "usage"]

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page = context.new_page()
    console.watch(page)
    console.sign_in(page, token)
    logs(page)
    triggers(page)
    calls(page)
    webhooks(page)
    files_and_jobs(page)
    quotas(page, browser.new_context(viewport={"width": 1280, "height": 800}))

    page.get_by_role("button", name="Colours").click()
    for path in PAGES:
        go(page, f"/console/{path}")
        look(page, f"{path.replace('/', '-')}-dark")
    phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="light", device_scale_factor=2)
    small = phone.new_page()
    console.watch(small)
    console.sign_in(small, token)
    for path in PAGES:
        console.fits(small, f"/console/{path}")
        look(small, f"phone-{path.replace('/', '-')}")

    # Whoever signs out in one window is out in the other, too, where lines came in.
    go(page, "/console/plugins/once/logs")
    expect(page.locator("[data-stream-state]")).to_contain_text("Following")
    other = context.new_page()
    go(other, "/console/")
    other.get_by_role("button", name="Sign out").click()
    other.wait_for_url(url + "/console/sign-in*")
    call("/fn/acme/once/hello")
    page.wait_for_url(url + "/console/sign-in*")
    assert all("event-stream" in problem for problem in problems), problems
    problems.clear()
    browser.close()

sys.exit(console.report())
