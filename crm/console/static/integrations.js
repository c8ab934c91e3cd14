// Consent is given in a tab of its own. When it tells what came of it, the page shows that.

const findProvider = (name) =>
  [...document.querySelectorAll("#connections [data-provider]")].find(
    (each) => each.dataset.provider === name,
  );

new BroadcastChannel("integrations").addEventListener("message", async ({ data }) => {
  const label = findProvider(data.provider)?.dataset.name;
  if (label) {
    for (const each of document.querySelectorAll(".notes [data-about]")) {
      if (each.dataset.about === data.provider) each.remove(); // Of an earlier try.
    }
    // First of all, for the page may be long in coming, or be another one.
    const note =
      data.outcome === "connected"
        ? say(`${label} is connected.`, "success")
        : say(
            `${label} was not connected. The page that was opened for it says why.`,
            "warning",
          );
    note.dataset.about = data.provider;
  }
  await renewByItself("connections");
  findProvider(data.provider)?.focus(); // What had it is gone.
});
