// Keeps the operations page current while it is looked at; what is open, and where the keyboard is, stays.
const EVERY_MS = 10000;
const figures = document.getElementById("figures");
const status = document.getElementById("live-status");
const box = document.getElementById("following");
const following = box.querySelector("input");
box.hidden = false;

async function refresh() {
  const response = await fetch(location.href, { headers: { accept: "text/html" } });
  const text = response.ok && !response.redirected ? await response.text() : "";
  const next = new DOMParser().parseFromString(text, "text/html").getElementById("figures");
  if (!next) throw new Error(response.status);
  for (const open of figures.querySelectorAll("details[open][id]")) next.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  if (figures.contains(document.activeElement)) return; // somebody is about to press a button of it
  if (figures.innerHTML !== next.innerHTML) figures.replaceChildren(...next.childNodes);
}

async function loop() {
  if (following.checked && !document.hidden) {
    try {
      await refresh();
      figures.classList.remove("stale");
      status.textContent = "";
    } catch {
      figures.classList.add("stale");
      status.textContent = status.dataset.lost;
    }
  }
  setTimeout(loop, EVERY_MS);
}
setTimeout(loop, EVERY_MS);
