// Sends what is meant for some hosts elsewhere, as a line in the file of hosts would, with a port.
//
// Node's global https agent is asked for each connection; within `at(url, act)` it connects to
// `url` where one of the hosts was meant. TLS stays TLS: the certificate must be good for the place
// that is spoken to, by the authorities that Node trusts (`NODE_EXTRA_CA_CERTS`).

'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const https = require('node:https');

const place = new AsyncLocalStorage();

exports.elsewhere = (hosts) => {
  class Elsewhere extends https.Agent {
    createConnection(options, done) {
      const url = hosts.includes(options.host) && place.getStore();
      if (!url) return super.createConnection(options, done);
      const { hostname, port } = new URL(url);
      // An address is no server name, so that none is sent.
      return super.createConnection({ ...options, host: hostname, port, servername: '' }, done);
    }
  }
  // Connections that are kept open would be shared by all places.
  https.globalAgent = new Elsewhere({ keepAlive: false });
  return (url, act) => place.run(url, act);
};
