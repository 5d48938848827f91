// Shows what was pushed, also while no page is open; what is told twice under one id rings once.
self.addEventListener("push", (event) => {
  const { id, title, body, lang, urgent } = event.data.json();
  const options = { body, lang, tag: id, icon: "/static/icon.svg", requireInteraction: urgent };
  event.waitUntil(self.registration.showNotification(title, options));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow("/me/notifications"));
});
