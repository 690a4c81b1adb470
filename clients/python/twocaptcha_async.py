"""`2captcha-python`, asynchronous. As the blocking one, over another HTTP library.

`SSL_CERT_FILE` names the authority that it trusts.
"""

from twocaptcha import AsyncTwoCaptcha

import driver
from twocaptcha_methods import METHODS


class Client:
    METHODS = list(METHODS)

    def __init__(self, base_url, key):
        self.client = AsyncTwoCaptcha(key, server=base_url.removeprefix("https://"))

    async def solve(self, method, page):
        name, arguments = METHODS[method]
        result = await getattr(self.client, name)(**arguments(page))
        return result["captchaId"], result["code"]

    async def balance(self):
        return await self.client.balance()

    async def report(self, id_, is_good):
        return await self.client.report(id_, is_good)


driver.main(Client)
