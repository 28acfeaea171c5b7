"""Make the pictures of the console: .venv/bin/python docs/screenshots.py

With names behind it, such as `undo history`, only those are written.
"""

import shutil
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import expect
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from flask_backfills.worker import work

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples" / "quickstart"))
import app as quickstart  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app = quickstart.create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/q.db"})
        server = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 560}, device_scale_factor=2)
        console = f"http://127.0.0.1:{server.port}/backfills/"
        page.goto(f"{console}pipeline/create?pipeline=weather&start=2023-08-01&end=2023-08-31")
        page.get_by_role("button", name="See what will happen").click()
        take(page, "create", height=1000)
        page.goto(f"{console}7/start")
        page.locator("form button.primary").click()
        stop = threading.Event()
        options = {"stop": stop, "concurrency": 2, "idle": 0.1}
        arguments = (app, app.blueprints["backfills"])
        worker = threading.Thread(target=work, args=arguments, kwargs=options, daemon=True)
        worker.start()
        expect(page.locator(".strip .cell.is-completed").nth(14)).to_be_visible(timeout=60_000)
        take(page, "backfill")
        page.emulate_media(color_scheme="dark")
        take(page, "dark")
        page.emulate_media(color_scheme="light")
        page.goto(f"{console}7/edit")
        page.get_by_label("End datetime").fill("2023-08-12")
        page.get_by_role("button", name="See what will happen").click()
        take(page, "edit", height=960)
        page.get_by_role("button", name="Save").click()
        take(page, "history", part=page.locator("section:has(> #history)"))
        page.get_by_role("link", name="Undo").click()
        take(page, "undo", height=720)
        page.get_by_role("button", name="Undo the edit").click()
        page.goto(console)
        take(page, "list", width=1200, height=360)
        page.goto(f"{console}7")
        expect(page.locator(".badge.is-failed")).to_be_visible(timeout=60_000)
        take(page, "failed", height=720)
        page.goto(f"{console}7/runs?status=failed")
        page.get_by_role("link", name="2023-07-13").first.click()
        take(page, "run", height=720)
        browser.close()
        stop.set()
        worker.join()
        server.shutdown()


def take(page, name: str, width: int = 1000, height: int = 560, part=None) -> None:
    if name in (sys.argv[1:] or [name]):
        page.set_viewport_size({"width": width, "height": height})
        (part or page).screenshot(path=HERE / "_static" / f"{name}.png")


if __name__ == "__main__":
    main()
