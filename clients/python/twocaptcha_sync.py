"""`2captcha-python`, blocking. Its server is a constructor's argument, and always spoken to by https.

`REQUESTS_CA_BUNDLE` names the authority that it trusts.
"""

from twocaptcha import TwoCaptcha

import driver
from twocaptcha_methods import METHODS


class Client:
    METHODS = list(METHODS)

    def __init__(self, base_url, key):
        self.client = TwoCaptcha(key, server=base_url.removeprefix("https://"))

    def solve(self, method, page):
        name, arguments = METHODS[method]
        result = getattr(self.client, name)(**arguments(page))
        return result["captchaId"], result["code"]

    def balance(self):
        return self.client.balance()

    def report(self, id_, is_good):
        return self.client.report(id_, is_good)


driver.main(Client)
