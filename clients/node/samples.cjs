// What the drivers send: values that pass every check and mean nothing.

'use strict';

exports.SITE_KEY = '6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-';
exports.USER_AGENT = 'Mozilla/5.0 (X11; Linux x86_64)';
exports.PROXY = 'user:secret@203.0.113.7:3128';
// A white pixel, and as many bytes behind it as an image has at least.
exports.IMAGE = Buffer.concat([
  Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/58BAAMBAQDJ/pLvAAAAAElFTkSuQmCC',
    'base64',
  ),
  Buffer.alloc(100),
]).toString('base64');
