// Parts of a page that renew themselves, and searching while typing. Everything works without.
//
// <form data-search="#id">      what is typed or chosen shows its results in #id, and the address
//                               says so
// <div id=… data-live="2000">   fetched again from this page's address every so many milliseconds,
//                               for as long as what comes back says so too

// On a phone the navigation is wider than the screen.
const entry = document.querySelector(".main-nav [aria-current]");
entry?.closest(".main-nav").scrollTo({ left: entry.offsetLeft - window.innerWidth / 3 });

const fetchPart = async (address, id) => {
  const answer = await fetch(address, { headers: { "X-Part": id }, credentials: "same-origin" });
  if (answer.redirected || !answer.ok) {
    window.location.assign(address); // Signed out, or an error that is a page.
    return null;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.getElementById(id);
};

for (const form of document.querySelectorAll("form[data-search]")) {
  let waiting;
  let asked = 0;
  const search = async () => {
    const target = document.querySelector(form.dataset.search);
    const query = [...new FormData(form)].filter(([, value]) => value !== "");
    const address = `${form.getAttribute("action")}?${new URLSearchParams(query)}`;
    const mine = ++asked;
    target.setAttribute("aria-busy", "true");
    const part = await fetchPart(address, target.id);
    // Of answers that overtake each other, only that to the last question counts.
    if (part && mine === asked) {
      target.replaceWith(part);
      window.history.replaceState(null, "", address);
    }
  };
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(search, event.target.type === "search" ? 200 : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
  });
}

const keepLive = (part) => {
  const every = Number(part.dataset.live);
  if (!every) return;
  setTimeout(async () => {
    if (document.hidden) return keepLive(part); // Nobody looks.
    const fresh = await fetchPart(window.location.href, part.id).catch(() => undefined);
    if (fresh === undefined) return keepLive(part); // The network is away for a moment.
    if (fresh === null) return undefined;
    part.replaceWith(fresh);
    return keepLive(fresh);
  }, every);
};
document.querySelectorAll("[data-live]").forEach(keepLive);

// <button data-copy="#id" hidden>   copies what stands there
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
