"""networking.cors: pages of other sites, asked as browsers ask, and by one."""

import http.server
import json
import shutil
import subprocess
import threading

import pytest

from soma import projects
from soma.client import Raw, error_of
from soma.waiting import seconds, wait_for

PAGE = "https://app.example.com"
OTHER = "https://evil.example"
BROWSER = next(filter(None, map(shutil.which, (
    "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))), None)
NEEDS = "Access-Control-Request-Method"


def origin_keys(*origins, **more):
    return {"networking": {"cors": {"allow_origins": list(origins), **more}}}


@pytest.fixture(scope="module")
def apis(daemon):
    daemon.admin.deploy(projects.probe_project(
        projects.probe_api("own"),
        projects.probe_api("none", **origin_keys()),
        projects.probe_api("all", **origin_keys("*")),
        projects.probe_api("named", **origin_keys(
            PAGE, "http://localhost:3000", allow_methods=["POST", "PUT"], allow_headers=["content-type", "x-key"],
            expose_headers=["x-count"], allow_credentials=True, max_age="10m")),
        projects.probe_api("trusted", **origin_keys(PAGE, allow_credentials=True))))
    daemon.admin.deploy(projects.python_project(projects.predictor("return payload")))
    return daemon


def marks(answer):
    """Its CORS headers and Vary, by short names; each once."""
    found = {}
    for name, value in answer.raw.headers.items():
        short = name.lower().replace("access-control-", "")
        if short != name.lower() or short == "vary":
            assert short not in found, f"{name} twice"
            found[short] = value
    return found


def ask(daemon, path, origin=PAGE, method="POST", headers=None):
    """A browser's question before a request."""
    more = {"Access-Control-Request-Headers": headers} if headers else {}
    return daemon.admin.call_data("OPTIONS", path, headers={"Origin": origin, NEEDS: method, **more})


def test_a_question_is_answered_for_all_origins(apis):
    answer = ask(apis, "/all/any/path", headers="authorization,content-type")
    assert answer.status_code == 204 and not answer.content
    assert marks(answer) == {"allow-origin": "*", "allow-methods": "POST", "max-age": "1728000",
                             "allow-headers": "authorization,content-type"}
    assert not apis.admin.get("/all/seen").json(), "a replica was asked"


def test_a_question_is_answered_for_named_origins(apis):
    answer = ask(apis, "/named", headers="x-key")
    assert answer.status_code == 204
    assert marks(answer) == {"allow-origin": PAGE, "allow-credentials": "true", "allow-methods": "POST, PUT",
                             "allow-headers": "content-type, x-key", "max-age": "600", "vary": "Origin"}
    assert marks(ask(apis, "/named", origin="http://localhost:3000"))["allow-origin"] == "http://localhost:3000"


def test_with_credentials_nothing_is_a_star(apis):
    answer = ask(apis, "/trusted", method="PATCH", headers="authorization")
    assert marks(answer) == {"allow-origin": PAGE, "allow-credentials": "true", "allow-methods": "PATCH",
                             "allow-headers": "authorization", "max-age": "1728000", "vary": "Origin"}
    assert "allow-headers" not in marks(ask(apis, "/trusted"))


@pytest.mark.parametrize("origin", [OTHER, PAGE + ".evil.example", PAGE + ":443", "null", "http://app.example.com"])
def test_another_origin_is_refused_in_words(apis, origin):
    answer = ask(apis, "/named", origin=origin)
    error = error_of(answer, 403, "forbidden")
    assert error["message"] == f"pages of '{origin}' may not call 'named': it is not in networking.cors.allow_origins"
    assert error["api"] == "named" and marks(answer) == {"vary": "Origin"}
    # What is no question is served: CORS keeps pages from reading, not others from asking.
    answer = apis.admin.post("/named/echo", headers={"Origin": origin})
    assert answer.status_code == 200 and marks(answer) == {"vary": "Origin"}


def test_answers_of_replicas_are_marked(apis):
    answer = apis.admin.post("/named/echo", headers={"Origin": PAGE})
    assert marks(answer) == {"allow-origin": PAGE, "allow-credentials": "true", "expose-headers": "x-count",
                             "vary": "Origin"}
    answer = apis.admin.post("/all/echo", headers={"Origin": OTHER})
    assert marks(answer) == {"allow-origin": "*", "expose-headers": "*"}
    # The replica hears of the origin as it was.
    assert ["Origin", OTHER] in answer.json()["headers"]
    # Nobody's page asked: nothing is added, but to what a cache may keep.
    assert marks(apis.admin.post("/all/echo")) == {} == marks(apis.admin.post("/named/echo"))
    assert marks(apis.admin.get("/all/echo")) == {"allow-origin": "*"}
    assert marks(apis.admin.get("/named/echo")) == {"vary": "Origin"}


def test_a_replicas_own_headers_are_left_out_where_the_api_has_rules(apis):
    query = ("?Access-Control-Allow-Origin=https://a&access-control-allow-credentials=true"
             "&Access-Control-Max-Age=5&X-Count=7&Vary=Accept")
    answer = apis.admin.post("/all/headers" + query, headers={"Origin": OTHER})
    assert marks(answer) == {"allow-origin": "*", "expose-headers": "*", "vary": "Accept"}
    assert answer.headers["X-Count"] == "7"
    for name in ("own", "none"):
        answer = apis.admin.post(f"/{name}/headers" + query, headers={"Origin": OTHER})
        assert marks(answer) == {"allow-origin": "https://a", "allow-credentials": "true", "max-age": "5",
                                 "vary": "Accept"}


def test_a_program_answers_its_own_questions(apis):
    for path in ("/own/headers", "/none/headers"):
        answer = ask(apis, path + "?Allow=X")
        assert answer.status_code == 200 and answer.json() == {"method": "OPTIONS"}
    # And an OPTIONS that is no browser's question, whatever the rules are.
    answer = apis.admin.call_data("OPTIONS", "/all/headers?Allow=POST")
    assert answer.status_code == 200 and answer.headers["Allow"] == "POST"


def test_predictors_have_cortex_s_answer(apis):
    answer = apis.admin.call_data("OPTIONS", "/echo")
    assert answer.status_code == 204
    assert marks(answer) == {"allow-origin": "*", "allow-methods": "*", "allow-headers": "*", "max-age": "1728000"}
    answer = apis.admin.post("/echo", json=[1], headers={"Origin": OTHER})
    assert answer.json() == [1] and marks(answer) == {"allow-origin": "*", "expose-headers": "*"}


def test_our_own_errors_are_marked(apis):
    answer = apis.admin.post("/echo/below", headers={"Origin": OTHER})
    error_of(answer, 404, "not_found")
    assert marks(answer)["allow-origin"] == "*"
    answer = apis.admin.post("/nowhere", headers={"Origin": OTHER})
    error_of(answer, 404, "not_found")
    assert not marks(answer), "there is no api that could have rules"


def test_without_a_replica_pages_still_hear(own_daemon):
    slow = projects.probe_api("slow", predictor={"command": ["/bin/sleep", "1000"]}, request_timeout="200ms",
                              **origin_keys(PAGE))
    answer = own_daemon.admin.send(projects.probe_project(slow))
    assert answer.status_code == 200
    wait_for("it is there", lambda: own_daemon.admin.call("GET", "/v1/apis/slow").status_code == 200)
    assert ask(own_daemon, "/slow").status_code == 204
    answer = own_daemon.admin.post("/slow/x", headers={"Origin": PAGE})
    error_of(answer, 503, "unavailable")
    assert marks(answer)["allow-origin"] == PAGE


def test_headers_of_a_stream_and_of_http_1_0(apis):
    with Raw(apis.port) as raw:
        raw.send(b"POST /all/echo HTTP/1.0\r\nOrigin: https://x\r\nContent-Length: 2\r\n\r\nhi")
        assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in raw.all()


PAGE_TEXT = """<!doctype html><title>x</title><pre id=said></pre><script>
async function call(path, options) {
  try {
    const answer = await fetch("%s" + path, options);
    return [answer.status, answer.headers.get("x-count"), answer.headers.get("x-other")];
  } catch (e) { return ["refused"]; }
}
(async () => {
  const json = {method: "POST", headers: {"content-type": "application/json", "authorization": "Bearer x"}, body: "[1]"};
  const said = {
    all: await call("/all/headers?X-Count=7&X-Other=8", json),
    predictor: await call("/echo", json),
    missing: await call("/echo/below", json),
    other: await call("/named/headers?X-Count=7", json),
    here: await call("/here/headers?X-Count=7&X-Other=8", {...json, credentials: "include"}),
    method: await call("/here/headers", {...json, method: "DELETE"}),
    own: await call("/own/headers", json),
    ruled: await call("/all/headers?Access-Control-Allow-Origin=https://a", json),
  };
  document.getElementById("said").textContent = JSON.stringify(said);
})();
</script>"""


@pytest.mark.skipif(not BROWSER, reason="wants a headless chromium")
def test_a_real_browser(apis, tmp_path):
    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = (PAGE_TEXT % apis.url).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{site.server_port}"
        apis.admin.deploy(projects.probe_project(projects.probe_api("here", **origin_keys(
            page, allow_methods=["POST"], expose_headers=["x-count"], allow_credentials=True))))
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
             "--virtual-time-budget=10000", "--dump-dom", page],
            capture_output=True, text=True, timeout=seconds(60), check=False)
        site.shutdown()
    text = done.stdout.partition("id=\"said\">")[2].partition("</pre>")[0]
    assert text, done.stdout + done.stderr
    assert json.loads(text) == {
        "all": [200, "7", "8"], "predictor": [200, None, None], "missing": [404, None, None],
        "other": ["refused"], "here": [200, "7", None], "method": ["refused"], "own": ["refused"],
        "ruled": [200, None, None]}
