"""A real Chromium on the quickstart, and on a server that can be stopped: fixtures of the tests."""

import os
import shutil
import threading

import pytest
from conftest import lacking
from werkzeug.serving import make_server

from flask_backfills.worker import work

try:
    from playwright.sync_api import expect
    from playwright.sync_api import sync_playwright
except ImportError:
    lacking('no playwright: it is in the extra "check"', allow_module_level=True)

#: The shell comes first: it draws no window of a browser around each page.
CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium-headless-shell", "chromium", "chromium-browser"])),
    None,
)
WIDTHS = (400, 800, 1400)

#: Characters that turn, hide or cut the text around them.
HIDDEN = "\u202e\u2066\u200b\x1b"

#: Pairs of texts or controls whose boxes overlap, though neither is within the other.
OVERLAPS = """() => {
  // What of an element is seen: less what an element around it cuts off.
  const rects = (one) => {
    let found = [...one.getClientRects()].map((r) => ({ left: r.left, right: r.right, top: r.top, bottom: r.bottom }));
    for (let around = one.parentElement; around; around = around.parentElement) {
      if (getComputedStyle(around).overflowX === "visible") continue;
      const box = around.getBoundingClientRect();
      for (const r of found) {
        r.left = Math.max(r.left, box.left); r.right = Math.min(r.right, box.right);
        r.top = Math.max(r.top, box.top); r.bottom = Math.min(r.bottom, box.bottom);
      }
    }
    return found;
  };
  // What saves a form stays in sight, over what is scrolled past.
  const seen = [...document.querySelectorAll("main *, header *")].filter((one) =>
    !one.closest(".save") && one.checkVisibility() && one.getClientRects().length &&
    (one.matches("button, input, select, textarea, progress, .badge, .cell, a") ||
     [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())));
  const boxes = new Map(seen.map((one) => [one, rects(one)]));
  const found = [];
  seen.forEach((one, index) => seen.slice(index + 1).forEach((other) => {
    if (one.contains(other) || other.contains(one)) return;
    for (const a of boxes.get(one)) for (const b of boxes.get(other)) {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 4) found.push(one.outerHTML + " and " + other.outerHTML);
    }
  }));
  return found;
}"""


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        lacking("no chromium: it is in Debian's package of that name")
    with sync_playwright() as playwright:
        # Without a sandbox, since tests may run as root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def app(example, tmp_path):
    module = example("quickstart/app.py")
    app = module.create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/q.db"})
    with app.app_context():
        july = module.db.session.get(module.Backfill, 7)
        july.variables = {"seconds": 0.4}
        module.db.session.commit()
    yield app
    with app.app_context():
        module.db.engine.dispose()


class Server:
    """A server on a port of its own, which can be stopped and started again."""

    def __init__(self, app):
        self.app = app
        self.port = 0
        self.server = None
        self.start()

    def start(self):
        self.server = make_server("127.0.0.1", self.port, self.app, threaded=True)
        self.port = self.server.port
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
            self.server = None


@pytest.fixture
def server(app):
    server = Server(app)
    yield server
    server.stop()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.port}/backfills/"


@pytest.fixture
def page(chromium, url):
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    told = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    # Nothing that the policy keeps from being loaded, and no error.
    assert told == []


class Worker:
    """A worker in a thread, which can be stopped and started again."""

    def __init__(self, app):
        self.app = app
        self.thread = None

    def start(self):
        self.stopping = threading.Event()
        options = {"stop": self.stopping, "idle": 0.1, "concurrency": 2}
        arguments = (self.app, self.app.blueprints["backfills"])
        self.thread = threading.Thread(target=work, args=arguments, kwargs=options)
        self.thread.start()

    def stop(self):
        if self.thread is not None:
            self.stopping.set()
            self.thread.join()
            self.thread = None


@pytest.fixture
def worker(app):
    worker = Worker(app)
    yield worker
    worker.stop()


def start_july(page):
    page.get_by_role("link", name="Temperatures of July").click()
    page.get_by_role("link", name="Start").click()
    expect(page.locator(".plan .strip .cell.is-add")).to_have_count(31)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".strip .cell.is-initial")).to_have_count(31)


def hide(page, hidden):
    """Let a page believe that it is in a tab which nobody sees, or is seen again."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def assert_looks_right(page, where, scheme, *, overlaps=True):
    """What may be wrong with a page at each width: it scrolls sideways, overlaps, or axe objects.

    :param scheme: ``"dark"`` differs in its colours alone.
    :param overlaps: ``False`` where something lies over the rest on purpose.
    """
    axe = os.environ.get("BACKFILLS_TEST_AXE")
    if axe is None:
        lacking("no axe-core: BACKFILLS_TEST_AXE does not name its axe.min.js")
    page.add_script_tag(path=axe)
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    rules |= {"resultTypes": ["violations"]}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        at = f"{where}, {scheme}, {width} pixels"
        if scheme == "light":
            assert page.evaluate("document.documentElement.scrollWidth") <= width, at
            assert not overlaps or page.evaluate(OVERLAPS) == [], at
        found = page.evaluate("(rules) => axe.run(rules)", rules)["violations"]
        told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        assert told == [], at
