"""What the tests of the Web console share: a browser that is watched, screenshots, and what axe-core says."""

from axe_playwright_python.sync_playwright import Axe


class Console:
    """The console at `url`; screenshots go to the folder `shots`.

    `problems` is anything that the browser reports as an error and any request to another origin; `serious` is what
    axe-core finds serious."""

    def __init__(self, url, shots):
        self.url, self.shots = url, shots
        self.problems, self.serious = [], []

    def watch(self, page):
        url, problems = self.url, self.problems
        page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: problems.append(f"error: {e}"))
        # What is aborted is so by the next page's coming.
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url} {r.failure}") if r.failure != "net::ERR_ABORTED" else None)
        page.on("request", lambda r: problems.append(f"elsewhere: {r.url}") if not r.url.startswith((url, "data:", "blob:")) else None)

    def look(self, page, name):
        """A screenshot, and what axe-core says of the page."""
        page.screenshot(path=self.shots / f"{name}.png", full_page=True)
        said = Axe().run(page).response
        assert len(said["passes"]) > 10, said
        found = said["violations"]
        for rule in found:
            if rule["impact"] in ("serious", "critical"):
                for node in rule["nodes"]:
                    self.serious.append(f"{name}: {rule['id']}: {node['html'][:160]} {node['failureSummary'][:200]}")
        print(f"{name}: {len(found)} findings of axe-core, {[rule['id'] for rule in found]}")

    def go(self, page, path):
        page.goto(self.url + path)

    def sign_in(self, page, secret):
        self.go(page, "/console/")
        page.get_by_label("Token", exact=True).fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(self.url + "/console/")

    def fits(self, page, path):
        """Opens a page, which must be no wider than the screen."""
        self.go(page, path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"

    def report(self):
        """Prints what was found; the process's exit status."""
        for line in self.serious + self.problems:
            print(line)
        return 1 if self.serious or self.problems else 0
