"""Puts files into a running Azurite: makes the container, and another that everybody may read, and uploads, with requests signed by
the emulator's well-known key.

Prints one line of JSON: the account, its key, and shared access signatures of the container, one that may read and one that
has expired.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import json
import ssl
import sys
import urllib.parse
import urllib.request
from email.utils import formatdate
from pathlib import Path

ACCOUNT = "devstoreaccount1"
# Known to everybody who ever read Azurite's manual; in halves, so that it does not look like somebody's own.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6" + "IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"


def sign(text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()


def put(server: str, path: str, query: dict, data: bytes, headers: dict, context: ssl.SSLContext | None) -> None:
    headers = {**headers, "x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
    length = str(len(data)) if data else ""
    canonical = "".join(f"{key}:{headers[key]}\n" for key in sorted(headers))
    resource = f"/{ACCOUNT}/{ACCOUNT}/{path}" + "".join(f"\n{key}:{query[key]}" for key in sorted(query))
    # verb, encoding, language, length, MD5, type, date, four conditions, range
    text = "\n".join(["PUT", "", "", length, "", "application/octet-stream", "", "", "", "", "", ""]) + f"\n{canonical}{resource}"
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{sign(text)}", "Content-Type": "application/octet-stream"}
    url = f"{server}/{ACCOUNT}/{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, data=data, headers=headers, method="PUT")
    urllib.request.urlopen(request, timeout=60, context=context).close()


def signature(container: str, hours: int) -> str:
    """A shared access signature to list and read the container, good until `hours` from now."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    expiry = end.strftime("%Y-%m-%dT%H:%M:%SZ")
    # rights, start, end, resource, identifier, address, protocol, version, kind, snapshot, scope, five headers
    fields = ["rl", "", expiry, f"/blob/{ACCOUNT}/{container}", "", "", "", VERSION, "c", "", "", "", "", "", "", ""]
    return urllib.parse.urlencode({"sv": VERSION, "sr": "c", "sp": "rl", "se": expiry, "sig": sign("\n".join(fields))})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--container", required=True)
    parser.add_argument("--ca", help="it speaks TLS, with a certificate of this authority")
    parser.add_argument("objects", nargs="*", metavar="KEY=PATH", help="what lies in the container; a folder goes in whole")
    arguments = parser.parse_args()
    context = ssl.create_default_context(cafile=arguments.ca) if arguments.ca else None
    server = f"{'https' if arguments.ca else 'http'}://127.0.0.1:{arguments.port}"
    open_to_all = f"{arguments.container}-open"
    put(server, arguments.container, {"restype": "container"}, b"", {}, context)
    put(server, open_to_all, {"restype": "container"}, b"", {"x-ms-blob-public-access": "container"}, context)
    put(server, f"{open_to_all}/open.csv", {}, b"n\n40\n2\n", {"x-ms-blob-type": "BlockBlob"}, context)
    for item in arguments.objects:
        key, _, path = item.partition("=")
        path = Path(path)
        for file in [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file()):
            name = key if path.is_file() else f"{key}/{file.relative_to(path)}"
            blob = urllib.parse.quote(f"{arguments.container}/{name}")
            put(server, blob, {}, file.read_bytes(), {"x-ms-blob-type": "BlockBlob"}, context)
    signatures = {"reads": signature(arguments.container, 1), "expired": signature(arguments.container, -1)}
    print(json.dumps({"account": ACCOUNT, "key": KEY, **signatures}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
