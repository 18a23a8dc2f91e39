// An OpenID Connect provider for the demo and the tests: the certified `oidc-provider`, with people who sign in by
// their name alone. A test may sign in with the claims of a person as JSON, and with changes to the ID token, to see
// that a wrong one is refused.
import { createServer } from "node:http";
import { SignJWT, decodeJwt, exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const callbackPath = "/api/v1.0/session/oidc/callback";
const kid = "local";

const people = new Map(
  [
    ["ada", "Ada Admin", ["data-admins"]],
    ["edith", "Edith Editor", ["data-engineers"]],
    ["victor", "Victor Viewer", ["analysts"]],
    ["nora", "Nora New", []],
  ].map(([sub, name, groups]) => [
    sub,
    { claims: { sub, name, groups, email: `${sub}@demo.example`, email_verified: true } },
  ]),
);

const [signing, foreign] = await Promise.all([1, 2].map(() => generateKeyPair("ES256", { extractable: true })));

function askToSignOut(context, form) {
  context.body = `<!doctype html><html lang="en"><title>Sign out</title><body><h1>Sign out here, too?</h1>${form}
<button form="op.logoutForm" name="logout" value="yes">Sign out</button> <button form="op.logoutForm">Stay</button>`;
}

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "console",
      client_secret: "console-secret",
      redirect_uris: [`http://127.0.0.1${callbackPath}`],
      id_token_signed_response_alg: "ES256",
    },
    {
      client_id: "connector",
      client_secret: "connector-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  scopes: ["openid", "email", "profile", "airflow"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  cookies: { keys: ["local"] },
  jwks: { keys: [{ ...(await exportJWK(signing.privateKey)), kid, alg: "ES256", use: "sig" }] },
  pkce: { required: () => true },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    // The page of the library loads a font from elsewhere.
    rpInitiatedLogout: { enabled: true, logoutSource: askToSignOut },
  },
  interactions: { url: (context, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (context, id) =>
    people.has(id) ? { accountId: id, claims: () => people.get(id).claims } : undefined,
  // Nobody is asked for consent.
  async loadExistingGrant({ oidc }) {
    const grant = new oidc.provider.Grant({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    });
    grant.addOIDCScope("openid email profile");
    await grant.save();
    return grant;
  },
});

// The API's port is chosen when it starts.
provider.Client.prototype.redirectUriAllowed = (address) => {
  const url = URL.parse ? URL.parse(address) : new URL(address);
  return url?.hostname === "127.0.0.1" && url.pathname === callbackPath;
};

provider.Client.prototype.postLogoutRedirectUriAllowed = (address) => {
  const url = URL.parse ? URL.parse(address) : new URL(address);
  return url?.hostname === "127.0.0.1" && url.pathname === "/sign-in";
};

// Replaces claims of the ID token: times are seconds from now, and null removes a claim.
provider.use(async (context, next) => {
  await next();
  const changes = people.get(context.oidc?.account?.accountId)?.token;
  if (!changes || !context.body?.id_token) return;
  const { $key: key = "own", ...claims } = changes;
  const now = Math.floor(Date.now() / 1000);
  const payload = decodeJwt(context.body.id_token);
  for (const [name, value] of Object.entries(claims)) {
    payload[name] = ["exp", "iat", "nbf"].includes(name) && value !== null ? now + value : value;
    if (value === null) delete payload[name];
  }
  const token = new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid });
  context.body.id_token = await token.sign((key === "own" ? signing : foreign).privateKey);
});

const page = `<!doctype html><html lang="en"><title>Sign in</title><body><h1>Who are you?</h1><form method="post">
${[...people].map(([sub, { claims }]) => `<p><button name="login" value="${sub}">${claims.name}</button></p>`).join("")}
<p><button name="login" value="">Nobody</button></p></form>`;

function accountOf(login) {
  if (!login.startsWith("{")) return login;
  const { token, ...claims } = JSON.parse(login);
  people.set(claims.sub, { claims, token });
  return claims.sub;
}

async function interact(request, response) {
  if (request.method !== "POST") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    return;
  }
  let body = "";
  for await (const chunk of request) body += chunk;
  const account = accountOf(new URLSearchParams(body).get("login") ?? "");
  const result = account ? { login: { accountId: account } } : { error: "access_denied" };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

const answer = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interact(request, response).catch((error) => response.writeHead(400).end(String(error)));
}).listen(port, "127.0.0.1");
