// Has this browser ring (W3C Push API): asks the person, subscribes, and sends the form with what came of it.
const form = document.getElementById("push");

async function subscribe() {
  if ((await Notification.requestPermission()) !== "granted") throw new Error("not allowed");
  const worker = await navigator.serviceWorker.register("/static/push-worker.js");
  const options = { userVisibleOnly: true, applicationServerKey: form.dataset.key };
  const known = await worker.pushManager.getSubscription();
  const { endpoint, keys } = (known ?? (await worker.pushManager.subscribe(options))).toJSON();
  for (const [name, value] of Object.entries({ endpoint, ...keys })) form.elements[name].value = value;
}

if (form && "serviceWorker" in navigator && "PushManager" in window) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await subscribe();
      form.submit();
    } catch {
      document.getElementById("push-refused").hidden = false;
    }
  });
}
