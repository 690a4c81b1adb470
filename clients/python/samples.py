"""What the drivers send: values that pass every check and mean nothing."""

import base64

SITE_KEY = "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-"
PROXY = "user:secret@203.0.113.7:3128"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
# A white pixel, and as many bytes behind it as an image has at least.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/58BAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
) + bytes(100)
IMAGE = base64.b64encode(PNG).decode("ascii")
