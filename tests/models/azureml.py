"""What Azure shows a client of Azure Machine Learning: a token endpoint that checks tenant, client and secret, a managed
identity endpoint, Resource Manager's page of a workspace, and the workspace's MLflow endpoint, which wants a bearer token and
has a real MLflow server behind it.

Prints one line of JSON with its port when it serves. `GET /counts` says what was asked so far.
"""

import argparse
import json
import secrets
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCOPE = "/subscriptions/sub-1/resourceGroups/group-1/providers/Microsoft.MachineLearningServices/workspaces/work-1"
MLFLOW = "/mlflow/v2.0" + SCOPE
TENANT = "tenant-1"
# client id -> secret, and what becomes of it. Made up for this server, worth nothing anywhere else.
CLIENTS = {
    "client-1": ("the-right-secret-of-tests", "good"),
    "client-norights": ("the-right-secret-of-tests", "without rights"),
    "client-expired": ("the-right-secret-of-tests", "expired"),
}


class State:
    """Tokens given out, and counts, under one lock."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.lock = threading.Lock()
        self.tokens: dict[str, tuple[str, float]] = {}
        self.counts = {"tokens": 0, "identity_tokens": 0, "served": 0, "unauthorized": 0, "forbidden": 0, "expired": 0}

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def issue(self, client: str) -> dict:
        token = secrets.token_urlsafe(24)
        with self.lock:
            self.tokens[token] = (client, time.monotonic() + self.seconds)
        return {"token_type": "Bearer", "expires_in": int(self.seconds), "access_token": token}

    def holder(self, header: str | None) -> tuple[str | None, bool]:
        """The client of a bearer token that still holds, and whether it was one that holds no more."""
        token = header.removeprefix("Bearer ") if header else ""
        with self.lock:
            client, end = self.tokens.get(token, (None, 0.0))
        if client and time.monotonic() > end:
            return None, True
        return client, False


class Handler(BaseHTTPRequestHandler):
    state: State
    upstream: str

    def log_message(self, form: str, *values) -> None:
        print(f"{self.command} {self.path.split('?')[0]}: {form % values}", file=sys.stderr)

    def say(self, status: int, body: dict | bytes, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self) -> None:
        path = self.path.split("?")[0]
        if path.endswith("/oauth2/v2.0/token"):
            self.token(path.split("/")[1], dict(urllib.parse.parse_qsl(self.body().decode())))
        else:
            self.forward()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/counts":
            self.say(200, self.state.counts)
        elif path == "/metadata/identity/oauth2/token":
            self.identity(dict(urllib.parse.parse_qsl(query)))
        else:
            self.forward()

    def refuse(self, status: int, error: str, text: str) -> None:
        self.say(status, {"error": error, "error_description": text})

    def token(self, tenant: str, form: dict) -> None:
        secret, fate = CLIENTS.get(form.get("client_id", ""), (None, ""))
        if tenant != TENANT:
            self.refuse(400, "invalid_request", f"AADSTS90002: Tenant '{tenant}' not found.")
        elif form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith("/.default"):
            self.refuse(400, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid.")
        elif secret is None:
            self.refuse(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.")
        elif fate == "expired":
            self.refuse(401, "invalid_client", "AADSTS7000222: The provided client secret keys are expired.")
        elif form.get("client_secret") != secret:
            self.refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        else:
            self.state.count("tokens")
            self.say(200, self.state.issue(form["client_id"]))

    def identity(self, query: dict) -> None:
        if self.headers.get("Metadata") != "true" or not query.get("resource"):
            self.refuse(400, "invalid_request", "Required metadata header not specified")
            return
        self.state.count("identity_tokens")
        answer = self.state.issue("client-1")
        self.say(200, {**answer, "expires_in": str(answer["expires_in"]), "resource": query["resource"]})

    def forward(self) -> None:
        """To the workspace's page or to MLflow, if the token holds and its client may."""
        client, expired = self.state.holder(self.headers.get("Authorization"))
        page = self.path.split("?")[0] == SCOPE
        if not page and not self.path.startswith(MLFLOW + "/api/"):
            self.say(404, {"error": {"code": "NotFound", "message": "no such workspace"}})
        elif client is None:
            self.state.count("expired" if expired else "unauthorized")
            self.say(401, {"error": {"code": "Unauthorized", "message": "The token is missing, wrong or expired."}})
        elif CLIENTS[client][1] != "good":
            self.state.count("forbidden")
            text = f"The client '{client}' does not have authorization to perform action 'models/read'."
            self.say(403, {"error": {"code": "AuthorizationFailed", "message": text}})
        elif page:
            host, port = self.server.server_address
            self.say(200, {"properties": {"mlFlowTrackingUri": f"http://{host}:{port}/mlflow/v1.0{SCOPE}"}})
        else:
            self.state.count("served")
            self.ask(self.path.removeprefix(MLFLOW))

    def ask(self, path: str) -> None:
        data = self.body() if self.command == "POST" else None
        headers = {"Content-Type": self.headers["Content-Type"]} if self.headers["Content-Type"] else {}
        request = urllib.request.Request(self.upstream + path, data=data, method=self.command, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self.say(answer.status, answer.read(), answer.headers.get("Content-Type", "application/json"))
        except urllib.error.HTTPError as answer:
            self.say(answer.code, answer.read(), answer.headers.get("Content-Type", "application/json"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", required=True, help="the MLflow server, http://host:port")
    parser.add_argument("--token-seconds", type=float, default=3600.0, help="how long a token holds")
    arguments = parser.parse_args()
    Handler.state = State(arguments.token_seconds)
    Handler.upstream = arguments.upstream
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port, "tenant": TENANT}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.shutdown()
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
