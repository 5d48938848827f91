// Keeps the start page current: counts and occupancy every few seconds, warnings as they are raised.
import { subscribe } from "./subscribe.js";

const main = document.querySelector("main");
const text = JSON.parse(document.getElementById("texts").textContent);
const status = document.getElementById("live-status");

const again = new URL(location.href);
again.searchParams.set("lang", document.documentElement.lang.slice(0, 2));

async function refresh() {
  // As nobody: looking at what is public keeps no session alive.
  const response = await fetch(again, { credentials: "omit" });
  if (!response.ok) throw new Error(response.status);
  const next = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const id of ["zones", "services", "warnings"]) {
    const now = document.getElementById(id), then = next.getElementById(id);
    if (then && now.innerHTML !== then.innerHTML) now.innerHTML = then.innerHTML;
  }
}

let failures = 0;
async function loop() {
  try {
    await refresh();
    failures = 0;
    main.classList.remove("stale");
    status.textContent = text.live;
  } catch {
    failures += 1;
    // What stands on the page is the last known state: say so instead of letting it look current.
    main.classList.add("stale");
    status.textContent = text.offline;
  }
  setTimeout(loop, Math.min(5000 * 2 ** failures, 60000));
}
setTimeout(loop, 5000);

subscribe({
  query: "subscription { crowdWarnings { id } }",
  onNext: () => refresh().catch(() => {}),
  onState: (state) => { status.textContent = state === "open" ? text.live : text.offline; },
});
