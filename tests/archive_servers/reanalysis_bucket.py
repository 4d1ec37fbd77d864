"""The public bucket of the reanalysis, on the tests' S3 server: readable by everybody, as Amazon's is."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path

import boto3

from tests.archive_servers.hycom_world import NOON, REANALYSIS_DAY, bucket_key, steps_of, write_bucket_file
from tests.s3_server import S3Server


class Bucket:
    """A bucket of its own with three steps of ``REANALYSIS_DAY``, of either header layout in turn."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.name, self.folder = f"reanalysis-{uuid.uuid4().hex[:8]}", folder
        self.address = f"{server.endpoint}/{self.name}"
        self._client = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=server.admin[0],
            aws_secret_access_key=server.admin[1],
        )  # fmt: skip
        self._client.create_bucket(Bucket=self.name)
        everybody = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
                     "Resource": [f"arn:aws:s3:::{self.name}", f"arn:aws:s3:::{self.name}/*"]}  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
        self._client.put_bucket_policy(Bucket=self.name, Policy=policy)
        self.files = {}
        for number, moment in enumerate(steps_of(REANALYSIS_DAY, NOON)):
            layout = ("plain", "record")[number % 2]
            self.files[moment] = write_bucket_file(folder / f"step{number}.nc", moment, layout)
            self.put(moment, self.files[moment].read_bytes())

    def put(self, moment: datetime, content: bytes) -> None:
        """Have a step's file with this content."""
        self._client.put_object(Bucket=self.name, Key=bucket_key(moment), Body=content)

    def remove(self, moment: datetime) -> None:
        """Have a step missing."""
        self._client.delete_object(Bucket=self.name, Key=bucket_key(moment))

    def restore(self, moment: datetime) -> None:
        """Have a step as it should be."""
        self.put(moment, self.files[moment].read_bytes())
