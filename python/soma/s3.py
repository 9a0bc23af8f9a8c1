"""Fetches from S3 with the boto3 of the user's environment.

Credentials, region and endpoint are where boto3 looks for them: AWS_ variables
and their like. Without credentials requests are anonymous.
"""
import difflib
import os
import shutil
import sys
import time

from _soma.failure import Failure, short, trace_of

NEAR_MAX = 5  # names that a message lists
SAY_S = 1  # between two words of progress
CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in env (from_secret keeps them out of the file), or for the daemon"


def _import_boto3(key, source):
    try:
        import boto3
        import botocore
        import botocore.exceptions
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError):
            raise Failure("import_error", "boto3 cannot be imported: %s" % short(error), "pin a version of it for this Python in requirements.txt", trace_of(error))
        raise Failure("import_error", "%s: %s needs boto3, which is not installed for %s" % (key, source, sys.executable), "add boto3 to requirements.txt")
    return boto3, botocore


def _mib(n):
    return "%.1f MiB" % (n / 1048576)


class _Progress:
    """Says how much has come, from whatever thread boto3 calls it in."""

    def __init__(self, say, source, total):
        self._say, self._source, self._total = say, source, total
        self._done, self._last = 0, time.monotonic()

    def __call__(self, n):
        self._done += n
        now = time.monotonic()
        if now - self._last >= SAY_S:
            self._last = now
            self._say("fetching %s: %s of %s" % (self._source, _mib(self._done), _mib(self._total)))


class Client:
    """An S3 client that words its failures."""

    def __init__(self, key, source):
        boto3, self._botocore = _import_boto3(key, source)
        session = boto3.session.Session()
        self._anonymous = session.get_credentials() is None
        settings = {}
        if self._anonymous:
            settings["signature_version"] = self._botocore.UNSIGNED
        self._client = session.client("s3", config=self._botocore.config.Config(**settings))

    def fetch(self, key, source, folder, say):
        """The path in `folder` of the file, or of the directory, that `source` names."""
        bucket, _, prefix = source[len("s3://") :].partition("/")
        if not bucket:
            raise Failure("missing_file", "%s: %s names no bucket" % (key, source), "write s3://BUCKET/KEY")
        prefix = prefix.rstrip("/")
        say("listing %s" % source)
        try:
            return self._fetch(key, source, bucket, prefix, folder, say)
        except (self._botocore.exceptions.ClientError, self._botocore.exceptions.BotoCoreError) as error:
            raise self._failure(error, key, source, bucket)
        except OSError as error:
            raise Failure("init_error", "%s: %s cannot be written to %s: %s" % (key, source, folder, error.strerror), "make room there, or set TMPDIR in env to a larger place")

    def _list(self, bucket, prefix):
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", ())

    def _fetch(self, key, source, bucket, prefix, folder, say):
        file, inside = [], []
        for found in self._list(bucket, prefix):
            if found["Key"] == prefix:
                file = [found]
            elif (not prefix or found["Key"].startswith(prefix + "/")) and not found["Key"].endswith("/"):
                inside.append(found)
        files = file or inside
        if not files:
            raise self._nothing(key, source, bucket, prefix)
        total = sum(f["Size"] for f in files)
        room = shutil.disk_usage(folder).free
        if total > room:
            raise Failure("init_error", "%s: %s has %s and %s has room for %s" % (key, source, _mib(total), folder, _mib(room)), "make room there, or set TMPDIR in env to a larger place")
        say("fetching %s: %s" % (source, _mib(total)))
        progress = _Progress(say, source, total)
        base = os.path.dirname(prefix) if file else prefix
        for found in files:
            place = os.path.realpath(os.path.join(folder, os.path.relpath("/" + found["Key"], "/" + base)))
            if not place.startswith(os.path.realpath(folder) + os.sep):
                raise Failure("missing_file", "%s: %s has the key %s, which no file can be named after" % (key, source, found["Key"]), "rename it in the bucket")
            os.makedirs(os.path.dirname(place), exist_ok=True)
            self._client.download_file(bucket, found["Key"], place, Callback=progress)
            changed = found["LastModified"].timestamp()
            os.utime(place, (changed, changed))
        return os.path.join(folder, os.path.basename(prefix)) if file else folder

    # --- failures

    def _nothing(self, key, source, bucket, prefix):
        parent = prefix.rpartition("/")[0]
        start = parent + "/" if parent else ""
        page = self._client.list_objects_v2(Bucket=bucket, Prefix=start, Delimiter="/")
        there = [f["Key"][len(start) :] for f in page.get("Contents", ())] + [p["Prefix"][len(start) :] for p in page.get("CommonPrefixes", ())]
        near = difflib.get_close_matches(prefix[len(start) :], there, 1) or sorted(there)[:NEAR_MAX]
        where = "s3://%s/%s" % (bucket, start)
        remedy = "correct the key; %s has %s" % (where, ", ".join(near)) if near else "correct the key: nothing is below %s" % where
        return Failure("missing_file", "%s: %s is not there" % (key, source), remedy)

    def _failure(self, error, key, source, bucket):
        response = getattr(error, "response", None) or {}
        code = response.get("Error", {}).get("Code", "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        endpoint = self._client.meta.endpoint_url
        if code in ("NoSuchBucket", "404") or status == 404:
            return Failure("missing_file", "%s: %s has no bucket %s" % (key, endpoint, bucket), "correct the name of the bucket; AWS_ENDPOINT_URL chooses another S3 than Amazon's")
        if status in (401, 403):
            if self._anonymous:
                return Failure("init_error", "%s: %s may not be read without credentials, and there are none" % (key, source), CREDENTIALS)
            return Failure("init_error", "%s: %s may not be read with the credentials that are there (%s)" % (key, source, code), "check them, and that they allow s3:ListBucket and s3:GetObject; " + CREDENTIALS)
        if isinstance(error, (self._botocore.exceptions.EndpointConnectionError, self._botocore.exceptions.ConnectionError, self._botocore.exceptions.HTTPClientError)):
            return Failure("init_error", "%s: %s cannot be reached for %s: %s" % (key, endpoint, source, short(error)), "check the network and AWS_ENDPOINT_URL")
        return Failure("init_error", "%s: %s cannot be fetched: %s" % (key, source, short(error)), "see the message of S3; " + CREDENTIALS, trace_of(error))
