"""One large object, for whoever is to fetch it by S3 or by plain HTTP: s3://models/4g/model.safetensors is
http://127.0.0.1:PORT/models/4g/model.safetensors, too. Signatures are not looked at, and no byte is stored.

  python3 -m hub.objects [--port N] [--size SIZE] [--sha256]

--size SIZE   of the weights in it (4G)
--sha256      states the object's SHA-256 to who asks for it (x-amz-checksum-sha256), which is made at the start
"""
import argparse
import base64
import urllib.parse
from xml.sax.saxutils import escape

from . import families, made
from .serve import Sender, Server, run

BUCKET, KEY = "models", "4g/model.safetensors"
WRITTEN, WRITTEN_ISO = "Wed, 01 Jan 2025 00:00:00 GMT", "2025-01-01T00:00:00.000Z"


class Handler(Sender):
    file, checksum = None, None

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        if bucket != BUCKET:
            self.refuse(404, "NoSuchBucket", "The specified bucket does not exist")
        elif key == KEY:
            self.object()
        elif key:
            self.refuse(404, "NoSuchKey", "The specified key does not exist.")
        elif "location" in query:
            self.send_text(200, "<LocationConstraint>us-east-1</LocationConstraint>", "application/xml")
        else:
            self.list(query.get("prefix", [""])[0])

    do_HEAD = do_GET

    def object(self):
        headers = [("Last-Modified", WRITTEN)]
        # Of all of it, so a range cannot be checked against it.
        if self.checksum and self.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and not self.headers.get("Range"):
            headers += [("x-amz-checksum-sha256", self.checksum), ("x-amz-checksum-type", "FULL_OBJECT")]
        self.send_file(self.file, self.etag(), headers)

    def etag(self):
        return self.file.identity[:32] + "-1"  # as of an object that came in parts: no MD5

    def list(self, prefix):
        entry = ""
        if KEY.startswith(prefix):
            entry = (f"<Contents><Key>{escape(KEY)}</Key><LastModified>{WRITTEN_ISO}</LastModified><ETag>&quot;{self.etag()}&quot;</ETag>"
                     f"<Size>{self.file.size}</Size><StorageClass>STANDARD</StorageClass></Contents>")
        self.send_text(200, '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                       f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{int(bool(entry))}</KeyCount><MaxKeys>1000</MaxKeys>"
                       f"<IsTruncated>false</IsTruncated>{entry}</ListBucketResult>", "application/xml")

    def refuse(self, status, code, text):
        self.send_text(status, f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message></Error>', "application/xml")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", type=made.parse_size, default=4 << 30)
    parser.add_argument("--sha256", action="store_true")
    options = parser.parse_args()
    Handler.file = made.safetensors(KEY, families.block(options.size), made.Values())
    if options.sha256:
        Handler.checksum = base64.b64encode(bytes.fromhex(Handler.file.sha256())).decode()
    run(Server(options.port, Handler))


if __name__ == "__main__":
    main()
