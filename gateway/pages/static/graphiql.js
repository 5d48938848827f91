// The query editor of the demo, with ready queries. Signing in is authorization code with PKCE (RFC 7636).
import { subscribe } from "./subscribe.js";

const page = document.getElementById("graphiql");
const settings = JSON.parse(document.getElementById("settings").textContent);
const redirect = `${location.origin}/graphql`;
const encode = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
const random = () => encode(crypto.getRandomValues(new Uint8Array(32)));

async function signIn() {
  const verifier = random(), state = random();
  sessionStorage.setItem("pkce", JSON.stringify({ verifier, state }));
  const challenge = encode(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  const query = new URLSearchParams({
    response_type: "code", client_id: settings.client, redirect_uri: redirect, scope: "openid me", state,
    code_challenge: challenge, code_challenge_method: "S256", ui_locales: settings.lang,
  });
  location.assign(`/oauth/authorize?${query}`);
}

async function finishSignIn() {
  const answer = new URLSearchParams(location.search);
  const kept = JSON.parse(sessionStorage.getItem("pkce") || "null");
  if (!answer.get("code") || !kept || kept.state !== answer.get("state")) return;
  sessionStorage.removeItem("pkce");
  history.replaceState(null, "", "/graphql");
  const response = await fetch("/oauth/token", {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code", client_id: settings.client, redirect_uri: redirect,
      code: answer.get("code"), code_verifier: kept.verifier,
    }),
  });
  const body = await response.json();
  if (response.ok) sessionStorage.setItem("token", body.access_token);
  else document.getElementById("status").textContent = body.error_description || body.error;
}

const token = () => sessionStorage.getItem("token");

async function fetcher({ query, variables, operationName }) {
  if (/^\s*subscription\b/m.test(query)) return stream(query, variables);
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  if (token()) headers.authorization = `Bearer ${token()}`;
  const response = await fetch("/graphql", {
    method: "POST", headers, body: JSON.stringify({ query, variables, operationName }),
  });
  return response.json();
}

async function* stream(query, variables) {
  const waiting = [];
  let wake = () => {};
  const put = (item) => { waiting.push(item); wake(); };
  const end = subscribe({ query, variables, token: token(), onNext: put, onError: (errors) => put({ errors }) });
  try {
    for (;;) {
      while (waiting.length) yield waiting.shift();
      await new Promise((resolve) => { wake = resolve; });
    }
  } finally { end(); }
}

function showState() {
  document.getElementById("sign-in").hidden = Boolean(token());
  document.getElementById("sign-out").hidden = !token();
}

document.getElementById("sign-in").onclick = signIn;
document.getElementById("sign-out").onclick = () => { sessionStorage.removeItem("token"); showState(); };
await finishSignIn();
showState();
ReactDOM.createRoot(page).render(
  React.createElement(GraphiQL, {
    fetcher, defaultTabs: settings.queries, shouldPersistHeaders: false, defaultEditorToolsVisibility: "variables",
  }),
);
