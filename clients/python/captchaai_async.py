"""The vendor's own client: `captchaai`, asynchronous. It takes a base URL; plain HTTP will do."""

from captchaai import AsyncCaptchaAI

import captchaai_methods
import driver


class Client:
    METHODS = list(captchaai_methods.METHODS)

    def __init__(self, client):
        self.client = client

    async def solve(self, method, page):
        name, arguments = captchaai_methods.METHODS[method](page)
        result = await getattr(self.client, name)(**arguments)
        return result.task_id, result.solution

    async def balance(self):
        return (await self.client.threads_info())["threads"]


async def make(base_url, key):
    return Client(await AsyncCaptchaAI.create(api_key=key, base_url=base_url))


driver.main(make)
