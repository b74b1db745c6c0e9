"""`demonstrably elicit`: the dialogue in the terminal and on the page, and mistakes in one line."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from demonstrably.cli.elicit_cases import read_cases
from demonstrably.cli.elicit_page import Wording, serve
from demonstrably.cli.main import main
from demonstrably.decisions.elicit import elicit
from demonstrably.decisions.elicit_session import ElicitSession
from demonstrably.decisions.elicitation import Settings

EXACT = ["--wrong", "0", "--precision", "0.1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder of its own, with cases.csv in it."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},Ann {i},{20 + i},{'' if i == 3 else 'low'},{(i + 0.5) / 20}" for i in range(20)]
    Path("cases.csv").write_text("\n".join(["id,full_name,age,pressure,risk", *rows]) + "\n")
    return tmp_path


def typed(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_the_question_asks_for_the_decision_in_its_word(monkeypatch, capsys):
    typed(monkeypatch, "q\n")
    assert main(["elicit", *EXACT, "--yes", "operate", "--no", "wait"]) == 0
    assert "Would you decide operate? [y: operate, n: wait" in capsys.readouterr().err


def test_the_dialogue(monkeypatch, capsys):
    typed(monkeypatch, "y\nmaybe\nn\n\nN\n\n")
    assert main(["elicit", *EXACT, "--question", "Would you treat?", "--yes", "treat", "--no", "wait"]) == 0
    out, err = capsys.readouterr()
    assert "Question 1\n  probability: 50 %\nWould you treat? [y: treat, n: wait, u: take the last answer back" in err
    assert "Question 3\n  probability: 37.5 %" in err and "'maybe' is not understood" in err and "'?' is not" in err
    assert out.startswith("relative cost of a false positive: 0.4375, in (0.375, 0.5] for certain, if every answer is")
    assert out == f"{elicit(lambda question: question.probability > 0.4, None, precision=0.1)}\n"


def test_json_and_the_page(monkeypatch, capsys, folder):
    typed(monkeypatch, "y\nn\nn\n")
    assert main(["elicit", *EXACT, "--json", "--html", "found.html"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["interval"] == [0.375, 0.5] and str(folder / "found.html") in err
    assert "0.4375" in (folder / "found.html").read_text()


def test_stopping_and_going_on_and_taking_back(monkeypatch, capsys):
    for text, stops in (("y\nq\n", True), ("n\n", True), ("u\nu\nu\ny\nn\n", True), ("n\nu\nn\n\n", False)):
        typed(monkeypatch, text)
        assert main(["elicit", *EXACT, "--json"]) == 0
        out, err = capsys.readouterr()
        assert ("the same command goes on from there" in err) == stops
        assert "there is no answer to take back" in err or not text.startswith("u")
    assert json.loads(out)["interval"] == [0.375, 0.5]
    assert "going on; answers kept in elicitation.jsonl: 2" in err and "That is all." in err
    typed(monkeypatch, "")
    assert main(["elicit", *EXACT, "--json"]) == 0
    assert capsys.readouterr().out == out
    assert main(["elicit", *EXACT, "--restart", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["interval"] == [0, 1]
    assert len(Path("elicitation.1.jsonl").read_text().splitlines()) > 5


def test_cases_are_shown_without_names_of_people(monkeypatch, capsys):
    typed(monkeypatch, "y\n" * 10)
    words = ["cases.csv", "--posterior", "risk", "--show-progress"]
    assert main(["elicit", *words, *EXACT]) == 0
    err = capsys.readouterr().err
    assert "not shown, since they look like names of people: full_name; --show shows what it names" in err
    assert "  probability: 47.5 %\n  id: 9\n  age: 29\n  pressure: low\n" in err and "Ann" not in err
    assert "between 0 and 0.475\n" in err
    typed(monkeypatch, "y\n" * 10)
    words = ["cases.csv", "--posterior", "risk", "--show", "full_name", "pressure", "--hide-probability"]
    assert main(["elicit", *words, *EXACT, "--journal", "other.jsonl"]) == 0
    err = capsys.readouterr().err
    assert "Question 1\n  full_name: Ann 9\n  pressure: low\nWould" in err and "probability" not in err
    assert "between 0" not in err


def test_parquet_and_packed_csv(folder):
    import gzip

    import pyarrow.parquet
    from pyarrow import csv

    table = csv.read_csv("cases.csv", convert_options=csv.ConvertOptions(strings_can_be_null=True))
    pyarrow.parquet.write_table(table, "cases.parquet")
    Path("cases.csv.gz").write_bytes(gzip.compress(Path("cases.csv").read_bytes()))
    kinds = "csv", "parquet", "csv.gz"
    one, *others = (read_cases(folder / f"cases.{kind}", "risk", (), hidden=False) for kind in kinds)
    for other in others:
        assert np.array_equal(one.posterior, other.posterior) and one.shown.equals(other.shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "there is no file nowhere.csv; there are: cases.csv"),
        (["cases.txt"], "cases.txt: cannot tell what this is; give a file that ends in .csv"),
        (["cases.csv"], "has no column 'posterior'; there are: id, full_name, age, pressure, risk"),
        (["cases.csv", "--posterior", "rsik"], "has no column 'rsik'; did you mean 'risk'?"),
        (["cases.csv", "--posterior", "risk", "--show", "agee"], "has no column 'agee'; did you mean 'age'?"),
        (["cases.csv", "--posterior", "full_name"], "column 'full_name' holds string"),
        (["cases.csv", "--posterior", "age"], "the posterior of row 0 is 20 (20 such rows): give probabilities in [0,"),
        (["empty.csv", "--posterior", "risk"], "column 'risk' is empty in 2 rows, first in row 1"),
        (["--show", "age"], "--show and --hide-probability are about cases"),
        (["--precision", "0.5"], "precision 0.5: give a half-width in (0, 0.5)"),
        (["--precision", "soon"], "--precision"),
        (["--presicion", "0.1"], "unknown flag --presicion for `demonstrably elicit`; did you mean --precision?"),
        (["--wrong", "0.6"], "wrong 0.6: give a bound on the chance"),
        (["--port", "70000", "--web"], "--port 70000: give a number from 0"),
        (["--port", "8000"], "--port is about the page: give --web with it"),
        (["--html", "."], "--html . is a folder"),
        (["--journal", "cases.csv"], "cases.csv line 1 is no JSON"),
        (["--journal", "."], "Is a directory"),
    ],
)
def test_mistakes_are_one_line_and_status_2(monkeypatch, capsys, arguments, message):
    Path("cases.txt").write_text("")
    Path("empty.csv").write_text("risk,b\n0.5,1\n,2\n,3\n")
    typed(monkeypatch, "")
    assert main(["elicit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("demonstrably: error: ") and message in err and err.count("\n") == 1 and not out


def test_another_question_is_another_elicitation(monkeypatch, capsys):
    typed(monkeypatch, "y\n")
    assert main(["elicit"]) == 0
    assert main(["elicit", "--yes", "treat"]) == 2
    err = capsys.readouterr().err
    assert "is the journal of another elicitation (about 'Would you decide yes? yes/no' there" in err


def test_interrupting_keeps_the_answers_and_says_how_to_go_on(folder):
    command = [sys.executable, "-m", "demonstrably.cli.main", "elicit"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=folder, **pipes) as child:
        child.stdin.write("y\nn\n")
        child.stdin.flush()
        kept = folder / "elicitation.jsonl"
        for _ in range(600):
            if kept.exists() and len(kept.read_text().splitlines()) == 3:
                break
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 130 and not out and len(kept.read_text().splitlines()) == 3
    assert err.endswith("interrupted; the answers are kept in the journal; the same command goes on from there\n")


def test_help_loads_no_numbers():
    code = (
        "import sys\nfrom demonstrably.cli import elicit\ntry: elicit.main(['--help'])\nexcept SystemExit: pass\n"
        "print({'numpy', 'scipy', 'pyarrow', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.splitlines()[-1] == "set()"


class Served:
    """A page that is served from a thread, and requests to it."""

    def __init__(self, session, facts=None, progress=False, wording=("Would you treat?", "treat", "wait")):
        told = []
        arguments = session, facts or (lambda question: [("probability", str(question.probability))])
        self.thread = threading.Thread(
            target=serve, args=(*arguments, Wording(*wording, progress), 0), kwargs={"announce": told.append}
        )
        self.thread.start()
        while len(told) < 2:
            time.sleep(0.005)
        self.url = re.search(r"http://\S+/", told[0]).group()
        self.port = int(self.url.split(":")[2].split("/")[0])
        self.origin = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # it may be about to end
            self.post("finish", {"number": self.get("state")[1]["number"]})
        self.thread.join(10)
        assert not self.thread.is_alive()

    def get(self, path="", base=None, **headers):
        return self._send(urllib.request.Request((base or self.url) + path, headers=headers))

    def post(self, path, given, base=None, **headers):
        sent = {"Content-Type": "application/json", "Origin": self.origin}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = given if isinstance(given, bytes) else json.dumps(given).encode()
        return self._send(urllib.request.Request((base or self.url) + path, data, sent))

    def _send(self, request):
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                status, headers, body = reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, headers, body = error.code, error.headers, error.read().decode()
        self.headers = headers
        return status, json.loads(body) if headers["Content-Type"].startswith("application/json") else body


def exact(precision=0.1, **settings):
    return ElicitSession(None, Settings(precision, **settings))


def test_the_page_answers_to_its_own_address_only():
    session = exact()
    with Served(session) as page:
        status, text = page.get()
        assert status == 200 and "Would you treat?" in text and "treat <kbd>" in text
        policy = page.headers["Content-Security-Policy"]
        nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy).group(1)
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
        assert f'<script nonce="{nonce}">' in text
        assert page.headers["Cache-Control"] == "no-store" and page.headers["Referrer-Policy"] == "no-referrer"
        given = {"number": 1, "decision": True}
        stranger = f"{page.origin}/"
        for path in ("", "state", "x" * 32 + "/state", "x" * 32 + "/", "é/state"):
            assert page.get(urllib.parse.quote(path), base=stranger) == (403, "not allowed")
        assert page.post("answer", given, base=stranger + "x" * 32 + "/") == (403, "not allowed")
        assert page.get("state", Host=f"evil.example:{page.port}")[0] == 403
        evil = {"Host": f"evil.example:{page.port}", "Origin": f"http://evil.example:{page.port}"}
        assert page.post("answer", given, **evil)[0] == 403
        near = f"http://localhost:{page.port}", f"https://127.0.0.1:{page.port}"
        for origin in ("http://evil.example", "null", "", *near):
            assert page.post("answer", given, Origin=origin)[0] == 403
        assert page.post("answer", given, Content_Type="text/plain")[0] == 403
        for body in (b"{", b"[1]", b"", b"\xff"):
            assert page.post("answer", body)[0] == 403
        assert page.post("answer", b" ", Content_Length="20000")[0] == 403  # refused before it is read
        assert session.answered == 0
        assert page.get("elsewhere") == (404, "nothing here")
        assert page.get(base=f"http://localhost:{page.port}/{page.url.split('/')[3]}/")[0] == 200
        assert page.post("answer", given)[0] == 200 and session.answered == 1


def test_the_page_keeps_answers_in_step():
    session = exact()
    with Served(session) as page:
        shown = {"number": 1, "finished": False, "progress": None, "repeated": False}
        assert page.get("state")[1] == {**shown, "facts": [["probability", "0.5"]]}
        assert page.post("answer", {"number": 1, "decision": True})[1]["number"] == 2
        assert page.post("answer", {"number": 1, "decision": True})[0] == 409  # clicked twice
        assert page.post("answer", {"number": 2, "decision": "yes"})[0] == 400
        assert page.post("dance", {"number": 2})[0] == 400
        assert page.post("answer", {"decision": True})[0] == 409
        assert page.post("take-back", {"number": 2})[1]["number"] == 1
        for number, decision in enumerate([True, False, False], start=1):
            state = page.post("answer", {"number": number, "decision": decision})[1]
        assert state["lines"][0].startswith("relative cost of a false positive: 0.4375") and not state["finished"]
        assert page.post("answer", {"number": 4, "decision": True})[0] == 400
        assert page.post("finish", {"number": 4})[1]["finished"]
        page.thread.join(10)
        assert not page.thread.is_alive()
    assert session.result().interval == (0.375, 0.5)


def test_progress_is_shown_only_if_asked_for():
    with Served(exact(), progress=True) as page:
        assert page.post("answer", {"number": 1, "decision": True})[1]["progress"] == "between 0 and 0.5"


def test_an_answer_that_cannot_be_kept_is_told(tmp_path):
    session = ElicitSession(None, Settings(0.1), journal=tmp_path / "kept.jsonl")
    (tmp_path / "kept.jsonl").unlink()
    (tmp_path / "kept.jsonl").mkdir()
    with Served(session) as page:
        status, state = page.post("answer", {"number": 1, "decision": True})
        assert status == 507 and "Not kept: " in state["problem"] and state["number"] == 1


def test_a_port_in_use_is_one_line(monkeypatch, capsys):
    with Served(exact()) as page:
        assert main(["elicit", "--web", "--port", str(page.port)]) == 2
        assert f"port {page.port} is in use: give another" in capsys.readouterr().err


def opened(browser, page, **options):
    """The page in a browser, with what it logged and asked for."""
    shown = browser.new_context(**options).new_page()
    shown.logged, shown.requests = [], []
    shown.on("console", lambda message: shown.logged.append(message.text))
    shown.on("pageerror", lambda error: shown.logged.append(str(error)))
    shown.on("request", lambda request: shown.requests.append(request.url))
    shown.goto(page.url)
    shown.wait_for_selector("#yes:enabled")
    return shown


@pytest.mark.browser
def test_a_person_answers_by_keyboard_and_sees_the_result(browser):
    session = exact()
    facts = lambda question: [("probability", f"{question.probability}"), ("<b>note</b>", "<i>x</i>")]  # noqa: E731
    with Served(session, facts) as page:
        shown = opened(browser, page)
        assert shown.locator("h1").inner_text() == "Would you treat?" and "0.5" in shown.locator("#facts").inner_text()
        assert shown.locator("#facts i").count() == 0 and "<b>note</b>" in shown.locator("#facts").inner_text()
        for key, then in (("y", "0.25"), ("n", "0.375"), ("u", "0.25"), ("N", "0.375")):
            shown.keyboard.press(key)
            shown.locator("#facts", has_text=then).wait_for()
            shown.wait_for_selector("#yes:enabled")
        assert shown.locator("#progress").is_hidden()
        shown.keyboard.press("n")
        shown.wait_for_selector("#choices", state="hidden")
        assert "0.4375, in (0.375, 0.5]" in shown.locator("#result").inner_text()
        assert shown.locator("h1").inner_text() == "That is all. Thank you."
        shown.locator("#finish").click()
        shown.wait_for_selector("#finish", state="hidden")
        assert "You can close this page" in shown.locator("h1").inner_text()
        assert shown.logged == [] and all(url.startswith(page.url) for url in shown.requests)
        shown.context.close()
    assert session.result().interval == (0.375, 0.5)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_buttons_are_large_on_a_phone_in_both_schemes(browser, scheme):
    with Served(exact(), wording=("Would you treat this one? " * 6, "treat at once " * 3, "wait")) as page:
        shown = opened(browser, page, viewport={"width": 360, "height": 640}, color_scheme=scheme, has_touch=True)
        for name in ("yes", "no"):
            box = shown.locator(f"#{name}").bounding_box()
            assert box["height"] >= 72 and box["width"] >= 140
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        colors = """(name) => {
          const style = getComputedStyle(document.querySelector(name));
          return [style.backgroundColor, style.color];
        }"""
        (back, ink), (_, button) = (shown.evaluate(colors, name) for name in ("body", "#yes"))
        assert ink == button and (back == "rgb(22, 24, 28)") == (scheme == "dark")
        assert shown.locator("[aria-live=polite]").count() == 1
        shown.locator("#no").tap()
        shown.locator("#number", has_text="Question 2").wait_for()
        shown.locator("#take-back").tap()
        shown.locator("#number", has_text="Question 1").wait_for()
        shown.locator("#finish").tap()
        shown.locator("#result", has_text="not identified").wait_for()
        assert shown.logged == []
        shown.context.close()


@pytest.mark.browser
def test_another_page_of_the_browser_can_neither_answer_nor_read(browser):
    session = exact()
    with Served(session) as page, Served(exact()) as other:
        shown = opened(browser, other)  # a page of another origin, which may even know the address
        tried = """async (url) => {
          const send = (body, headers) => fetch(`${url}answer`, { method: "POST", body, headers, mode: "no-cors" });
          const given = JSON.stringify({ number: 1, decision: true });
          const results = [];
          for (const act of [() => send(given, {}), () => send(given, { "Content-Type": "text/plain" }),
                             () => fetch(`${url}state`).then((reply) => reply.json())])
            results.push(await act().then(() => "done", () => "refused"));
          return results;
        }"""
        context = browser.new_context(bypass_csp=True)  # as a page without a policy of its own
        stranger = context.new_page()
        stranger.goto(other.url)
        assert stranger.evaluate(tried, page.url)[2] == "refused"
        assert session.answered == 0
        stranger.set_content(f'<iframe src="{page.url}"></iframe>')
        stranger.wait_for_timeout(200)
        assert not any(frame.url.startswith(page.url) and "treat" in frame.content() for frame in stranger.frames[1:])
        context.close()
        shown.context.close()


@pytest.mark.browser
def test_a_program_that_is_gone_is_told(browser):
    with Served(exact()) as page:
        shown = opened(browser, page)
        page.post("finish", {"number": 1})
        page.thread.join(10)
        shown.keyboard.press("y")
        shown.wait_for_selector("[role=alert]:not([hidden])")
        assert "What was answered is kept" in shown.locator("[role=alert]").inner_text()
        shown.context.close()
