// Runs the server audits of the npm package graphql-http against a URL; prints one JSON object.
//   node graphql_http.mjs URL      (with graphql-http and graphql in NODE_PATH's or a parent's node_modules)
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.HUIMIN_NODE_MODULES || process.cwd()}/`);
const { serverAudits } = await import(pathToFileURL(require.resolve("graphql-http")).href);

const [url] = process.argv.slice(2);
const results = [];
for (const audit of serverAudits({ url, fetchFn: fetch })) {
  const result = await audit.fn();
  results.push({ id: audit.id, name: audit.name, status: result.status, reason: result.reason });
}
console.log(JSON.stringify({ total: results.length, ok: results.filter((r) => r.status === "ok").length,
  missed: results.filter((r) => r.status !== "ok") }));
