"""A stand-in for the Hugging Face hub: repositories are made, filled in commits and read by the real client."""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_of_jane"
COMMIT = "0" * 40


class Hub(http.server.ThreadingHTTPServer):
    """Files by repository and name; all of them come inside a commit, as the real hub has it of small ones."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    yield hub
    hub.shutdown()
    hub.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        self.server.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            name = f"{body['organization']}/{body['name']}"
            self.server.repositories.setdefault(name, {})
            self._answer(200, {"url": f"{self.server.url}/{name}", "name": name, "id": "1"})
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in body["files"]]
            self._answer(200, {"files": files})
        elif "/commit/" in self.path:
            self._commit(self.path.split("/api/models/")[1].split("/commit/")[0], body)
        else:
            self._answer(404, {"error": f"{self.path} is not played here"})

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = self.server.repositories[repository]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
        url = f"{self.server.url}/{repository}/commit/{COMMIT}"
        self._answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        self.wfile.write(self._file())

    def _file(self) -> bytes:
        repository, _, name = unquote(self.path).lstrip("/").partition("/resolve/main/")
        content = self.server.repositories.get(repository, {}).get(name)
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""

    def _body(self) -> Any:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Type") == "application/x-ndjson":
            return [json.loads(line) for line in content.splitlines()]
        return json.loads(content or b"{}")

    def _answer(self, status: int, values: dict[str, Any]) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
