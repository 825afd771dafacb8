"""Uses the Web console as a person does, in Debian's chromium: argv is the browser, the node's URL, a tenant's token,
the operator's, a folder for screenshots, and files: the plugins file-type, hello-http and counter, an ONNX model of an image, the settings of file-type as JSON.

It fails on anything that the browser reports as an error, on any request to another origin, and on what axe-core finds
serious."""

import base64
import json
import sys
from pathlib import Path

from console_tools import Console
from playwright.sync_api import sync_playwright

browser_path, url, token, operator_token, shots, plugin, function, second, model, settings = sys.argv[1:]
shots = Path(shots)

# A picture of 4 × 2 pixels, red and blue (PNG).
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAIAAADwyuo0AAAAE0lEQVR42mP4z8AARGDiPw"
    "MyBwBnsgf595JWggAAAABJRU5ErkJggg=="
)

console = Console(url, shots)
watch, look, go, sign_in, problems = console.watch, console.look, console.go, console.sign_in, console.problems


def upload(page, kind, file, name):
    go(page, f"/console/upload-{kind}")
    page.set_input_files("#file", file)
    # The name is proposed by the file's.
    assert page.input_value("#name") == Path(file).stem, page.input_value("#name")
    page.fill("#name", name)
    page.get_by_role("button", name="Upload", exact=True).click()
    # Straight away, or by the page that follows the compilation.
    page.wait_for_url(f"{url}/console/{kind}s/{name}", timeout=120_000)


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page = context.new_page()
    watch(page)

    go(page, "/console/plugins")
    look(page, "sign-in")
    page.get_by_label("Token", exact=True).fill("not a token")
    # The browser reports the 401 as an error, which it is meant to be.
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    assert all("401" in problem for problem in problems), problems
    problems.clear()
    look(page, "sign-in-refused")
    sign_in(page, token)
    look(page, "overview-empty")
    go(page, "/console/plugins")
    look(page, "plugins-empty")
    go(page, "/console/upload-plugin")
    look(page, "upload")

    upload(page, "plugin", plugin, "file-type")
    upload(page, "plugin", function, "greet")
    upload(page, "model", model, "picture")
    look(page, "model")

    # A model that takes an image: decoded here, seen there.
    go(page, "/console/models/picture/playground")
    page.select_option("[data-form]", "image")
    picture = shots / "picture.png"
    picture.write_bytes(PICTURE)
    page.set_input_files("[data-file]", picture)
    page.get_by_role("button", name="Run").click()
    page.locator(".output img.result").wait_for()
    look(page, "playground-image")

    # Settings, then text into a real plugin.
    go(page, "/console/plugins/file-type/settings")
    for row, (key, value) in enumerate(json.loads(Path(settings).read_text()).items()):
        if row >= page.locator(".setting").count():
            page.get_by_role("button", name="Save settings").click()
            page.locator("main > .notice").wait_for()
        page.locator("[name=key]").nth(row).fill(key)
        page.locator("[name=value]").nth(row).fill(value)
    page.get_by_role("button", name="Save settings").click()
    page.locator("main > .notice").wait_for()
    look(page, "settings")
    go(page, "/console/plugins/file-type/playground")
    page.fill("[data-value]", "fn main() {}")
    page.get_by_role("button", name="Run").click()
    page.locator("[data-result] .output").first.wait_for(timeout=60_000)
    assert page.locator("[data-result] .output pre").first.inner_text().strip() == "txt", page.inner_text("[data-result]")
    look(page, "playground-text")
    page.fill("[data-value]", "")
    page.select_option("[data-form]", "file")
    page.set_input_files("[data-file]", plugin)
    page.get_by_role("button", name="Run").click()
    page.locator("[data-result] .output pre").filter(has_text="wasm").first.wait_for(timeout=60_000)
    look(page, "playground-file")

    # An HTTP function.
    go(page, "/console/plugins/greet/playground")
    page.get_by_role("button", name="Send").click()
    page.locator("[data-result] .notice.good").wait_for(timeout=60_000)
    look(page, "playground-function")

    # A second version that wants more than the first: refused until that is allowed.
    go(page, "/console/upload-plugin?name=greet")
    page.set_input_files("#file", second)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_role("alert").wait_for(timeout=120_000)
    assert "asks for more" in page.get_by_role("alert").inner_text()
    assert all("409" in problem for problem in problems), problems
    problems.clear()
    look(page, "upload-refused")
    if "/console/uploads/" in page.url:
        # It took long to compile, and was refused behind that.
        page.get_by_role("link", name="Upload another file").click()
        page.set_input_files("#file", second)
    page.get_by_label("It may import more").check()
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url(f"{url}/console/plugins/greet", timeout=120_000)
    go(page, "/console/plugins/greet/compare")
    look(page, "compare")

    # The first version serves, the second is tried out on a tenth of the calls, on more, and taken back.
    def slide(selector, percent):
        page.locator(selector).evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })) }", percent)

    go(page, "/console/plugins/greet/traffic")
    look(page, "traffic-empty")
    page.get_by_text("Deploy a version").click()
    page.fill("#deploy-version", "1")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.locator("main > .notice").wait_for()
    page.get_by_text("Deploy a version").click()
    page.fill("#deploy-version", "2")
    slide("#percent", "10")
    page.fill("#gate", "error_rate < 0.01 && p99_ms < 5000")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("button", name="Move the canary").wait_for()
    go(page, "/console/plugins/greet/playground?version=2")
    page.get_by_role("button", name="Send").click()
    page.locator("[data-result] .notice").wait_for(timeout=60_000)
    go(page, "/console/plugins/greet/traffic")
    assert "10 %" in page.locator("[data-refresh]").inner_text()
    slide("#percent-prod", "40")
    assert "40 %" in page.locator(".slider output").inner_text()
    look(page, "traffic-canary")
    page.get_by_role("button", name="Move the canary").click()
    page.locator("main > .notice").wait_for()
    assert "40 %" in page.locator("[data-refresh]").inner_text()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Roll back").click()
    page.locator("main > .notice").wait_for()
    assert page.get_by_role("button", name="Move the canary").count() == 0
    look(page, "traffic-rolled-back")

    # What was called is seen.
    go(page, "/console/plugins/file-type")
    page.locator("svg.chart rect.good").first.wait_for()
    look(page, "plugin")
    go(page, "/console/")
    page.locator("svg.chart rect.good").first.wait_for()
    look(page, "overview")
    go(page, "/console/usage")
    page.locator("svg.chart rect.good").first.wait_for()
    look(page, "usage")

    # The keyboard: past the navigation, into the search, to what is found.
    go(page, "/console/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    page.keyboard.type("file")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/console/search?q=file")
    look(page, "search")
    page.locator("main").get_by_role("link", name="file-type").click()
    page.wait_for_url(f"{url}/console/plugins/file-type")

    for path in ["plugins", "models", "audit", "tokens", "egress", "signers"]:
        go(page, f"/console/{path}")
        look(page, path)
    go(page, "/console/tokens")
    page.get_by_text("New token").click()
    page.fill("#subject", "ci")
    look(page, "token-form")
    page.get_by_role("button", name="Create the token").click()
    page.locator("#token").wait_for()
    # A secret is in no picture.
    page.evaluate("document.querySelector('#token').textContent = '…'")
    look(page, "token-once")
    go(page, "/console/tokens")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke the token of ci").click()
    page.locator("main > .notice").wait_for()
    assert "revoked" in page.locator("main > .notice").inner_text()

    go(page, "/console/egress")
    page.get_by_text("Allow a destination").click()
    page.fill("#host", "api.example.com")
    page.get_by_role("button", name="Allow", exact=True).click()
    page.locator("main > .notice").wait_for()
    look(page, "egress-rule")

    # Dark, by the switch, and it stays.
    page.get_by_role("button", name="Colours").click()
    go(page, "/console/")
    assert page.get_attribute("html", "data-theme") == "dark"
    look(page, "overview-dark")
    go(page, "/console/plugins/file-type/playground")
    look(page, "playground-dark")
    go(page, "/console/audit")
    look(page, "audit-dark")

    # As the system has it, on a telephone.
    phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2)
    small = phone.new_page()
    watch(small)
    sign_in(small, token)
    for path, name in [("", "overview"), ("plugins/file-type", "plugin"), ("plugins/file-type/playground", "playground"), ("plugins/greet/traffic", "traffic"), ("audit", "audit")]:
        console.fits(small, f"/console/{path}")
        look(small, f"phone-{name}")

    # The operator.
    desk = browser.new_context(viewport={"width": 1280, "height": 800})
    operator = desk.new_page()
    watch(operator)
    sign_in(operator, operator_token)
    look(operator, "node")
    go(operator, "/console/tenants")
    look(operator, "tenants")
    operator.get_by_role("link", name="acme").click()
    operator.wait_for_url(f"{url}/console/tenants/acme")
    look(operator, "tenant")
    operator.fill("#calls", "50")
    operator.get_by_role("button", name="Save limits").click()
    operator.locator("main > .notice").wait_for()
    go(operator, "/console/audit")
    look(operator, "operator-audit")

    # A session that has ended leads to the way in, also from a script.
    go(page, "/console/plugins/file-type/playground")
    context.clear_cookies(name="aimass-console")
    page.fill("[data-value]", "x")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url(url + "/console/sign-in*")
    browser.close()

sys.exit(console.report())
