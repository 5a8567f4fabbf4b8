"""A shop with a real consent banner and our snippet beside it, in a real Chromium: the ledger has what was clicked."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, sync_playwright

from cdp.kernel.purposes import Purpose
from tests.conformance import sdks
from tests.conformance.browser.driver import QUIET
from tests.conformance.sdks import CHROMIUM, Sdk, installed_by_npm
from tests.conformance.server import Origin, Server, running
from tests.factories.signals import tc_core, tc_vendors

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BANNERS = Path(__file__).with_name("banners")
ANALYTICS = Sdk("@segment/analytics-next", "1.84.3", "browser")

MAPPED = (
    ("CATEGORY", "pixel", Purpose.ADVERTISING),
    ("CATEGORY", "statistics", Purpose.ANALYTICS),
    ("CATEGORY", "basket", Purpose.LEARNING),
    ("CATEGORY", "ad_storage", Purpose.ADVERTISING),
    ("GPC", "", Purpose.ADVERTISING),
    ("TCF", "4", Purpose.ADVERTISING),
    ("OPT_OUT", "sale", Purpose.ADVERTISING),
)
VENDOR = 755
BE_VENDOR = """
INSERT INTO core.consent_settings (workspace_id, keeps_addresses, confirmation_hours, vendor_id) VALUES (%s, false, 72, %s)
"""
MAP = "INSERT INTO core.signal_mapping (workspace_id, kind, category, purpose) VALUES (%s, %s, %s, %s)"
ASK = """
INSERT INTO core.purpose (workspace_id, purpose, bit, legal_basis, description) VALUES (%s, %s, %s, 'CONSENT', '')
"""
LEDGER = """
SELECT purpose, state FROM core.consent_record WHERE source_id = %s ORDER BY occurred_at, id
"""
PERMITTED = """
SELECT DISTINCT i.permitted FROM core.identifier i JOIN core.event e ON e.identifier_id = i.id WHERE e.source_id = %s
"""

KLARO = {
    "acceptAll": True,
    "translations": {"zz": {"privacyPolicyUrl": "/privacy"}},
    "services": [
        {"name": "pixel", "title": "Pixel", "purposes": ["marketing"]},
        {"name": "statistics", "title": "Statistics", "purposes": ["analytics"]},
        {"name": "basket", "title": "Basket", "purposes": ["functional"], "required": True},
    ],
}
PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>A shop</title>
<script>window.tessera = window.tessera || {{ choices: [], consent(choice) {{ this.choices.push(choice) }} }};</script>
{before}
<script async src="{address}/v1/consent.js" data-write-key="{key}" data-from="{listens_to}"></script>
<h1>A shop</h1>
"""
WITH_KLARO = '<script>var klaroConfig = {config};</script><script defer src="/klaro.js"></script>'
TOLD = "() => localStorage.getItem('tessera_consent') !== null"
NOTHING_WAITS = "() => !Object.keys(localStorage).some((key) => key.startsWith('tessera_consent.'))"
LISTENS = "() => document.readyState === 'complete' && klaro.getManager().watchers.size > 1"


@dataclass
class Shop:
    """One visitor on a page of the shop, and what went to Tessera from it."""

    server: Server
    origin: Origin
    context: BrowserContext
    page: Page
    address: str
    sent: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "/klaro") -> None:
        self.page.goto(self.address + path)

    def click(self, button: str) -> None:
        self.page.click(f"#klaro .{button}")

    def await_delivery(self) -> None:
        self.page.wait_for_function(TOLD)
        self.page.wait_for_function(NOTHING_WAITS)
        self.server.store_all()

    def ledger(self) -> list[tuple[str, str]]:
        return [(row["purpose"], row["state"]) for row in self.server.database.execute(LEDGER, (self.origin.id,))]

    def permits(self, purpose: Purpose) -> bool:
        rows = self.server.database.execute(PERMITTED, (self.origin.id,)).fetchall()
        return any(row["permitted"] & purpose.bit for row in rows)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if missing := sdks.missing_for(ANALYTICS):
        (pytest.fail if sdks.is_ci() else pytest.skip)(f"needs {missing}")
    with running("snippet") as server:
        for mapping in MAPPED:
            server.database.execute(MAP, (server.workspace_id, *mapping))
        server.database.execute(BE_VENDOR, (server.workspace_id, VENDOR))
        for purpose in (Purpose.ADVERTISING, Purpose.ANALYTICS, Purpose.LEARNING):
            server.database.execute(ASK, (server.workspace_id, purpose, purpose.bit))
        yield server


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, CHROMIUM))), args=QUIET
        )
        yield chromium
        chromium.close()


@pytest.fixture
def shop(server, chromium) -> Iterator[Shop]:
    origin = server.new_origin()
    with site(server, origin) as address:
        context = chromium.new_context()
        shop = Shop(server, origin, context, context.new_page(), address)
        context.on("request", lambda request: shop.sent.append(request) if "/v1/batch" in request.url else None)
        shop.page.on("pageerror", lambda error: shop.complaints.append(str(error)))
        yield shop
        context.close()
    assert shop.complaints == []


@contextmanager
def site(server: Server, origin: Origin) -> Iterator[str]:
    """`/klaro` and `/klaro-fr` have the banner, `/google` has Consent Mode, and any other page has no banner at all."""
    files = {
        "/klaro.js": installed_by_npm(BANNERS) / "node_modules" / "klaro" / "dist" / "klaro.js",
        "/analytics.js": sdks.install(ANALYTICS) / "node_modules" / str(ANALYTICS) / "dist" / "umd" / "index.js",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = files.get(self.path)
            body = file.read_bytes() if file else page_at(self.path, server, origin).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if file else "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def page_at(path: str, server: Server, origin: Origin) -> str:
    lang = "fr" if path == "/klaro-fr" else "en"
    has_klaro = path.startswith("/klaro")
    before = WITH_KLARO.format(config=json.dumps({**KLARO, "lang": lang})) if has_klaro else ""
    listens_to = "klaro" if has_klaro else path.strip("/")
    return PAGE.format(
        lang=lang, before=before, address=server.url, key=origin.write_key, listens_to=listens_to
    )  # fmt: skip


# -- klaro ----------------------------------------------------------------------------------------------------------


def test_snippet__where_nothing_is_clicked__keeps_and_sends_nothing(shop):
    shop.open()
    shop.page.wait_for_selector("#klaro .cm-btn-success")
    shop.page.wait_for_function(LISTENS)

    shop.page.wait_for_timeout(500)

    shop.server.store_all()
    assert (shop.sent, shop.ledger()) == ([], [])
    assert shop.page.evaluate("[Object.keys(localStorage), document.cookie]") == [[], ""]


def test_snippet__of_a_refusal__records_it_and_nothing_is_permitted(shop):
    shop.open()

    shop.click("cn-decline")
    shop.await_delivery()

    assert sorted(shop.ledger()) == [("advertising", "REFUSED"), ("analytics", "REFUSED")]
    assert not shop.permits(Purpose.ADVERTISING)
    (event,) = shop.server.events_of(shop.origin)
    assert (event["kind"], event["name"]) == ("track", "Consent Preference Updated")
    assert event["context"]["consent"] == {"categoryPreferences": {"pixel": False, "statistics": False}}
    assert event["context"]["page"] == {"url": f"{shop.address}/klaro"}


def test_snippet__of_consent_that_is_withdrawn__records_both(shop):
    shop.open()
    shop.click("cm-btn-success")
    shop.await_delivery()
    assert sorted(shop.ledger()) == [("advertising", "GIVEN"), ("analytics", "GIVEN")]
    assert shop.permits(Purpose.ADVERTISING)

    shop.page.evaluate("klaro.show(undefined, true)")
    shop.click("cm-purposes label[for=purpose-item-marketing]")
    shop.click("cm-btn-accept")
    shop.page.wait_for_function("() => JSON.parse(localStorage.getItem('tessera_consent')).said.klaro.pixel === false")
    shop.await_delivery()

    assert sorted(shop.ledger()) == [("advertising", "GIVEN"), ("advertising", "WITHDRAWN"), ("analytics", "GIVEN")]
    assert not shop.permits(Purpose.ADVERTISING)
    assert shop.permits(Purpose.ANALYTICS)


def test_snippet__on_a_page_that_is_loaded_again__says_nothing_anew(shop):
    shop.open()
    shop.click("cn-decline")
    shop.await_delivery()

    for path in ("/klaro?again", "/klaro"):
        shop.open(path)
        shop.page.wait_for_function(LISTENS)
    shop.page.wait_for_timeout(300)

    shop.server.store_all()
    assert (len(shop.sent), len(shop.ledger())) == (1, 2)


def test_snippet__offline__waits_and_sends_once(shop):
    shop.open()
    shop.page.wait_for_selector("#klaro .cm-btn-success")
    shop.page.wait_for_function(LISTENS)
    shop.context.set_offline(True)
    shop.click("cm-btn-success")
    shop.page.wait_for_function(TOLD)
    shop.page.wait_for_timeout(300)
    assert shop.server.events_of(shop.origin) == []

    shop.context.set_offline(False)
    shop.await_delivery()

    assert len(shop.server.events_of(shop.origin)) == 1
    assert sorted(shop.ledger()) == [("advertising", "GIVEN"), ("analytics", "GIVEN")]


def test_snippet__whose_server_does_not_answer__tells_it_on_the_next_page(shop):
    shop.context.route("**/v1/batch", lambda route: route.abort())
    shop.open()
    shop.click("cm-btn-success")
    shop.page.wait_for_function(TOLD)
    shop.context.unroute("**/v1/batch")

    shop.open("/klaro?next")
    shop.await_delivery()

    assert len(shop.server.events_of(shop.origin)) == 1
    assert sorted(shop.ledger()) == [("advertising", "GIVEN"), ("analytics", "GIVEN")]


def test_snippet__beside_a_french_banner__records_the_same(shop):
    shop.open("/klaro-fr")

    assert "Je refuse" in shop.page.inner_text("#klaro")
    shop.click("cn-decline")
    shop.await_delivery()

    assert sorted(shop.ledger()) == [("advertising", "REFUSED"), ("analytics", "REFUSED")]


def test_snippet__of_a_browser_that_asserts_gpc__permits_no_advertising(shop):
    shop.page.add_init_script("Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true })")
    shop.open()

    shop.click("cm-btn-success")
    shop.await_delivery()

    assert sorted(shop.ledger()) == [("advertising", "REFUSED"), ("analytics", "GIVEN")]
    assert not shop.permits(Purpose.ADVERTISING)


def test_snippet__before_analytics_js__gives_it_the_same_anonymous_id(shop):
    shop.open()
    shop.click("cm-btn-success")
    shop.await_delivery()

    shop.page.add_script_tag(url="/analytics.js")
    settings = {"writeKey": shop.origin.write_key, "cdnURL": shop.server.url}
    shop.page.evaluate("(settings) => AnalyticsNext.AnalyticsBrowser.load(settings).track('Viewed')", settings)
    shop.server.store_all()

    events = shop.server.events_of(shop.origin)
    assert {event["name"] for event in events} == {"Consent Preference Updated", "Viewed"}
    assert len({event["identifier"] for event in events}) == 1


# -- other ways of saying it ----------------------------------------------------------------------------------------


def test_snippet__told_by_the_page__takes_true_and_false_alone(shop):
    shop.open("/")

    shop.page.evaluate("tessera.consent({ pixel: 'false', statistics: 1 })")
    shop.page.evaluate("tessera.consent({ pixel: true, statistics: null })")
    shop.await_delivery()

    assert (len(shop.sent), shop.ledger()) == (1, [("advertising", "GIVEN")])


def test_snippet__of_consent_mode__hears_updates_and_no_defaults(shop):
    gtag = "window.dataLayer = window.dataLayer || []; window.gtag = function () { dataLayer.push(arguments) };"
    shop.page.add_init_script(f"{gtag} gtag('consent', 'default', {{ ad_storage: 'granted' }});")
    shop.open("/google")
    shop.page.wait_for_load_state("networkidle")
    assert shop.sent == []

    shop.page.evaluate("gtag('consent', 'update', { ad_storage: 'denied', analytics_storage: 'granted' })")
    shop.await_delivery()

    assert shop.ledger() == [("advertising", "REFUSED")]
    assert len(shop.sent) == 1


CMP = """
window.listeners = [];
window.%s = (...given) => window.listeners.push(given.find((each) => typeof each === "function"));
window.hears = (said) => window.listeners.forEach((listener) => listener(said, true));
"""


def test_snippet__of_a_cmp_of_tcf__sends_its_string_once_there_is_an_answer(shop):
    string = f"{tc_core(consents=(1, 4), vendors=(VENDOR,))}.{tc_vendors(1, (VENDOR,))}"
    shop.page.add_init_script(CMP % "__tcfapi")
    shop.open("/tcf")
    shop.page.wait_for_function("() => listeners.length === 1")
    for event in ("cmpuishown", "useractioncomplete", "tcloaded"):
        shop.page.evaluate("(said) => hears(said)", {"eventStatus": event, "gdprApplies": True, "tcString": string})
        assert shop.page.evaluate(TOLD) is (event != "cmpuishown")

    shop.await_delivery()

    (event,) = shop.server.events_of(shop.origin)
    assert event["context"]["consent"] == {"tcString": string}
    assert (len(shop.sent), shop.ledger()) == (1, [("advertising", "GIVEN")])


def test_snippet__of_a_cmp_of_gpp__sends_its_string_with_the_sections_in_force(shop):
    shop.page.add_init_script(CMP % "__gpp")
    shop.open("/gpp")
    shop.page.wait_for_function("() => listeners.length === 1")
    ping = {"gppString": "DBABTA~1YYN", "applicableSections": [6]}
    for status in ("not ready", "ready", "ready"):
        shop.page.evaluate("(said) => hears(said)", {"pingData": {**ping, "signalStatus": status}})

    shop.await_delivery()

    (event,) = shop.server.events_of(shop.origin)
    assert event["context"]["consent"] == ping
    assert (len(shop.sent), shop.ledger()) == (1, [("advertising", "REFUSED")])


# As the stubs that the IAB publishes: what is asked before the CMP is there waits, and is answered when it is.
STUBS = """
for (const name of ["__tcfapi", "__gpp"]) {
  const waiting = [];
  window[name] = (...given) => waiting.push(given);
  window[name + "Arrives"] = (cmp) => { window[name] = cmp; waiting.forEach((given) => cmp(...given)); };
}
window.dataLayer = window.dataLayer || [];
window.gtag = function () { dataLayer.push(arguments) };
gtag("consent", "default", { ad_storage: "denied", ad_user_data: "denied", wait_for_update: 500 });
gtag("js", new Date());
"""
TCF_ARRIVES = """
(said) => __tcfapiArrives((command, version, callback) => {
  if (command !== "addEventListener" || version !== 2) throw new Error(`${command} ${version}`);
  const data = { ...said, tcfPolicyVersion: 5, cmpId: 880, cmpVersion: 3, cmpStatus: "loaded", listenerId: 7 };
  callback({ ...data, eventStatus: "cmpuishown" }, true);
  callback({ ...data, eventStatus: "useractioncomplete" }, true);
  callback(null, false);
})
"""
GPP_ARRIVES = """
(said) => __gppArrives((command, callback) => {
  if (command !== "addEventListener") throw new Error(command);
  const ping = (signalStatus) => ({ ...said, gppVersion: "1.1", cmpStatus: "loaded", cmpId: 880, signalStatus });
  const event = (eventName, data) => ({ eventName, listenerId: 7, data, pingData: ping(data) });
  callback({ eventName: "listenerRegistered", listenerId: 7, data: true, pingData: ping("not ready") }, true);
  callback(event("signalStatus", "not ready"), true);
  callback(event("signalStatus", "ready"), true);
})
"""


def test_snippet__beside_all_three_interfaces_before_their_cmp_is_there__sends_each_string_as_it_is(shop):
    string = f"{tc_core(consents=(1, 4), vendors=(VENDOR,))}.{tc_vendors(1, (VENDOR,))}"
    ping = {"gppString": "DBABTA~1YYN", "applicableSections": [6]}
    shop.page.add_init_script(STUBS)
    shop.open("/google,tcf,gpp")
    shop.page.wait_for_load_state("networkidle")
    assert shop.sent == []

    shop.page.evaluate("gtag('consent', 'update', { ad_storage: 'denied', analytics_storage: 'granted' })")
    shop.await_delivery()
    shop.page.evaluate(TCF_ARRIVES, {"tcString": string, "gdprApplies": True})
    shop.await_delivery()
    shop.page.evaluate(GPP_ARRIVES, ping)
    shop.await_delivery()

    events = sorted(shop.server.events_of(shop.origin), key=lambda event: event["occurred_at"])
    assert [event["context"]["consent"] for event in events] == [
        {"categoryPreferences": {"ad_storage": False, "analytics_storage": True}}, {"tcString": string}, ping,
    ]  # fmt: skip
    assert shop.ledger() == [("advertising", "REFUSED"), ("advertising", "GIVEN"), ("advertising", "WITHDRAWN")]


def test_snippet__where_the_gdpr_does_not_apply__takes_no_string(shop):
    shop.page.add_init_script(STUBS)
    shop.open("/tcf")

    shop.page.evaluate(TCF_ARRIVES, {"tcString": "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA", "gdprApplies": False})
    shop.page.wait_for_timeout(300)

    assert (shop.sent, shop.page.evaluate("Object.keys(localStorage)")) == ([], [])


def test_snippet__with_a_wrong_key__says_so_and_tells_it_on_the_next_page(shop):
    errors = []
    shop.page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    shop.context.route("**/v1/batch", lambda route: route.fulfill(status=401, json={"code": "unknown_write_key"}))
    shop.open("/")

    shop.page.evaluate("tessera.consent({ pixel: true })")
    shop.page.wait_for_function("() => localStorage.getItem('tessera_consent') === null")

    assert any("is the write key right?" in text for text in errors)
    assert len(shop.sent) == 1
    assert shop.page.evaluate(NOTHING_WAITS)
