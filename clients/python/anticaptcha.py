"""`anticaptchaofficial`, a createTask client. It speaks https to one host, and has no option for
another: its module has one public session of `requests`, which is told here to send elsewhere what
is meant for that host. Plain HTTP will do there.

It answers 0 where it failed, and keeps what happened in `err_string`.
"""

import importlib
import threading

from anticaptchaofficial import antinetworking
from requests.adapters import HTTPAdapter

import driver
from samples import IMAGE, SITE_KEY

HOST = "https://api.anti-captcha.com"
# The class of each method, and what is set before it is asked to solve. Its module has its name.
METHODS = {
    "image": ("imagecaptcha", {}),
    "recaptcha": ("recaptchaV2Proxyless", {}),
    "recaptcha_invisible": ("recaptchaV2Proxyless", {"is_invisible": 1}),
    "recaptcha_enterprise": ("recaptchaV2EnterpriseProxyless", {}),
    "recaptcha_v3": ("recaptchaV3Proxyless", {"page_action": "login", "min_score": 0.3}),
    "recaptcha_v3_enterprise": (
        "recaptchaV3EnterpriseProxyless",
        {"page_action": "login", "min_score": 0.3},
    ),
    "turnstile": ("turnstileProxyless", {}),
    "hcaptcha": ("hCaptchaProxyless", {}),
    "friendly_captcha": ("friendlyCaptchaProxyless", {}),
    "geetest": ("geetestProxyless", {"gt_key": "f2ae6cad", "challenge_key": "12345678abc90123"}),
    "geetest_v4": (
        "geetestProxyless",
        {"version": 4, "gt_key": "f2ae6cad", "init_parameters": {"captcha_id": "f2ae6cad"}},
    ),
}

# A solve keeps to one thread; this says where it is sent.
place = threading.local()


class Elsewhere(HTTPAdapter):
    def send(self, request, **options):
        request.url = request.url.replace(HOST, place.base_url)
        return super().send(request, **options)


antinetworking.session.mount(HOST, Elsewhere(pool_maxsize=100))


class Refused(Exception):
    """The client returns 0 for its errors; a verdict is an exception."""


class Client:
    METHODS = list(METHODS)

    def __init__(self, base_url, key):
        self.base_url, self.key = base_url, key

    def _make(self, name):
        place.base_url = self.base_url
        module = importlib.import_module(f"anticaptchaofficial.{name.lower()}")
        client = getattr(module, name)()
        client.set_key(self.key)
        return client

    def solve(self, method, page):
        name, settings = METHODS[method]
        client = self._make(name)
        client.set_website_url(page)
        client.set_website_key(SITE_KEY)
        for setting, value in settings.items():
            getattr(client, f"set_{setting}")(value)
        arguments = {"file_path": None, "body": IMAGE} if method == "image" else {}
        answer = client.solve_and_return_solution(**arguments)
        if answer == 0:
            raise Refused(client.err_string or client.error_code)
        return client.task_id, answer

    def balance(self):
        balance = self._make("recaptchaV2Proxyless").get_balance()
        if balance == -1:
            raise Refused("no balance")
        return balance

    def report(self, id_, is_good):
        client = self._make("recaptchaV2Proxyless")
        client.task_id = id_
        told = client.report_correct_recaptcha() if is_good else client.report_incorrect_recaptcha()
        if told == 0 or told.get("errorId") != 0:
            raise Refused(str(told))
        return "OK_REPORT_RECORDED"


driver.main(Client)
