"use strict";
// Tells our other windows what became of it; then closes this one, if a script had opened it.
const { provider, outcome } = document.body.dataset;
new BroadcastChannel("integrations").postMessage({ provider, outcome });
if (outcome === "connected") {
  setTimeout(() => window.close(), 1500);
}
