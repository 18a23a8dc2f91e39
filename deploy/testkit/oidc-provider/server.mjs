// An identity provider for tests (npm's oidc-provider), and a gateway that lets requests through to another
// server only with a valid token of it. The settings are JSON in the first argument; when both listen, one line
// of JSON says where.
import http from "node:http";
import https from "node:https";
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const settings = JSON.parse(process.argv[2]);
const tls = settings.key && { key: readFileSync(settings.key), cert: readFileSync(settings.certificate) };

const createServer = (handle) => (tls ? https.createServer(tls, handle) : http.createServer(handle));

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      resolve(`${tls ? "https" : "http"}://localhost:${server.address().port}`);
    });
  });
}

let provider;
let issued = 0;
const issuing = createServer((request, response) => provider.callback()(request, response));
const issuer = await listen(issuing, 0);
provider = new Provider(issuer, {
  clients: settings.clients,
  scopes: ["openid", "offline_access", "airflow"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  features: { clientCredentials: { enabled: true }, introspection: { enabled: true } },
  ttl: { ClientCredentials: settings.token_lifetime ?? 600 },
});
provider.on("grant.success", () => (issued += 1));

const seen = new Set();
async function handle(request, response) {
  if (request.url === "/issued") return response.end(String(issued));
  if (request.url === "/stop") {
    issuing.close();
    issuing.closeAllConnections();
    return response.end();
  }
  if (request.url === "/start") {
    await listen(issuing, new URL(issuer).port);
    return response.end();
  }
  if (request.url === "/revoke") {
    for (const token of seen) await (await provider.ClientCredentials.find(token))?.destroy();
    return response.end();
  }
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
  if (!token || !(await provider.ClientCredentials.find(token))) {
    response.writeHead(settings.refusal ?? 401, { "content-type": "application/json" });
    return response.end(JSON.stringify({ detail: "This gateway wants a valid token" }));
  }
  seen.add(token);
  const { method, headers, url } = request;
  const forwarded = http.request(new URL(url, settings.upstream), { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  forwarded.on("error", () => response.writeHead(502).end());
  request.pipe(forwarded);
}
const gateway = await listen(createServer(handle), 0);

console.log(JSON.stringify({ issuer, gateway }));
