// `@2captcha/captcha-solver`. It speaks https to one host, and has no option for another: what is
// meant for that host is sent elsewhere by Node's own agent.

'use strict';

const { Solver } = require('@2captcha/captcha-solver');
const driver = require('./driver.cjs');
const { elsewhere } = require('./elsewhere.cjs');
const { IMAGE, PROXY, SITE_KEY, USER_AGENT } = require('./samples.cjs');

const at = elsewhere(['2captcha.com']);

const VALUES = {
  googlekey: SITE_KEY,
  sitekey: SITE_KEY,
  body: IMAGE,
  image: IMAGE,
  images: [IMAGE, IMAGE],
  part1: IMAGE,
  part2: IMAGE,
  part3: IMAGE,
  proxy: PROXY,
  proxytype: 'HTTP',
  userAgent: USER_AGENT,
  textinstructions: 'crosswalks',
  invisible: 1,
  enterprise: 1,
  version: 'v3',
};

// By method the fields that it wants. The name of its function is the method's, up to a `_`.
// Without `text`: a question in words is nothing that CaptchaAI takes.
const METHODS = {
  recaptcha: 'pageurl googlekey',
  recaptcha_invisible: 'pageurl googlekey invisible',
  recaptcha_v3: 'pageurl googlekey version',
  hcaptcha: 'pageurl sitekey',
  geetest: 'pageurl gt challenge',
  geetestV4: 'pageurl captcha_id',
  yandexSmart: 'pageurl sitekey',
  imageCaptcha: 'body',
  funCaptcha: 'pageurl publickey',
  lemin: 'pageurl div_id captcha_id',
  amazonWaf: 'pageurl context iv sitekey',
  cloudflareTurnstile: 'pageurl sitekey',
  coordinates: 'body',
  capyPuzzle: 'pageurl captchakey',
  dataDome: 'pageurl captcha_url userAgent proxy proxytype',
  cyberSiARA: 'pageurl master_url_id userAgent',
  mtCaptcha: 'pageurl sitekey',
  cutCaptcha: 'pageurl misery_key api_key',
  friendlyCaptcha: 'pageurl sitekey',
  boundingBox: 'image textinstructions',
  grid: 'body textinstructions',
  canvas: 'body textinstructions',
  rotate: 'body',
  keyCaptcha:
    'pageurl s_s_c_user_id s_s_c_session_id s_s_c_web_server_sign s_s_c_web_server_sign2',
  tencent: 'pageurl app_id',
  atbCaptcha: 'pageurl app_id api_server',
  prosopo: 'pageurl sitekey',
  captchaFox: 'pageurl sitekey userAgent proxy proxytype',
  vkimage: 'body steps',
  vkcaptcha: 'redirect_uri userAgent proxy proxytype',
  temu: 'body part1 part2 part3',
  altcha: 'pageurl challenge_url',
  binance: 'pageurl sitekey validate_id',
  audio: 'body lang',
  yidun: 'pageurl sitekey',
  alibaba: 'pageurl scene_id prefix',
  tspd: 'pageurl tspd_cookie html_page_base64 proxy proxytype',
  basilisk: 'pageurl sitekey',
  hunt: 'pageurl api_get_lib',
  dragAndDrop: 'body images',
};

driver.main((baseUrl, key) => {
  const solver = new Solver(key);
  return {
    methods: Object.keys(METHODS),
    solve: (method, page) =>
      at(baseUrl, async () => {
        const pages = { pageurl: page, redirect_uri: page };
        const value = (name) => pages[name] ?? VALUES[name] ?? 'sample';
        const fields = METHODS[method].split(' ').map((name) => [name, value(name)]);
        const result = await solver[method.split('_')[0]](Object.fromEntries(fields));
        return [result.id, result.data];
      }),
    balance: () => at(baseUrl, () => solver.balance()),
    report: (id, isGood) =>
      at(baseUrl, () => (isGood ? solver.goodReport(id) : solver.badReport(id))),
  };
});
