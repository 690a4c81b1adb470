"""`python-rucaptcha`, its CaptchaAI side. It sends everything as multipart forms, polls too.

It has no argument for another place: the two URLs are public attributes of its options.
"""

from python_rucaptcha.captchaai import CaptchaAI
from python_rucaptcha.core.captchaai import CaptchaAIFile

import driver
from samples import IMAGE, PNG, PROXY, SITE_KEY

FIELDS = {
    "body": IMAGE, "instructions": "crosswalks", "grid_size": "3x3", "googlekey": SITE_KEY,
    "sitekey": SITE_KEY, "gt": "f2ae6cadcf7886856696502e1d55e00c", "challenge": "12345678abc90123",
    "captcha_id": "CROPPED_3dfdd5c", "proxy": PROXY, "proxytype": "HTTP", "invisible": 1,
    "enterprise": 1, "version": "v3", **{f"image_base64_{n}": IMAGE for n in range(1, 10)},
}  # fmt: skip
WANTED = {
    "normal-base64": ["body"],
    "normal-file": [],
    "grid-base64": ["body", "instructions", "grid_size"],
    "grid-file": ["instructions", "grid_size"],
    "recaptcha-v2": ["googlekey"],
    "recaptcha-v2-invisible": ["googlekey", "invisible"],
    "recaptcha-v2-enterprise": ["googlekey", "enterprise"],
    "recaptcha-v3": ["googlekey", "version"],
    "recaptcha-v3-enterprise": ["googlekey", "version", "enterprise"],
    "turnstile": ["sitekey"],
    "geetest-v3": ["gt", "challenge"],
    "friendly-captcha": ["sitekey"],
    "lemin": ["captcha_id"],
    "captchafox": ["sitekey", "proxy", "proxytype"],
    "cloudflare-challenge": ["proxy", "proxytype"],
    "bls": ["instructions", *(f"image_base64_{n}" for n in range(1, 10))],
}


class Refused(Exception):
    """The client returns its errors; a verdict is an exception."""


def _verdict(result):
    if result.get("errorId"):
        raise Refused(result["errorCode"])
    return result


class Client:
    METHODS = list(WANTED)

    def __init__(self, base_url, key):
        self.base_url, self.key = base_url, key

    def _client(self, **arguments):
        client = CaptchaAI(self.key, **arguments)
        client.options.url_request = f"{self.base_url}/in.php"
        client.options.url_response = f"{self.base_url}/res.php"
        return client

    def solve(self, method, page):
        params = {name: FIELDS[name] for name in WANTED[method]}
        files = {"file": CaptchaAIFile(PNG)} if method.endswith("-file") else None
        if "body" not in params and files is None and method != "bls":
            params["pageurl"] = page
        client = self._client(profile=method, params=params, files=files)
        result = _verdict(client.captcha_handler())
        solution = result["solution"]
        return result["taskId"], solution.get("result") or solution["request"]

    def balance(self):
        return float(_verdict(self._client(method="any").get_balance())["balance"])


driver.main(Client)
