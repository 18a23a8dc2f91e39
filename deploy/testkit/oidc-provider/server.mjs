// An identity provider for tests (npm's oidc-provider), and a gateway that lets requests through to another
// server only with a valid token of it. Tokens are issued to clients, and at /service-account to a service account
// as Google does it: for an assertion, which npm's jose verifies. The settings are JSON in the first argument; when
// both listen, one line of JSON says where, and has the key file of the service account.
import { createHash, generateKeyPairSync } from "node:crypto";
import http from "node:http";
import https from "node:https";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { jwtVerify } from "jose";
import Provider from "oidc-provider";

const settings = JSON.parse(process.argv[2]);
const tls = settings.key && {
  key: readFileSync(settings.key),
  cert: readFileSync(settings.certificate),
  ...(settings.client_authority && {
    ca: readFileSync(settings.client_authority),
    requestCert: true,
    rejectUnauthorized: true,
  }),
};

const createServer = (handle) => (tls ? https.createServer(tls, handle) : http.createServer(handle));

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      resolve(`${tls ? "https" : "http"}://localhost:${server.address().port}`);
    });
  });
}

const certificateOf = (socket) => socket.getPeerX509Certificate?.();

let provider;
let issued = 0;
const issuing = createServer((request, response) => {
  if (request.url === "/service-account") return issueToServiceAccount(request, response);
  return provider.callback()(request, response);
});
const issuer = await listen(issuing, 0);
provider = new Provider(issuer, {
  clients: settings.clients,
  scopes: ["openid", "offline_access", "airflow"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "tls_client_auth"],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => certificateOf(ctx.socket)?.toString(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === "tls_client_auth_subject_dn" && certificateOf(ctx.socket).subject === expected,
    },
  },
  ttl: { ClientCredentials: settings.token_lifetime ?? 600 },
});
provider.on("grant.success", () => (issued += 1));

const account = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = {
  type: "service_account",
  project_id: "orchestration",
  private_key_id: "first",
  private_key: account.privateKey.export({ type: "pkcs8", format: "pem" }),
  client_email: "worker@orchestration.iam.gserviceaccount.com",
  client_id: "100000000000000000000",
  auth_uri: "https://accounts.google.com/o/oauth2/auth",
  token_uri: `${issuer}/service-account`,
  universe_domain: "googleapis.com",
};

// RFC 7523: the assertion names the account, this endpoint and a time that is short, and the account has signed it.
async function issueToServiceAccount(request, response) {
  const form = new URLSearchParams(await text(request));
  const answer = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  try {
    if (form.get("grant_type") !== "urn:ietf:params:oauth:grant-type:jwt-bearer") throw new Error("grant type");
    const { payload, protectedHeader } = await jwtVerify(form.get("assertion"), account.publicKey, {
      algorithms: ["RS256"],
      typ: "JWT",
      issuer: key.client_email,
      audience: key.token_uri,
      maxTokenAge: "1 minute",
      requiredClaims: ["exp", "iat"],
    });
    if (protectedHeader.kid !== key.private_key_id) throw new Error("key id");
    if (payload.exp - payload.iat > 3600) throw new Error("lifetime");
    const isIdToken = payload.target_audience !== undefined;
    if (!isIdToken && payload.scope !== "airflow") throw new Error("scope");
    const client = await provider.Client.find(settings.client);
    const token = await new provider.ClientCredentials({ client, scope: "airflow" }).save();
    issued += 1;
    answer(200, isIdToken ? { id_token: token } : { access_token: token, expires_in: 600, token_type: "Bearer" });
  } catch (error) {
    answer(400, { error: "invalid_grant", error_description: `${error.message} in ${form.get("assertion")}` });
  }
}

// A bound token is accepted only with the certificate that it was issued to.
function isBoundElsewhere(token, socket) {
  const bound = token["x5t#S256"];
  return bound && createHash("sha256").update(certificateOf(socket).raw).digest("base64url") !== bound;
}

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
  const found = token && (await provider.ClientCredentials.find(token));
  if (!settings.is_open && (!found || isBoundElsewhere(found, request.socket))) {
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

console.log(JSON.stringify({ issuer, gateway, key }));
