"""Microsoft Entra for storage: a token endpoint over TLS that checks tenant, client and secret, or what a workload's platform signed
for it, and a machine's own endpoint, which knows who asks. They issue what Azurite takes (audience, issuer and end; it does not look
at the signature). The certificates are made here, by an authority nobody knows.

Prints one line of JSON when it serves: its port, and the files of the certificates and of the workload's assertion.
"""

import argparse
import base64
import datetime
import ipaddress
import json
import signal
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TENANT = "11111111-2222-3333-4444-555555555555"
# client id -> secret, and for how long its tokens hold. Made up for this server, worth nothing anywhere else.
ASSERTION = "signed-by-the-platform-of-tests"
MACHINE = "the-header-of-the-machine"
CLIENTS = {"client-1": ("the-right-secret-of-tests", 3600), "client-late": ("the-right-secret-of-tests", -60)}


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificates(folder: Path) -> dict:
    """An authority, and a certificate of it for this machine."""
    now = datetime.datetime.now(datetime.UTC)

    def build(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        return builder.not_valid_after(now + datetime.timedelta(days=1))

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signs = build("whimbrel tests", "whimbrel tests", authority)
    signs = signs.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    local = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = build("localhost", "whimbrel tests", own).add_extension(local, critical=False)
    server = server.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    files = {
        "ca": signs.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "cert": server.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "key": own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    paths = {}
    for what, content in files.items():
        path = folder / f"{what}.pem"
        path.write_bytes(content)
        paths[what] = str(path)
    return paths


def token(seconds: int) -> str:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now - 7200,
        "nbf": now - 7200,
        "exp": now + seconds,
    }

    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    signature = base64.urlsafe_b64encode(b"nobody looks at it").decode().rstrip("=")
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{signature}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        asked = {key: values[0] for key, values in form.items()}
        if self.path != f"/{TENANT}/oauth2/v2.0/token":
            return self.refuse(400, "invalid_request", "AADSTS90002: Tenant not found.")
        secret, seconds = CLIENTS.get(asked.get("client_id", ""), (None, 0))
        if secret is None:
            return self.refuse(400, "unauthorized_client", "AADSTS700016: Application not found in the directory.")
        if "client_assertion" in asked:
            if asked["client_assertion"] != ASSERTION:
                return self.refuse(401, "invalid_client", "AADSTS700211: No matching federated identity record found.")
        elif asked.get("client_secret") != secret:
            return self.refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        self.answer(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": token(seconds)})

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        asked = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        known = self.headers.get("Metadata") == "true" and self.headers.get("X-Identity-Header") == MACHINE
        if url.path != "/machine" or not known or asked.get("client_id", "client-1") not in CLIENTS:
            return self.refuse(400, "invalid_request", "Identity not found")
        end = str(int(time.time()) + 3600)
        self.answer(200, {"token_type": "Bearer", "expires_on": end, "access_token": token(3600)})

    def refuse(self, status: int, error: str, description: str):
        self.answer(status, {"error": error, "error_description": description})

    def answer(self, status: int, value: dict):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the certificates")
    arguments = parser.parse_args()
    files = certificates(arguments.folder)
    files["assertion"] = str(arguments.folder / "assertion")
    Path(files["assertion"]).write_text(ASSERTION)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert"], files["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1], "tenant": TENANT, **files}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
