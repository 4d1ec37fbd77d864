"""Make the bucket and open to everyone what is published, and nothing else: ``python deploy/bucket.py STORE POLICY``.

Pages that lie elsewhere may read it, too (``policies/cors.json``); the page beside the products needs no such leave.

``POLICY`` is the file ``public-read.json`` that ``prepare.py`` made. Keys and endpoint: the usual AWS variables.
Doing it again changes nothing.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

PATIENCE_SECONDS, PAUSE_SECONDS = 120, 1
"""A store that starts together with this command answers within five seconds on an idle machine."""

ELSEWHERE = Path(__file__).parent / "policies" / "cors.json"
"""What browsers may do with the bucket for pages that lie elsewhere; who may read what is the policy's to say."""


def open_to_readers(client: Any, bucket: str, policy: str) -> None:
    """The bucket, there, with this policy, and readable to browsers from pages elsewhere."""
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
    client.put_bucket_policy(Bucket=bucket, Policy=policy)
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration=json.loads(ELSEWHERE.read_text()))


def main(store: str, policy: Path) -> int:
    """Keep at it until the store (``s3://bucket/prefix``) answers, or say why it does not."""
    bucket = store.removeprefix("s3://").partition("/")[0]
    client = get_session().create_client("s3")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            open_to_readers(client, bucket, policy.read_text())
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                print(f"goms: needed a store that takes a bucket; found {error}; in {bucket}; look at the store's log "
                      "and the admin's keys", file=sys.stderr)  # fmt: skip
                return 6
            time.sleep(PAUSE_SECONDS)
        else:
            print(f"{bucket}: everyone reads what is published, nobody else writes")
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
