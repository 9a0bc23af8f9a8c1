"""nginx before a backend, as a gateway that does what Soma's does."""

LOCATION = """
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;{more}
      proxy_read_timeout 60s;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id;
    }}"""


def location(more=""):
    """Everything to `backend`; more: a line of its own."""
    return LOCATION.format(more=f"\n      {more}" if more else "")
