"""An S3 endpoint that checks signatures and rights, with files in it: moto in this process, on a free port.

Prints one line of JSON when it serves: its port, a key that may read the bucket, one that may write it, one that may list it and read only what is
below `open/`, and one that may not.
"""

import argparse
import json
import os
import signal
import sys
import urllib.request
from pathlib import Path

# What follows is not signed until the users exist.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "1000000"

import boto3
from moto.s3 import exceptions, models
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
MAY_READ = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
}
MAY_SOME = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:List*"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::*/open/*"},
    ],
}
MAY_WRITE = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}],
}
MAY_NOTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["sqs:ListQueues"], "Resource": "*"}],
}


def answer_for_gone_uploads() -> None:
    """S3 says of an upload that it has dropped that there is none; moto's own answer is 500."""

    def refusing(call):
        def checked(self, bucket_name, multipart_id, *args, **kwargs):
            if multipart_id not in self.get_bucket(bucket_name).multiparts:
                raise exceptions.NoSuchUpload(upload_id=multipart_id)
            return call(self, bucket_name, multipart_id, *args, **kwargs)

        return checked

    for name in ["complete_multipart_upload", "upload_part"]:
        setattr(models.S3Backend, name, refusing(getattr(models.S3Backend, name)))


def user(iam, name: str, policy: dict) -> dict:
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bucket", required=True)
    parser.add_argument("objects", nargs="*", metavar="KEY=PATH", help="what lies in the bucket; a folder goes in whole")
    arguments = parser.parse_args()
    answer_for_gone_uploads()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"

    def client(service: str):
        return boto3.client(
            service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="none", aws_secret_access_key="none"
        )

    s3, iam = client("s3"), client("iam")
    s3.create_bucket(Bucket=arguments.bucket)
    for item in arguments.objects:
        key, _, path = item.partition("=")
        path = Path(path)
        for file in [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file()):
            name = key if path.is_file() else f"{key}/{file.relative_to(path)}"
            s3.put_object(Bucket=arguments.bucket, Key=name, Body=file.read_bytes())
    policies = {"reader": MAY_READ, "writer": MAY_WRITE, "fenced": MAY_SOME, "stranger": MAY_NOTHING}
    users = {name: user(iam, name, policy) for name, policy in policies.items()}
    # From here on every request is checked.
    plain = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers=plain, method="POST"))
    print(json.dumps({"port": port, "region": REGION, **users}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
