// Consent is given in a tab of its own. When it tells what came of it, the page shows that.

new BroadcastChannel("integrations").addEventListener("message", async ({ data }) => {
  const page = await fetchPage(window.location.href);
  if (!page) return;
  const fresh = renew(document.getElementById("connections"), page);
  const about = [...fresh.querySelectorAll("[data-provider]")].find(
    (each) => each.dataset.provider === data.provider,
  );
  if (!about) return;
  const isConnected = data.outcome === "connected";
  const note = document.createElement("p");
  note.className = `note note-${isConnected ? "success" : "warning"}`;
  note.textContent = isConnected
    ? `${about.dataset.name} is connected.`
    : `${about.dataset.name} was not connected. The page that was opened for it says why.`;
  document.querySelector(".notes").replaceChildren(note);
  about.focus(); // What had it is gone.
});
