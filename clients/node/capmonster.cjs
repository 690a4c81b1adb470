// `@zennolab_com/capmonstercloud-client`, a createTask client. `serviceUrl` says where; plain HTTP
// will do. It tells no ids, and reports nothing.

'use strict';

const capmonster = require('@zennolab_com/capmonstercloud-client');
const driver = require('./driver.cjs');
const { IMAGE, SITE_KEY } = require('./samples.cjs');

const at = (websiteURL) => ({ websiteURL, websiteKey: SITE_KEY });
const METHODS = {
  recaptcha: (page) => new capmonster.RecaptchaV2Request(at(page)),
  recaptcha_enterprise: (page) => new capmonster.RecaptchaV2EnterpriseRequest(at(page)),
  recaptcha_v3: (page) =>
    new capmonster.RecaptchaV3ProxylessRequest({ ...at(page), minScore: 0.3, pageAction: 'login' }),
  recaptcha_v3_enterprise: (page) =>
    new capmonster.RecaptchaV3EnterpriseRequest({ ...at(page), pageAction: 'login' }),
  turnstile: (page) => new capmonster.TurnstileRequest(at(page)),
  hcaptcha: (page) => new capmonster.HCaptchaRequest(at(page)),
  image: () => new capmonster.ImageToTextRequest({ body: IMAGE }),
  geetest: (websiteURL) =>
    new capmonster.GeeTestRequest({ websiteURL, gt: 'f2ae6cad', challenge: '12345678abc90123' }),
  geetest_v4: (websiteURL) =>
    new capmonster.GeeTestRequest({
      websiteURL,
      gt: 'f2ae6cad',
      version: '4',
      initParameters: { captcha_id: 'f2ae6cad' },
    }),
};

// For images its own patience is ten seconds: less than one of a machine's at a driver's pace.
const PATIENCE = { image: { firstRequestDelay: 350, requestsInterval: 200, timeout: 60_000 } };

driver.main((serviceUrl, clientKey) => {
  const options = new capmonster.ClientOptions({ clientKey, serviceUrl });
  const client = capmonster.CapMonsterCloudClientFactory.Create(options);
  return {
    methods: Object.keys(METHODS),
    solve: async (method, page) => {
      const { error, solution } = await client.Solve(METHODS[method](page), PATIENCE[method]);
      // It returns its errors; a verdict is an exception.
      if (error) throw new Error(error);
      return [null, solution.gRecaptchaResponse ?? solution.token ?? solution.text ?? solution];
    },
    balance: async () => (await client.getBalance()).balance,
  };
});
